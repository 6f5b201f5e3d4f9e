"""`pretrain` and `embed`: the same vectors whether images come as an array, as files or as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hybrid_al as hal
from hybrid_al.core.types import FloatArray
from hybrid_al.errors import InputError, UnknownName, UnreadableImages

IMAGES = np.random.default_rng(0).integers(0, 256, size=(12, 16, 16), dtype=np.uint8)


def files(folder: Path) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{i:02d}.png" for i in range(len(IMAGES))]
    for path, image in zip(paths, IMAGES, strict=True):
        Image.fromarray(image).save(path)
    return paths


def pretrained_run(run_dir: Path, images: Any = IMAGES, **changes: Any) -> hal.Run:
    return hal.pretrain(images, run_dir=run_dir, **{"method": "none", "image_size": 16, **changes})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> hal.Run:
    return pretrained_run(tmp_path_factory.mktemp("stage0") / "run")


def test_an_array_paths_and_a_folder_are_the_same_images(tmp_path: Path, run: hal.Run) -> None:
    paths = files(tmp_path / "images")
    vectors: FloatArray = np.asarray(run.embeddings)
    assert vectors.shape[0] == 12 and np.isfinite(vectors).all() and len(np.unique(vectors, axis=0)) == 12
    assert np.array_equal(pretrained_run(tmp_path / "run", paths[::-1]).embeddings, vectors[::-1])
    assert np.array_equal(hal.embed(paths[5:2:-1], encoder=run), vectors[5:2:-1])
    assert np.array_equal(hal.embed(tmp_path / "images", encoder=run), vectors)


def test_an_encoder_of_stage_0_embeds_as_stage_0_did(run: hal.Run) -> None:
    for encoder in (run, run.path, str(run.path), run.encoder):
        assert np.array_equal(hal.embed(IMAGES, encoder=encoder), run.embeddings)
    assert not np.array_equal(hal.embed(IMAGES, encoder=run, image_size=24), run.embeddings)


def test_a_named_encoder_has_random_weights_of_its_seed(run: hal.Run) -> None:
    first = hal.embed(IMAGES, encoder="resnet10t", image_size=16)
    assert np.array_equal(hal.embed(IMAGES, encoder={"name": "resnet10t"}, image_size=16), first)
    assert not np.array_equal(hal.embed(IMAGES, encoder="resnet10t", image_size=16, seed=1), first)
    by_weights = hal.embed(IMAGES, encoder={"name": "resnet10t", "weights": str(run.encoder)}, image_size=16)
    assert np.array_equal(by_weights, run.embeddings)


def test_a_finished_pretraining_is_read_and_other_images_are_refused(run: hal.Run) -> None:
    mtime = run.encoder.stat().st_mtime_ns
    assert pretrained_run(run.path).encoder.stat().st_mtime_ns == mtime
    with pytest.raises(InputError, match="other data"):
        pretrained_run(run.path, 255 - IMAGES)
    with pytest.raises(InputError, match="other values for data"):
        pretrained_run(run.path, image_size=24)


@pytest.mark.slow
def test_pretraining_trains(tmp_path: Path) -> None:
    trained = pretrained_run(tmp_path / "a", method={"name": "simclr", "epochs": 1})
    assert not np.allclose(trained.embeddings, pretrained_run(tmp_path / "b").embeddings)
    assert np.array_equal(hal.embed(IMAGES, encoder=trained), trained.embeddings)


def test_bad_input_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    cases: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (IMAGES[0], {}, InputError, r"images: expected an array \(N, H, W\)"),
        ([], {}, InputError, "images: expected at least one"),
        ([1, 2], {}, InputError, "images: expected an array .*, paths, or a folder, got int"),
        (tmp_path / "nowhere", {}, InputError, "expected a folder, got nothing there"),
        ([tmp_path / "broken.png"], {}, UnreadableImages, "broken.png"),
        (3.0 * IMAGES, {}, UnreadableImages, "float64 values"),
        (IMAGES, {"encoder": "resnet19"}, UnknownName, "did you mean"),
        (IMAGES, {"encoder": tmp_path / "broken.png"}, InputError, "encoder: expected a run directory"),
        (IMAGES, {"encoder": {"nam": "resnet10t"}}, UnknownName, "did you mean 'name'"),
        (IMAGES, {"encoder": tmp_path / "absent"}, InputError, "encoder: expected a run directory"),
    ]
    for images, changes, kind, words in cases:
        with pytest.raises(kind, match=words):
            hal.embed(images, **{"encoder": "resnet10t", "image_size": 16, **changes})
    with pytest.raises(UnknownName, match="did you mean 'simclr'"):
        pretrained_run(tmp_path / "run", method="simcrl")
