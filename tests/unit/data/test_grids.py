"""NRRD and MetaImage volumes are read as NIfTI of the same voxels and affine is."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import numpy.typing as npt
import pytest

from hybrid_al.data.readers import choose
from hybrid_al.data.readers.base import Header
from hybrid_al.data.readers.volumes import Volumes
from hybrid_al.data.sources.nifti import Nifti
from hybrid_al.data.volume_masks import write_volume

VOXELS = np.random.default_rng(0).integers(-900, 900, (6, 5, 4), dtype=np.int16)
LPS = np.asarray([[0.0, -1.9, 0.1], [0.7, 0.0, 0.2], [0.1, 0.2, 3.0]])  # columns: axes in LPS, in mm
ORIGIN = np.asarray([10.0, -20.0, 30.0])


def affine() -> npt.NDArray[Any]:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = LPS, ORIGIN
    return np.asarray(np.diag([-1, -1, 1, 1]) @ matrix)


def write_nrrd(path: Path, **keys: Any) -> Path:
    header = {"space": "left-posterior-superior", "space directions": LPS.T, "space origin": ORIGIN, **keys}
    nrrd.write(str(path), VOXELS, {key: value for key, value in header.items() if value is not None})
    return path


def meta(**keys: str) -> dict[str, str]:
    lengths = np.linalg.norm(LPS, axis=0)
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": " ".join(map(str, (LPS / lengths).T.ravel())),
        "Offset": " ".join(map(str, ORIGIN)),
        "ElementSpacing": " ".join(map(str, lengths)),
        "DimSize": "6 5 4",
        "ElementType": "MET_SHORT",
    }
    return {**fields, **keys}


def write_meta(path: Path, data: bytes | None = None, beside: str = "", **keys: str) -> Path:
    data = VOXELS.tobytes(order="F") if data is None else data
    lines = [f"{key} = {value}" for key, value in meta(**keys).items() if value]
    text = "\n".join([*lines, f"ElementDataFile = {beside or 'LOCAL'}\n"]).encode()
    path.write_bytes(text + (b"" if beside else data))
    if beside and "/" not in beside:
        (path.parent / beside).write_bytes(data)
    return path


def same(one: Header, two: Header) -> bool:
    return np.allclose([*one.spacing, *one.affine], [*two.spacing, *two.affine], atol=1e-4) and (
        one.planes,
        one.height,
        one.width,
    ) == (two.planes, two.height, two.width)


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_slices_are_those_of_nifti(tmp_path: Path, axis: Any) -> None:
    nib.save(nib.Nifti1Image(VOXELS, affine()), tmp_path / "v.nii")
    packed = zlib.compress(VOXELS.tobytes(order="F"))
    big = VOXELS.astype(">i2").tobytes(order="F")
    ras = np.diag([-1, -1, 1]) @ np.c_[LPS, ORIGIN]
    files = [
        write_nrrd(tmp_path / "1.nrrd"),
        write_nrrd(tmp_path / "2.nrrd", encoding="raw", endian="big"),
        write_nrrd(tmp_path / "3.nhdr", encoding="raw"),
        write_nrrd(
            tmp_path / "4.nrrd", **{"space": "RAS", "space directions": ras[:, :3].T, "space origin": ras[:, 3]}
        ),
        write_meta(tmp_path / "1.mha"),
        write_meta(tmp_path / "2.mha", packed, CompressedData="True", CompressedDataSize=str(len(packed))),
        write_meta(tmp_path / "3.mhd", beside="3.raw"),
        write_meta(tmp_path / "4.mha", big, BinaryDataByteOrderMSB="True"),
    ]
    reader = Volumes(axis=axis)
    header = reader.probe(tmp_path / "v.nii")
    for file in files:
        assert choose().name(file) == "volumes"
        assert same(reader.probe(file), header)
        for z in range(header.planes or 0):
            np.testing.assert_array_equal(reader.decode(file, z), reader.decode(tmp_path / "v.nii", z))
            np.testing.assert_array_equal(reader.values(file, z), reader.values(tmp_path / "v.nii", z))


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"space": None, "space directions": None, "space origin": None}, "says no orientation"),
        ({"encoding": "ascii"}, "in encoding ascii"),
        ({"encoding": "bzip2"}, "in encoding bzip2"),
    ],
)
def test_nrrd_that_is_refused(tmp_path: Path, keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Volumes().probe(write_nrrd(tmp_path / "1.nrrd", **keys))


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"DimSize": "6 5"}, "three axes, got 6 x 5"),
        ({"DimSize": "6 5 9"}, "the file holds 240"),
        ({"DimSize": "6 5 3"}, "the file holds more"),
        ({"DimSize": "60000 60000 9"}, "more than the limit"),
        ({"DimSize": "6 x 4"}, "invalid literal"),
        ({"ElementType": "MET_LONG"}, "MET_LONG"),
        ({"ElementNumberOfChannels": "3"}, "one channel"),
        ({"TransformMatrix": ""}, "no TransformMatrix"),
        ({"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, "no orientation"),
        ({"beside": "../x.raw"}, "outside of its folder"),
        ({"beside": "LIST"}, "several files"),
        ({"CompressedData": "True"}, "damaged voxels"),
        ({"CompressedData": "Yes"}, "expected True or False in a MetaImage, got CompressedData = Yes"),
        ({"ElementByteOrderMSB": "1"}, "expected True or False in a MetaImage, got ElementByteOrderMSB = 1"),
        ({"BinaryData": "Ture"}, "expected True or False in a MetaImage, got BinaryData = Ture"),
    ],
)
def test_metaimage_that_is_refused(tmp_path: Path, keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        Volumes().probe(write_meta(tmp_path / "1.mha", **keys))
    assert len(str(caught.value).splitlines()) == 1


def test_layers_and_truncated_files(tmp_path: Path) -> None:
    layers = {"space": "LPS", "space directions": [[np.nan] * 3, *np.eye(3)], "space origin": [0, 0, 0]}
    nrrd.write(str(tmp_path / "l.seg.nrrd"), np.zeros((2, 3, 3, 3), dtype=np.uint8), layers)
    with pytest.raises(ValueError, match="three axes in space, got 4"):
        Volumes().probe(tmp_path / "l.seg.nrrd")
    for file in (write_nrrd(tmp_path / "1.nrrd"), write_meta(tmp_path / "1.mha")):
        content = file.read_bytes()
        for length in range(1, len(content) - 1, 37):
            file.write_bytes(content[:length])
            with pytest.raises(ValueError) as caught:
                Volumes().probe(file)
            assert len(str(caught.value).splitlines()) == 1


def test_masks_of_nrrd_on_metaimage_and_answers_on_it(tmp_path: Path) -> None:
    (tmp_path / "im").mkdir()
    (tmp_path / "lb").mkdir()
    image = write_meta(tmp_path / "im" / "v.mha")
    header = {"space": "LPS", "space directions": LPS.T, "space origin": ORIGIN}
    nrrd.write(str(tmp_path / "lb" / "v.nrrd"), (VOXELS > 0).astype(np.uint8), header)
    data = Nifti(tmp_path / "im", masks=tmp_path / "lb", group="none", classes=("rest", "organ")).load()
    assert data.masks is not None and data.masks.labeled.all()
    slices = np.stack([data.masks.read(z) for z in range(len(data.manifest))])
    write_volume(tmp_path / "answer.nii.gz", image, slices)
    answer = nib.load(tmp_path / "answer.nii.gz")
    np.testing.assert_array_equal(np.asarray(answer.dataobj), VOXELS > 0)
    np.testing.assert_allclose(answer.affine, affine(), atol=1e-4)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [("endian: little\n", "", "no known order"), ("space:", 'space units: "um" "um" "um"\nspace:', "save it in mm")],
)
def test_order_and_units_of_nrrd_are_not_guessed(old: str, new: str, says: str, tmp_path: Path) -> None:
    file = write_nrrd(tmp_path / "a.nrrd")
    file.write_bytes(file.read_bytes().replace(old.encode(), new.encode()))
    with pytest.raises(ValueError, match=says):
        Volumes().probe(file)
