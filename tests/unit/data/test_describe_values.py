"""`init` drafts a window for images that use few of the values that their files can hold, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from PIL import Image

from hybrid_al.assemble import open_project
from hybrid_al.data.describe import Description, describe
from hybrid_al.data.describe.draft import draft
from hybrid_al.recipe import load


def write(root: Path, *arrays: npt.NDArray[Any], suffix: str = ".png") -> Path:
    root.mkdir(parents=True)
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(root / f"{i}{suffix}")
    return root


def noise(low: int, high: int, dtype: type[Any] = np.uint16, n: int = 6) -> list[npt.NDArray[Any]]:
    """Images whose values lie between two numbers, which both occur."""
    arrays = np.random.default_rng(0).integers(low, high + 1, (n, 12, 12)).astype(dtype)
    arrays[:, 0, 0], arrays[:, 0, 1] = low, high
    return list(arrays)


def stored(about: Description, folder: Path) -> npt.NDArray[Any]:
    """The images as a run of the draft would keep them."""
    text = draft("x", about.sections(), modality="ct", modalities=["ct"], simulated=False, comments=about.comments)
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    assert yaml.safe_load(text)["data"].get("window") == about.data.get("window")
    return np.asarray(open_project(load(folder / "recipe.yaml"), run_dir=folder / "run").store().images)


@pytest.mark.parametrize(
    ("low", "high", "window"),
    [(720, 840, [720, 840]), (0, 4095, [0, 4095]), (30, 3900, [0, 4095]), (30000, 31000, [30000, 31000])],
)
def test_the_window_is_that_of_the_values_or_of_their_bits(
    low: int, high: int, window: list[int], tmp_path: Path
) -> None:
    about = describe(write(tmp_path / "d", *noise(low, high)))
    assert about.data["window"] == window
    said = "\n".join(about.lines())
    assert f"values    {low} to {high} in 6 of 6 images" in said and f"data.window {window}" in said
    assert len(np.unique(stored(about, tmp_path))) > 100


@pytest.mark.parametrize("arrays", [noise(0, 65535), noise(0, 40, np.uint8), [np.full((12, 12), 7, dtype=np.uint16)]])
def test_images_that_use_their_values_get_none(arrays: list[npt.NDArray[Any]], tmp_path: Path) -> None:
    assert "window" not in describe(write(tmp_path / "d", *arrays)).data


def test_values_without_a_fixed_range_get_one(tmp_path: Path) -> None:
    arrays = [array.astype(np.float32) for array in noise(-1000, 3000, np.int16)]
    about = describe(write(tmp_path / "d", *arrays, suffix=".tif"))
    assert about.data["window"] == [-1000, 3000] and len(np.unique(stored(about, tmp_path))) > 100


def test_a_window_for_files_of_8_bits_too_is_asked_about(tmp_path: Path) -> None:
    about = describe(write(tmp_path / "d", *noise(0, 4095), *noise(0, 255, np.uint8)))
    assert "window" not in about.data
    assert "6 of 12 files have more than 8 bits: one data.window holds for all files" in about.open


@pytest.mark.parametrize(("dtype", "low", "high"), [(np.uint16, 720, 840), (np.int16, -1000, 3000)])
def test_the_arrays_of_an_archive(dtype: type[Any], low: int, high: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train_images=np.stack(noise(low, high, dtype)), test_images=np.stack(noise(0, 9)))
    about = describe(tmp_path / "a.npz")
    assert about.data["window"] == [low, high]
    assert f"values    {low} to {high} in 6 of 12 images" in "\n".join(about.lines())
