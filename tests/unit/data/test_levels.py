"""Deep pixels: images that 256 grey levels would keep next to nothing of are refused, narrow ones are said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hybrid_al.data.base import Dataset
from hybrid_al.data.pixels import Levels, few_levels
from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.sources.npz import Npz
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.errors import InputError


def folder(root: Path, low: int, high: int, **settings: Any) -> Dataset:
    """Six images of 16 bits whose values lie between two numbers."""
    for i in range(6):
        values = np.random.default_rng(i).integers(low, high + 1, (12, 12)).astype(np.uint16)
        values[0, :2] = low, high
        (root / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(root / "ab"[i % 2] / f"{i}.png")
    return Folder(root, group="none", **settings).load()


def store(data: Dataset, cache: Path) -> ImageStore:
    return ImageStore.build(data, image_size=12, channels=None, cache=cache)


@pytest.mark.parametrize(("low", "high"), [(720, 840), (0, 4095)])
def test_next_to_nothing_is_refused_with_the_window(tmp_path: Path, low: int, high: int) -> None:
    data = folder(tmp_path / "d", low, high)
    assert data.span == (0, 65535)
    for _ in range(2):
        with pytest.raises(InputError, match=rf"^data\.window: .* set data\.window: \[{low}, {high}\]$"):
            store(data, tmp_path / "cache")
    assert not [*(tmp_path / "cache").rglob("images*")]
    windowed = folder(tmp_path / "d", low, high, window=(low, high))
    images = store(windowed, tmp_path / "cache")
    assert windowed.span == (low, high) and len(np.unique(images.images)) > 100 and images.notes == ()


def test_a_part_of_the_range_is_said_also_when_the_images_are_cached(tmp_path: Path) -> None:
    data = folder(tmp_path / "d", 0, 16383)
    notes = [store(data, tmp_path / "cache").notes for _ in range(2)]
    assert notes[0] == notes[1] and len(notes[0]) == 1
    assert "99% of the pixels use 25 % of the range" in notes[0][0] and "set data.window: [" in notes[0][0]


def test_the_whole_range_and_eight_bits_need_no_word(tmp_path: Path) -> None:
    assert store(folder(tmp_path / "d", 0, 65535), tmp_path / "cache").notes == ()
    Image.fromarray(np.full((12, 12), 3, dtype=np.uint8)).save(tmp_path / "8.png")
    for i in range(3):
        Image.fromarray(np.full((12, 12), 3 + i % 2, dtype=np.uint8)).save(tmp_path / f"{i}.bmp")
    dark = Folder(tmp_path, labels="none", group="none", reader="images")
    (tmp_path / "d").rename(tmp_path / ".d")
    assert store(dark.load(), tmp_path / ".cache").notes == ()


def test_a_mark_of_full_white_hides_nothing(tmp_path: Path) -> None:
    """A burned-in letter makes the range whole, but not the levels that the rest has."""
    levels, values = Levels(), np.full((100, 100, 1), 0.01, dtype=np.float32)
    values[50:] = 0.02
    values[0, :40] = 1.0
    levels.add(values)
    assert levels.used() == pytest.approx((0.01, 1.0), abs=1e-4)
    refusal, note = few_levels(levels.used(), levels.used(0.005), (0.0, 1.0))
    assert refusal == "" and note == (
        "99% of the pixels use 1 % of the range 0 to 1, 3 of the 256 grey levels that are kept: "
        "set data.window: [0.00999, 0.02]"
    )


def test_a_window_too_wide_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"range 0 to 10000, 2 of the 256.*: set data\.window: \[700, 750\]"):
        store(folder(tmp_path / "d", 700, 750, window=(0, 10000)), tmp_path / "cache")


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.float32])
def test_arrays_of_an_archive(tmp_path: Path, dtype: type) -> None:
    top = 1 if dtype is np.float32 else np.iinfo(dtype).max
    images = np.random.default_rng(0).random((6, 8, 8)) * 0.01 * top
    np.savez(tmp_path / "a.npz", images=images.astype(dtype), labels=np.arange(6) % 2)
    data = Npz(tmp_path / "a.npz", group="none").load()
    assert data.span == (0, top)
    with pytest.raises(InputError, match=r"use 1(\.0)? % of the range"):
        store(data, tmp_path / "cache")


def test_only_the_pool_is_looked_at(tmp_path: Path) -> None:
    data = folder(tmp_path / "train", 0, 65535)
    (tmp_path / "test" / "a").mkdir(parents=True)
    Image.fromarray(np.arange(700, 844, dtype=np.uint16).reshape(12, 12)).save(tmp_path / "test" / "a" / "x.png")
    data = Folder(tmp_path, group="none", classes=("a", "b")).load()
    assert "test" in data.manifest.splits and store(data, tmp_path / ".cache").notes == ()
