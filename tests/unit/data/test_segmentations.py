"""DICOM SEG files, written by highdicom, are masks of the slices that they segment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from hybrid_al.data.base import Dataset
from hybrid_al.data.describe import describe
from hybrid_al.data.readers.dicom import Dicom, segment_names
from hybrid_al.data.sources.dicom import DicomFolder
from hybrid_al.errors import InputError
from tests.helpers import dicom

hd = pytest.importorskip("highdicom")
CLASSES = ("background", "liver", "tumour")
NEEDED: dict[str, Any] = {
    **{"PatientName": "", "PatientBirthDate": "", "PatientSex": "", "StudyID": "", "StudyDate": "", "StudyTime": ""},
    **{"AccessionNumber": "", "ReferringPhysicianName": "", "SliceThickness": 2},
}


def series(root: Path, **tags: Any) -> list[Path]:
    return dicom.write_series(root, [0, 2, 4, 6], **{"FrameOfReferenceUID": generate_uid(), **NEEDED, **tags})


def segment(
    file: Path, images: Sequence[Path], planes: npt.NDArray[Any], kind: str = "BINARY", **settings: Any
) -> Path:
    """A segmentation of images: planes (Z, H, W) of numbers, or (Z, H, W, segments) of 0 and 1."""
    segments = [
        hd.seg.SegmentDescription(
            k + 1, name, codes.SCT.Organ, codes.SCT.Liver, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        for k, name in enumerate(CLASSES[1:])
    ]
    seg = hd.seg.Segmentation(
        [pydicom.dcmread(image) for image in images],
        planes,
        kind,
        segments,
        generate_uid(),
        1,
        generate_uid(),
        1,
        "us",
        "model",
        "1",
        "1",
        **settings,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(file)
    return file


def planes_of(count: int = 4) -> npt.NDArray[np.uint8]:
    planes = np.zeros((count, 12, 12), dtype=np.uint8)
    planes[0, 2:5, 3:9] = 1
    planes[2, 1:4, 1:4] = 2
    planes[2, 6:9, 1:4] = 1
    return planes


def load(root: Path, masks: Path, **settings: Any) -> Dataset:
    return DicomFolder(root, masks=masks, **{"classes": CLASSES, **settings}).load()


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("beside", [False, True])
def test_a_mask_for_each_slice_also_where_it_is_empty(tmp_path: Path, kind: str, beside: bool) -> None:
    images = series(tmp_path / "im")
    folder = tmp_path / "im" if beside else tmp_path / "seg"
    segment(folder / "s.dcm", images, planes_of(), kind)
    data = load(tmp_path / "im", folder)
    assert data.manifest.paths == tuple(path.name for path in images)
    assert data.masks is not None and data.masks.labeled.all()
    np.testing.assert_array_equal([data.masks.read(i) for i in range(4)], planes_of())
    two = load(tmp_path / "im", folder, slices=2)
    assert two.masks is not None
    np.testing.assert_array_equal([two.masks.read(i) for i in range(2)], planes_of()[1:3])
    assert segment_names(folder / "s.dcm") == {1: "liver", 2: "tumour"}


def test_what_is_no_segmentation_of_these_slices(tmp_path: Path) -> None:
    images = series(tmp_path / "im")
    other = series(tmp_path / "other", StudyInstanceUID=generate_uid())
    segment(tmp_path / "a" / "s.dcm", other, planes_of())
    with pytest.raises(InputError, match="expected a segmentation of a series below"):
        load(tmp_path / "im", tmp_path / "a")
    for name in ("1", "2"):
        segment(tmp_path / "b" / f"{name}.dcm", images, planes_of())
    with pytest.raises(InputError, match=r"expected one segmentation of the series of 001\.dcm, got also .*1\.dcm"):
        load(tmp_path / "im", tmp_path / "b")
    moved = pydicom.dcmread(segment(tmp_path / "c" / "s.dcm", images, planes_of()))
    for group in moved.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient[2] += 1
    moved.save_as(tmp_path / "c" / "s.dcm")
    with pytest.raises(InputError, match=r"frame \d+, 1 mm beside the nearest or turned"):
        load(tmp_path / "im", tmp_path / "c")


def test_fractions_and_overlaps_are_refused(tmp_path: Path) -> None:
    images = series(tmp_path / "im")
    both = np.zeros((4, 12, 12, 2), dtype=np.uint8)
    both[1, 2:6, 2:6, 0] = both[1, 4:8, 4:8, 1] = 1
    file = segment(tmp_path / "a.dcm", images, both)
    with pytest.raises(ValueError, match="segment 2 overlaps another one"):
        Dicom().values(file, 0)
    half = segment(tmp_path / "b.dcm", images, both.astype(np.float32) / 2, "FRACTIONAL")
    with pytest.raises(ValueError, match="fractions"):
        Dicom().values(half, 0)
    with pytest.raises(ValueError, match="a mask, no image"):
        Dicom().decode(file)


def test_init_takes_segmentations_for_masks(tmp_path: Path) -> None:
    for k in range(6):
        segment(tmp_path / str(k) / "s.dcm", series(tmp_path / str(k), PatientID=f"P{k}"), planes_of())
    about = describe(tmp_path)
    assert about.task == "segmentation" and about.labeled
    assert about.data["classes"] == list(CLASSES) and about.data["masks"] == str(tmp_path)
    data = load(tmp_path, tmp_path)
    assert data.masks is not None and int(data.masks.labeled.sum()) == 24
