"""Several masks of one image, each of which draws a part: numbered ones, and those in a folder beside the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybrid_al.core.types import IGNORE
from hybrid_al.data.base import Dataset
from hybrid_al.data.describe import describe
from hybrid_al.data.masks import merged
from hybrid_al.data.sources.folder import Folder
from hybrid_al.errors import InputError

VALUES = {0: "background", 255: "cell"}


def write(file: Path, columns: slice | None = None, value: int = 255) -> None:
    """A grey image of the file's own name, or a mask that draws some columns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((8, 8), sum(map(ord, file.stem)) % 200, dtype=np.uint8)
    if columns is not None:
        pixels[:] = 0
        pixels[:, columns] = value
    Image.fromarray(pixels).save(file)


def load(root: Path, **settings: object) -> Dataset:
    keys = {"masks": root, "group": "none", "classes": ("background", "cell"), "mask_values": VALUES, **settings}
    return Folder(root, **keys).load()  # type: ignore[arg-type]


def drawn(data: Dataset, index: int) -> list[int]:
    """The columns that are not background."""
    assert data.masks is not None
    return np.flatnonzero(data.masks.read(index)[0]).tolist()


def test_numbered_masks_are_drawn_together(tmp_path: Path) -> None:
    for name in ("1", "2 (3)", "4"):
        write(tmp_path / f"{name}.png")
    write(tmp_path / "1_mask.png", slice(0, 2))
    write(tmp_path / "1_mask_1.png", slice(5, 6))
    write(tmp_path / "2 (3)_mask.png", slice(3, 4))
    settings = {"mask_ending": "_mask*", "ignore": ["*_mask*.png"]}
    data = load(tmp_path, **settings)
    assert data.masks is not None and data.masks.labeled.tolist() == [True, True, False]
    assert drawn(data, 0) == [0, 1, 5] and drawn(data, 1) == [3]
    before = data.masks.keys
    write(tmp_path / "1_mask_1.png", slice(5, 7))
    again = load(tmp_path, **settings).masks
    assert again is not None and again.keys[0] != before[0] and again.keys[1:] == before[1:]
    with pytest.raises(InputError, match=r"data\.mask_ending: expected an ending before the \*"):
        load(tmp_path, mask_ending="*")


def test_all_files_of_the_folder_beside_an_image_are_its_masks(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"n{i}" / "images" / f"n{i}.png")
        for k in range(i):
            write(tmp_path / f"n{i}" / "masks" / f"{9 - k}.png", slice(3 * k, 3 * k + 1))
    data = load(tmp_path, mask_folder="masks", ignore=["masks"])
    assert data.masks is not None and data.masks.labeled.tolist() == [False, True, True]
    assert drawn(data, 2) == [0, 3]
    write(tmp_path / "n1" / "images" / "other.png")
    with pytest.raises(
        InputError, match=r"expected masks of one image alone, got n1/images/n1.png and n1/images/other"
    ):
        load(tmp_path, mask_folder="masks", ignore=["masks"])


def test_a_pixel_of_two_classes_is_refused_and_a_known_one_counts() -> None:
    maps = [np.asarray([row], dtype=np.uint8) for row in ([0, 1, IGNORE, 0], [0, 1, 2, IGNORE])]
    assert merged(maps).tolist() == [[0, 1, 2, IGNORE]] and merged(maps[:1]).tolist() == maps[0].tolist()
    with pytest.raises(ValueError, match="1 pixels are of one class in one mask of an image, of another in another"):
        merged([maps[0], np.asarray([[0, 2, 0, 0]], dtype=np.uint8)])


def test_masks_that_differ_by_words_are_refused_by_init(tmp_path: Path) -> None:
    for i in range(4):
        write(tmp_path / "images" / f"{i}.png")
        write(tmp_path / "masks" / f"{i}_mask.png", slice(0, 2))
        write(tmp_path / "masks" / f"{i}_seg.png", slice(4, 5))
    with pytest.raises(InputError, match=r"one mask an image, or several that differ by a number"):
        describe(tmp_path)
