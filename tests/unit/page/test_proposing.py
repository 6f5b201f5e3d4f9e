"""Masks from boxes and points by the page's API, and what the ledger keeps of them."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hybrid_al.core.rundir import RunDir
from hybrid_al.data.answers import read_answer
from hybrid_al.errors import InputError
from hybrid_al.models.promptable import Embedded, Prompt, Promptable
from hybrid_al.oracles.ledger import Ledger
from hybrid_al.page.proposing import Proposing
from hybrid_al.page.server import segmenter_of
from hybrid_al.recipe import parse
from tests.helpers.command import call
from tests.helpers.label_page import SIZE, client_of, mask_of, open_run, submission
from tests.helpers.tiny import recipe_of
from tests.helpers.tiny_onnx import write_pair


@pytest.fixture
def segmenter(tmp_path: Path) -> Iterator[Promptable]:
    yield Promptable(*write_pair(tmp_path))


def test_a_box_of_the_page_is_a_mask(tmp_path: Path, segmenter: Promptable) -> None:
    with client_of(open_run(tmp_path / "run", "mask"), segmenter=segmenter) as client:
        assert client.get("/api/state").json()["segments"]
        reply = client.post("/api/segment/0", json={"box": [1, 2, 5, 4.5], "points": []})
        mask = np.asarray(Image.open(io.BytesIO(reply.content)))
        assert mask.shape == SIZE and mask[2:5, 1:5].all() and mask.sum() == 255 * 12
        assert client.post("/api/segment/0", json={"points": [[1, 1, True]]}).status_code == 200
        for bad, told in (
            ({"box": [1, 2, 50, 4]}, "prompt.box: expected 0 <= left < right <= 8"),
            ({"box": [1, 2]}, "prompt.box"),
            ({}, "a box, or a point, got neither"),
            ({"boxes": []}, "did you mean 'box'?"),
        ):
            reply = client.post("/api/segment/0", json=bad)
            assert reply.status_code == 422 and told in reply.json()["error"]


@pytest.mark.parametrize("kind, has", [("mask", False), ("class", True)])
def test_a_run_without_a_segmenter(tmp_path: Path, segmenter: Promptable, kind: str, has: bool) -> None:
    with client_of(open_run(tmp_path / "run", kind), segmenter=segmenter if has else None) as client:
        assert not client.get("/api/state").json()["segments"]
        reply = client.post("/api/segment/0", json={"box": [1, 2, 5, 4]})
        assert reply.status_code == 422 and "label.segmenter" in reply.json()["error"]


def test_the_ledger_keeps_what_was_proposed(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", "mask")
    answer, draft = np.zeros(SIZE, dtype=np.uint8), np.ones(SIZE, dtype=np.uint8)
    by: dict[str, Any] = {"classes": [], "mask": mask_of(answer), "proposer": "segmenter", "prompts": 3}
    with client_of(run) as client:
        edited: dict[str, Any] = {"proposal": "edited", "proposed": mask_of(draft), "refused": 1}
        for sent in (
            submission("first", **by, proposal="accepted"),
            submission("second", "scan2", **by, **edited),
        ):
            assert client.post("/api/answer", json=sent).status_code == 200
        bad = submission("third", "scan3", **by, proposal="edited", proposed=mask_of(draft[:2]))
        assert "6 x 8 pixels" in client.post("/api/answer", json=bad).json()["error"]
    first, second = Ledger(run).entries()
    assert first.proposed == first.text and (first.proposer, first.prompts, first.refused) == ("segmenter", 3, 0)
    assert second.refused == 1
    np.testing.assert_array_equal(read_answer(run.path / second.proposed), draft)


def test_whoever_leaves_an_image_frees_the_segmenter() -> None:
    begun, may_end, seen = threading.Event(), threading.Event(), list[int]()

    class Slow:
        def embed(self, image: np.ndarray) -> Embedded:
            seen.append(int(image[0, 0, 0]))
            begun.set()
            may_end.wait(5)
            return Embedded(np.zeros((1, 1, 1, 1)), *SIZE)

        def mask(self, image: Embedded, prompt: Prompt) -> np.ndarray:
            return np.ones(SIZE, dtype=np.bool_)

    slow: Any = Slow()
    proposing = Proposing(slow, lambda index: np.full((*SIZE, 1), index, dtype=np.uint8))
    for index in (0, 1, 2, 3, 0, 3):
        proposing.prepare(index)
        assert begun.wait(5)
    may_end.set()
    assert (proposing.mask(3, Prompt(box=(0, 0, 4, 4)), SIZE) == 255).all()
    assert seen == [0, 3]
    proposing.close()


def test_the_files_of_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder, decoder = write_pair(tmp_path)
    recipe = {"name": "x", "label": {"segmenter": {"encoder": str(encoder), "decoder": str(decoder)}}}
    assert isinstance(segmenter_of(parse(recipe)), Promptable) and segmenter_of(parse({"name": "x"})) is None
    assert parse(recipe).identity() == parse({"name": "x"}).identity() and "label" not in parse({"name": "x"}).plain()
    with pytest.raises(InputError, match=r"label\.segmenter\.decoder"):
        parse({"name": "x", "label": {"segmenter": {"encoder": "a"}}})
    tiny = recipe_of("segmentation", oracle="worklist", label={"segmenter": {"encoder": "gone", "decoder": "gone"}})
    (tmp_path / "recipe.yaml").write_text(parse(tiny).model_dump_json(), encoding="utf-8")
    assert call("label", tmp_path / "recipe.yaml", "--run-dir", tmp_path / "run") == 2
    assert "label.segmenter.encoder: gone: expected an ONNX file, got no such file" in capsys.readouterr().err
    assert RunDir(tmp_path / "run").query_ids(0) is None


def checked(tmp_path: Path, task: str, encoder: Path, decoder: Path) -> int:
    """The exit status of `check` on a recipe with a segmenter."""
    plain = recipe_of(task, oracle="worklist", label={"segmenter": {"encoder": str(encoder), "decoder": str(decoder)}})
    (tmp_path / "recipe.yaml").write_text(parse(plain).model_dump_json(), encoding="utf-8")
    return call("check", tmp_path / "recipe.yaml", "--run-dir", tmp_path / "run")


def test_check_draws_once_with_the_segmenter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder, decoder = write_pair(tmp_path)
    assert checked(tmp_path, "segmentation", encoder, decoder) == 0
    assert "segmenter of hybrid-al label: an encoder of 32 x 32 pixels and its decoder\n" in capsys.readouterr().out
    assert checked(tmp_path, "classification", encoder, decoder) == 0
    assert "its decoder; of no use here, as answers are no masks" in capsys.readouterr().out
    assert checked(tmp_path, "segmentation", decoder, encoder) == 2
    refusal = capsys.readouterr().err
    assert "the encoder of a segmenter: an image (1, 3, S, S)" in refusal and refusal.count("\n") == 1
