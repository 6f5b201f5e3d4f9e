"""How much of an image is tissue, against slow references: Otsu's threshold, padding, either background, the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hybrid_al.core.types import IntArray
from hybrid_al.data import tissue as module
from hybrid_al.data.otsu import otsu
from hybrid_al.data.pixels import image_box
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.tissue import Tissue, tissue
from hybrid_al.errors import InputError

SIDE = 12


def slow_otsu(values: list[int], level: int) -> float:
    """Otsu's variance between the values up to a level and those above it, in the words of the paper."""
    low, high = [v for v in values if v <= level], [v for v in values if v > level]
    if not low or not high:
        return 0.0
    share = len(low) / len(values)
    return share * (1 - share) * (sum(low) / len(low) - sum(high) / len(high)) ** 2


@pytest.mark.parametrize("seed", range(8))
def test_otsu_is_the_best_of_all_levels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(10, 3, 60), rng.normal(24, 4, rng.integers(5, 90))]).round().clip(0, 39)
    values = values.astype(int)
    threshold = otsu(np.bincount(values, minlength=40))
    spread = [slow_otsu(values.tolist(), t) for t in range(40)]
    assert spread[threshold] == pytest.approx(max(spread), rel=1e-9) and spread[threshold] > 0


def test_otsu_of_few_levels() -> None:
    assert otsu(np.asarray([5, 0, 0, 0, 0, 3])) == 2  # the middle of what splits alike
    assert otsu(np.asarray([0, 0, 4])) == 2  # nothing lies above
    assert otsu(np.asarray([1, 1])) == 0
    with pytest.raises(InputError, match="a histogram"):
        otsu(np.zeros(4, dtype=np.int64))


def stored(images: npt.NDArray[np.uint8], stack: int = 1) -> ImageStore:
    return ImageStore(images, f"{images.sum()}", tuple(map(str, range(len(images)))), stack)


def discs(sizes: IntArray, channels: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Noisy bright discs on dark images, every third image without one, padded with 0."""
    rng = np.random.default_rng(seed)
    images = np.zeros((len(sizes), SIDE, SIDE, channels), dtype=np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE]
    for i, (height, width) in enumerate(sizes.tolist()):
        box = image_box(height, width, SIDE)
        disc = (y - SIDE / 2) ** 2 + (x - SIDE / 2) ** 2 < (i % 3) * 7
        noisy = rng.integers(0, 30, (SIDE, SIDE, channels)) + 150 * disc[:, :, None]
        images[i, box.rows, box.columns] = noisy[box.rows, box.columns]
    return images


def slow_tissue(images: npt.NDArray[np.uint8], pool: IntArray, sizes: IntArray, white: bool) -> dict[int, float]:
    far = {}
    for i in pool.tolist():
        height, width = sizes[i].tolist()
        box = image_box(height, width, SIDE)
        pixels = images[i, box.rows, box.columns].reshape(-1, images.shape[3]).tolist()
        far[i] = [255 - min(p) if white else max(p) for p in pixels]
    everything = [v for values in far.values() for v in values]
    best = max(slow_otsu(everything, t) for t in range(256))
    alike = [t for t in range(256) if slow_otsu(everything, t) >= best * (1 - 1e-9)]
    level = alike[(len(alike) - 1) // 2]
    return {i: sum(v > level for v in values) / len(values) for i, values in far.items()}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("white", [False, True])
def test_shares_against_a_slow_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int, white: bool
) -> None:
    sizes = np.asarray([(12, 12), (12, 6), (30, 40)] * 3)
    images, pool = discs(sizes, channels), np.asarray([0, 1, 2, 4, 5, 7, 8])
    if white:  # light and dark change places, padding stays black
        for image, (height, width) in zip(images, sizes.tolist(), strict=True):
            box = image_box(height, width, SIDE)
            image[box.rows, box.columns] = 255 - image[box.rows, box.columns]
    monkeypatch.setattr(module, "BLOCK", 3)
    result = tissue(stored(images), pool, sizes=sizes, background=None, cache=tmp_path)
    assert result.background == ("white" if white else "black")
    expected = slow_tissue(images, pool, sizes, white)
    assert {i: float(result.shares[i]) for i in pool.tolist()} == pytest.approx(expected)
    assert np.isnan(np.delete(result.shares, pool)).all()
    assert (result.shares[[0]] == 0).all() and (result.shares[[2, 5, 8]] > 0.08).all()  # images without and with a disc


def test_tissue_at_the_border_needs_to_be_said(tmp_path: Path) -> None:
    """Tiles from within a section: all but one are tissue to the border, so its look alone would take glass for it."""
    rng = np.random.default_rng(0)
    images = rng.integers(60, 120, (6, SIDE, SIDE, 3)).astype(np.uint8)
    images[5] = rng.integers(235, 250, (SIDE, SIDE, 3))
    images[:5, :, :, 0] += 100  # pink: bright in red alone, dark in the others
    result = tissue(stored(images), np.arange(6), sizes=None, background="white", cache=tmp_path)
    np.testing.assert_array_equal(result.shares, [1, 1, 1, 1, 1, 0])


def test_of_a_stack_the_middle_slice_counts(tmp_path: Path) -> None:
    sizes = np.full((9, 2), SIDE)
    slices = discs(sizes, 1)
    stack = np.concatenate([np.roll(slices, 1, axis=0), slices, np.roll(slices, -1, axis=0)], axis=3)
    alone = tissue(stored(slices), np.arange(9), sizes=sizes, background=None, cache=tmp_path / "a")
    result = tissue(stored(stack, 3), np.arange(9), sizes=sizes, background=None, cache=tmp_path / "b")
    np.testing.assert_array_equal(result.shares, alone.shares)


def test_images_of_one_grey_show_none(tmp_path: Path) -> None:
    result = tissue(stored(np.full((2, 4, 4, 1), 7, dtype=np.uint8)), np.arange(2), sizes=None, background=None,
                   cache=tmp_path)  # fmt: skip
    np.testing.assert_array_equal(result.shares, [0, 0])


def test_it_is_kept_by_content_and_made_again_where_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results: list[Tissue] = []
    slow = module._tissue

    def counted(*args: Any) -> Tissue:
        results.append(slow(*args))
        return results[-1]

    monkeypatch.setattr(module, "_tissue", counted)
    sizes = np.full((9, 2), SIDE)

    def ask(seed: int = 0, pool: int = 9) -> Tissue:
        store = stored(discs(sizes, 1, seed))
        return tissue(store, np.arange(pool), sizes=sizes, background=None, cache=tmp_path)

    first = ask()
    again = ask()
    assert len(results) == 1 and (again.threshold, again.background) == (first.threshold, first.background)
    np.testing.assert_array_equal(first.shares, again.shares)
    ask(seed=1), ask(pool=8)
    assert len(results) == 3
    for file in tmp_path.glob("*.npy"):
        file.write_bytes(file.read_bytes()[:-8])
    np.testing.assert_array_equal(ask().shares, first.shares)
    assert len(results) == 4
