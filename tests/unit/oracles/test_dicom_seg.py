"""DICOM SEG: what is written is read back to the pixel, and a SEG of other images is named in one line."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from hybrid_al.data.answers import to_png
from hybrid_al.errors import InputError
from hybrid_al.oracles.formats import recognise
from hybrid_al.oracles.formats.base import Asked, Instance, Item, Proposal, Sheet
from hybrid_al.oracles.formats.dicom_seg import DicomSeg, instance_of
from tests.helpers.dicom_files import write_image

SIDE, CLASSES = 6, ("background", "liver", "vessel")


def sheet_of(folder: Path, *, proposed: bool = True) -> tuple[Sheet, dict[Instance, str], list[Any]]:
    """Three slices of a series and one of another, with proposals of two classes; the second has none drawn."""
    rng, items, truth = np.random.default_rng(0), [], []
    series = [generate_uid(), generate_uid()]
    for k in range(4):
        pixels = rng.integers(0, 99, (SIDE, SIDE)).astype(np.int16)
        file = write_image(folder / f"{k}.dcm", pixels, series[k // 3], float(k))
        labels = rng.choice([0, 1, 2, 255], (SIDE, SIDE)).astype(np.uint8)
        labels = np.zeros_like(labels) if k == 1 else labels
        truth.append(labels)
        proposal = Proposal(labels=labels) if proposed else None
        png = to_png(pixels.astype(np.uint8))
        items.append(
            Item(
                k,
                str(k),
                f"{k:06d}-00000000",
                (SIDE, SIDE),
                partial(bytes, png),
                instance=instance_of(file, 0),
                proposal=proposal,
            )
        )
    sheet = Sheet("r-s0", 1, "mask", CLASSES, tuple(items))
    return sheet, {item.instance: item.name for item in items if item.instance}, truth


def read(file: Path, instances: dict[Instance, str], said: list[str] | None = None) -> Any:
    name, content = recognise(file)
    assert name == "dicom_seg"
    say = (said if said is not None else []).append
    return DicomSeg.read(content, Asked("mask", CLASSES, say=say, instances=lambda: instances))


def test_proposals_come_back_to_the_pixel(tmp_path: Path) -> None:
    sheet, instances, truth = sheet_of(tmp_path / "data")
    (tmp_path / "out").mkdir()
    DicomSeg.write(sheet, tmp_path / "out")
    assert len(list((tmp_path / "out" / "images").iterdir())) == 4
    assert len(list((tmp_path / "out" / "start").iterdir())) == 2
    given = {one.image: one for one in read(tmp_path / "out" / "start", instances)}
    numbers = {"liver": 1, "vessel": 2, "ignore": 255}
    for item, labels in zip(sheet.items, truth, strict=True):
        drawn = np.zeros_like(labels)
        for mark in given[item.name].marks:
            assert mark.draw is not None
            drawn[mark.draw(SIDE, SIDE)] = numbers[mark.label]
        np.testing.assert_array_equal(drawn, labels)


def test_without_proposals_only_images_go_out(tmp_path: Path) -> None:
    sheet, _, _ = sheet_of(tmp_path / "data", proposed=False)
    (tmp_path / "out").mkdir()
    DicomSeg.write(sheet, tmp_path / "out")
    assert not (tmp_path / "out" / "start").exists()
    assert (tmp_path / "out" / "classes.txt").read_text(encoding="utf-8") == "liver\nvessel\nignore\n"


def test_segmentations_that_are_none_of_the_query(tmp_path: Path) -> None:
    sheet, instances, _ = sheet_of(tmp_path / "data")
    (tmp_path / "out").mkdir()
    DicomSeg.write(sheet, tmp_path / "out")
    (first, *_) = sorted((tmp_path / "out" / "start").iterdir())
    said: list[str] = []
    some = {one: name for one, name in instances.items() if name.startswith("000000")}
    assert [one.image for one in read(first, some, said)] == ["000000-00000000"]
    assert said == [f"{first.name}: labels on 1 images that nobody asked about are not read"]
    with pytest.raises(InputError, match=r"expected a DICOM SEG on images of the query, got the series of none"):
        read(first, {})
    with pytest.raises(InputError, match=r"0.dcm: expected a DICOM SEG"):
        read(tmp_path / "data" / "0.dcm", instances)
    (tmp_path / "cut.dcm").write_bytes(first.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"cut.dcm: expected a DICOM SEG"):
        read(tmp_path / "cut.dcm", instances)
    seg = pydicom.dcmread(first)
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    seg.save_as(tmp_path / "nameless.dcm")
    with pytest.raises(InputError, match="frames that do not name the image that they lie on"):
        read(tmp_path / "nameless.dcm", instances)


def test_images_that_are_no_dicom_say_which_formats_hold_them(tmp_path: Path) -> None:
    item = Item(0, "a.png", "000000-00000000", (2, 2), lambda: b"")
    with pytest.raises(
        InputError, match=r"expected DICOM images, .* \(volumes go out as nifti or seg_nrrd\), got a.png"
    ):
        DicomSeg.write(Sheet("r", 0, "mask", CLASSES, (item,)), tmp_path)
