"""Windows by the values themselves: percentiles and standard deviations of an image, a volume and the set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from hybrid_al.core.registry import component
from hybrid_al.data.base import Dataset
from hybrid_al.data.readers.volumes import Volumes
from hybrid_al.data.scaling import Scaling, percentiles
from hybrid_al.data.sources import SOURCES
from hybrid_al.errors import HybridALError
from tests.helpers import dicom


def load(source: str, root: Path, window: object, **settings: Any) -> Dataset:
    return component(SOURCES, "data", source, {"root": str(root), "group": "none", "window": window, **settings}).load()


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return ((values.astype(np.float32) - np.float32(low)) / np.float32(high - low)).clip(0, 1)


def grey(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(1000 * i, 3000 + 1000 * i, (12, 10), dtype=np.uint16)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for i in range(4):
        Image.fromarray(grey(i)).save(tmp_path / "deep" / f"{i}.png")
    return tmp_path / "deep"


def test_of_each_image_and_of_the_set(deep: Path) -> None:
    data = load("folder", deep, {"percentiles": [1, 99]})
    for i in range(4):
        low, high = np.percentile(grey(i), [1, 99])
        pixels = data.read(i)
        assert pixels.dtype == np.float32 and (pixels[:, :, 0] == scaled(grey(i), low, high)).all()
        assert data.scaled(i) == f"{low:g} to {high:g} (percentiles 1 to 99 of each volume)"
    deviations = load("folder", deep, {"zscore": 2, "of": "image"})
    mean, std = grey(1).mean(), grey(1).astype(np.float32).std()
    assert np.allclose(deviations.read(1)[:, :, 0], scaled(grey(1), mean - 2 * std, mean + 2 * std), atol=1e-6)
    assert deviations.manifest.digests[1] != data.manifest.digests[1]  # other pixels are other content
    whole = load("folder", deep, {"percentiles": [0, 100], "of": "set"})
    every = np.stack([grey(i) for i in range(4)])
    assert whole.span == (every.min(), every.max())
    fixed = load("folder", deep, list(whole.span))
    assert fixed.manifest == whole.manifest and (fixed.read(2) == whole.read(2)).all()


def test_held_out_images_give_no_window_of_the_set(deep: Path) -> None:
    table = deep.parent / "t.csv"
    rows = [f"deep/{i}.png,{'test' if i == 3 else 'train'}" for i in range(4)]
    table.write_text("\n".join(["path,split", *rows]) + "\n", encoding="utf-8")
    data = load("csv", table, {"percentiles": [0, 100], "of": "set"}, columns={})
    assert data.span == (grey(0).min(), grey(2).max())


def test_slices_volumes_and_eight_bits(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).normal(40, 300, (6, 7, 5)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "v.nii")
    reader = Volumes(window=(-np.inf, np.inf))
    planes = [reader.decode(tmp_path / "v.nii", z)[:, :, 0].astype(np.float64) for z in range(5)]
    raw: npt.NDArray[np.float64] = np.stack(planes)
    volume = load("nifti", tmp_path, {"percentiles": [5, 95]})
    low, high = np.percentile(raw, [5, 95])
    assert np.allclose(volume.read(2)[:, :, 0], scaled(raw[2], low, high), atol=1e-6)
    each = load("nifti", tmp_path, {"percentiles": [5, 95], "of": "image"})
    low, high = np.percentile(raw[2], [5, 95])
    assert np.allclose(each.read(2)[:, :, 0], scaled(raw[2], low, high), atol=1e-6)
    assert "the 0.5th to the 99.5th percentile" in load("nifti", tmp_path, None).scaled(0)
    blank = Scaling.read({"percentiles": [1, 99]}).window(np.full(9, 7.0))
    assert blank == (7.0, 8.0)  # an empty slice is black
    (tmp_path / "colours").mkdir()
    colours = np.random.default_rng(1).integers(50, 100, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "colours" / "1.png")
    data = load("folder", tmp_path / "colours", {"percentiles": [0, 100]})
    assert (data.read(0) == scaled(colours, colours.min(), colours.max())).all()
    assert load("folder", tmp_path / "colours", None).scaled(0) == "8 bits as they are"


def test_archives(tmp_path: Path) -> None:
    images = np.stack([grey(i) for i in range(4)])
    np.savez(tmp_path / "x.npz", train_images=images)
    data = load("npz", tmp_path / "x.npz", {"percentiles": [0, 100], "of": "image"})
    assert (data.read(2)[:, :, 0] == scaled(images[2], images[2].min(), images[2].max())).all()
    assert data.scaled(2).startswith(f"{images[2].min()} to {images[2].max()} (")
    whole = load("npz", tmp_path / "x.npz", {"percentiles": [0, 100], "of": "set"})
    assert whole.span == (images.min(), images.max())


def test_series_of_dicom(tmp_path: Path) -> None:
    dicom.write_series(tmp_path / "s", [0, 1, 2], seed=1)
    data = load("dicom", tmp_path, {"percentiles": [0, 100]})
    first = [data.scaled(i) for i in range(3)]
    assert len(set(first)) == 1 and "percentiles 0 to 100 of each volume" in first[0]
    each = load("dicom", tmp_path, {"percentiles": [0, 100], "of": "image"})
    assert len({each.scaled(i) for i in range(3)}) == 3 and each.read(1).min() == 0 and each.read(1).max() == 1
    whole = load("dicom", tmp_path, {"percentiles": [0, 100], "of": "set"})
    assert whole.scaled(0).partition(" (")[0] == first[0].partition(" (")[0]


@pytest.mark.parametrize(
    ("window", "line"),
    [
        ({"percentile": [1, 99]}, "data.window: expected one of"),
        ({}, "data.window: expected percentiles: [low, high], or zscore"),
        ({"percentiles": [1, 99], "zscore": 2}, "data.window: expected percentiles: [low, high], or zscore"),
        (
            {"percentiles": [99, 1]},
            "data.window.percentiles: expected [low, high] of 0 to 100, low below high, got [99, 1]",
        ),
        ({"zscore": 0}, "data.window.zscore: expected a number of standard deviations above 0"),
        ({"zscore": True}, "data.window.zscore: expected a number"),
        ({"zscore": 2, "of": "patient"}, "data.window.of"),
        ([3, 1], "data.window: expected two numbers [low, high], low below high"),
        ([3], "data.window: expected"),
        ("lungs", "data.window"),
    ],
)
def test_windows_that_are_none(window: object, line: str, deep: Path) -> None:
    with pytest.raises(HybridALError) as error:
        load("folder", deep, window)
    assert line in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint16"])
@pytest.mark.parametrize("count", [1, 2, 3, 1001])
def test_percentiles_are_those_of_numpy(dtype: str, count: int) -> None:
    rng = np.random.default_rng(count)
    values = (rng.normal(size=count) * 300 + 1000).astype(dtype)
    for pair in ((0.5, 99.5), (0, 100), (1, 2), (33, 66)):
        assert percentiles(values, pair) == tuple(np.percentile(values, pair).tolist())
