"""What `init` refuses to take for data, in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybrid_al.data.describe import describe
from hybrid_al.errors import InputError
from tests.helpers.drafts import said
from tests.helpers.layouts import SIDE, draw, mask, volume


@pytest.mark.parametrize("split", ["", "train/"])
def test_masks_that_fit_no_image_are_no_class(split: str, tmp_path: Path) -> None:
    for i in range(4):
        draw(tmp_path / f"{split}images" / f"{i}.png")
        for k in range(2):
            mask(tmp_path / f"{split}masks" / f"{i}-nucleus-{k}.png", 255)
    with pytest.raises(InputError, match=r"masks: expected one mask an image.*into one, .*8 files .*0-nucleus-0"):
        describe(tmp_path)


def test_masks_with_smoothed_edges_are_told_how_to_be_mended(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "0.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)).save(tmp_path / "masks" / "0.png")
    with pytest.raises(InputError, match=r"144 values from 0 to 143, as smoothed edges .* round them to their classes"):
        describe(tmp_path)


def test_what_is_no_table_of_images(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no column names images"):
        describe(tmp_path / "x.csv")
    draw(tmp_path / "1.png")
    (tmp_path / "x.csv").write_text("1.png,a\n2.png,b\n")
    with pytest.raises(InputError, match="the names of columns"):
        describe(tmp_path / "x.csv")


def test_masks_that_no_source_can_find_are_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for i in range(2):
            draw(tmp_path / split / "images" / f"{i}.png")
            mask(tmp_path / split / "masks" / f"{i}.png")
    with pytest.raises(InputError, match="masks in one folder"):
        describe(tmp_path)


def test_values_of_masks_must_be_few(tmp_path: Path) -> None:
    for i in range(3):
        draw(tmp_path / "images" / f"{i}.png")
        draw(tmp_path / "masks" / f"{i}.png")
    with pytest.raises(InputError, match="at most 20 values, one a class"):
        describe(tmp_path)


def test_dicom_that_cannot_be_read_and_dicom_among_others(tmp_path: Path) -> None:
    for name in ("1.dcm", "2"):
        (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM")
        with pytest.raises(InputError, match="one DICOM file: give the folder"):
            describe(tmp_path / name)
    with pytest.raises(InputError, match="DICOM files with images, got 2 that cannot be read"):
        describe(tmp_path)
    draw(tmp_path / "3.png")
    assert "1 DICOM files without a suffix (2)" in said(describe(tmp_path))


def test_nothing_usable(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no"):
        with pytest.raises(InputError):
            describe(path)
    volume(tmp_path / "v.nii.gz")
    with pytest.raises(InputError, match="one volume: give the folder"):
        describe(tmp_path / "v.nii.gz")
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(InputError, match="a file of another kind"):
        describe(tmp_path / "x.txt")
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "1.png").write_text("no image")
    with pytest.raises(InputError, match="images that can be read"):
        describe(tmp_path / "y")


def test_answers_alone_are_no_reason_against_images(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for i in range(4):
            Image.new("L", (16, 16), 20 * i if folder == "images" else 0).save(tmp_path / folder / f"{i}.png")
    with pytest.raises(InputError, match="masks of at least two values"):
        describe(tmp_path)
    assert describe(tmp_path, answers=False).data["root"].endswith("images")
