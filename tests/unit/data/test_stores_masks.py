"""The label maps on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybrid_al.core.types import IGNORE, LabelMap
from hybrid_al.data.masks import resize_mask
from hybrid_al.data.stores.masks import MaskStore
from hybrid_al.errors import InputError, UnreadableImages

MAPS = np.random.default_rng(0).integers(0, 3, (6, 5, 8), dtype=np.uint8)
SAMPLES = np.asarray([1, 2, 4])
NAMES = ["b", "c", "e"]


def read(index: int) -> LabelMap:
    label_map: LabelMap = MAPS[index]
    return label_map


def never(index: int) -> LabelMap:
    raise AssertionError(f"mask {index} was read again")


def build(cache: Path, reader: object = read, keys: list[str] = NAMES, size: int = 8) -> MaskStore:
    return MaskStore.build(SAMPLES, reader, keys, NAMES, size=size, cache=cache)  # type: ignore[arg-type]


def test_maps_of_some_samples(tmp_path: Path) -> None:
    store = build(tmp_path)
    expected = np.stack([resize_mask(MAPS[i], 8) for i in SAMPLES])
    assert len(store) == 3 and isinstance(store.maps, np.memmap) and not store.maps.flags.writeable
    np.testing.assert_array_equal(store.maps, expected)
    np.testing.assert_array_equal(store.batch(np.asarray([4, 1, 4])), expected[[2, 0, 2]])
    assert store.batch(np.asarray([], dtype=np.int64)).shape == (0, 8, 8)
    assert store.pixels.tolist()[:3] == [(expected == c).sum() for c in range(3)]
    padding = sum((resize_mask(np.zeros_like(MAPS[i]), 8) == IGNORE).sum() for i in SAMPLES)
    assert store.pixels[IGNORE] == (expected == IGNORE).sum() - padding and store.pixels.sum() == 3 * 64 - padding


@pytest.mark.parametrize("index", [0, 3, 5])
def test_a_sample_without_a_mask(tmp_path: Path, index: int) -> None:
    with pytest.raises(InputError, match=f"3 samples with a mask, got sample {index}"):
        build(tmp_path).batch(np.asarray([1, index]))


def test_no_mask_at_all(tmp_path: Path) -> None:
    none = np.asarray([], dtype=np.int64)
    store = MaskStore.build(none, never, [], [], size=4, cache=tmp_path)
    assert store.batch(none).shape == (0, 4, 4)
    with pytest.raises(InputError, match="got sample 0"):
        store.batch(np.asarray([0]))


def test_the_second_time_nothing_is_read(tmp_path: Path) -> None:
    first, again = build(tmp_path), build(tmp_path, never)
    np.testing.assert_array_equal(first.maps, again.maps)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert first.digest == again.digest
    assert len({first.digest, build(tmp_path, keys=["b", "c", "x"]).digest, build(tmp_path, size=4).digest}) == 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "no note", "broken note"])
def test_a_damaged_file_is_built_again(tmp_path: Path, damage: str) -> None:
    build(tmp_path)
    file, note = next(tmp_path.glob("masks-*.npy")), next(tmp_path.glob("masks-*.json"))
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[:-1])
    elif damage == "flipped":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "no note":
        note.unlink()
    else:
        note.write_text("{")
    with pytest.raises(UnreadableImages, match="read again"):
        build(tmp_path, never)
    np.testing.assert_array_equal(build(tmp_path).maps, build(tmp_path, never).maps)


def test_all_unreadable_masks_at_once_and_nothing_left(tmp_path: Path) -> None:
    def broken(index: int) -> LabelMap:
        if index > 1:
            raise ValueError("values 7 outside the classes")
        return read(index)

    with pytest.raises(UnreadableImages) as caught:
        build(tmp_path, broken)
    assert caught.value.problems == [(name, "values 7 outside the classes") for name in ("c", "e")]
    assert not [*tmp_path.glob("masks-*.npy"), *tmp_path.glob(".*tmp")]


def test_a_class_that_no_mask_shows(tmp_path: Path) -> None:
    store = build(tmp_path)
    store.check_classes(["a", "b", "c"])
    with pytest.raises(InputError, match=r"one pixel of class 3 \(d\) in the masks, got none"):
        store.check_classes(["a", "b", "c", "d"])


def test_samples_ascend(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ascending"):
        MaskStore.build(np.asarray([2, 1]), read, ["a", "b"], ["a", "b"], size=4, cache=tmp_path)
