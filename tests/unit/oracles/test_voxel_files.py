"""Masks of voxels that lie elsewhere than their image, or whose values mean nothing: one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest

from hybrid_al.errors import InputError
from hybrid_al.oracles.formats import FORMATS, recognise
from hybrid_al.oracles.formats.base import Asked, Reference
from hybrid_al.oracles.formats.voxels import place

SHAPE = (4, 5, 3)
AFFINE = np.asarray([[0, 2.0, 0, 7], [-3.0, 0, 0, 8], [0, 0, 4.0, 9], [0, 0, 0, 1]])
REFERENCE = Reference(SHAPE, AFFINE, {0: "a", 2: "c"}, "axial")
ASKED = Asked("mask", ("background", "thing"), {0: "background", 1: "thing", 255: "ignore"}, lambda name: REFERENCE)
HEADER: dict[str, Any] = {
    "space": "left-posterior-superior",
    "space directions": (np.diag([-1, -1, 1]) @ AFFINE[:3, :3]).T,
    "space origin": np.diag([-1, -1, 1]) @ AFFINE[:3, 3],
    "Segment0_Name": "thing",
    "Segment0_LabelValue": "1",
}


def read(file: Path, asked: Asked = ASKED) -> Any:
    name, content = recognise(file)
    assert name is not None
    return FORMATS[name].read(content, asked)


def test_a_part_of_the_grid_lies_where_its_affine_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = rng.random(SHAPE) < 0.5
    whole[0], whole[:, -1] = False, False
    part = whole[1:, :4, 2:]
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [1, 0, 2, 1])[:3]
    whole[:, :, :2] = False
    np.testing.assert_array_equal(place(part, affine, REFERENCE), whole)
    turned = np.transpose(part, (2, 0, 1))[:, ::-1]
    to_part = np.asarray([[0, -1, 0, 2], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])  # of a voxel of `turned`
    np.testing.assert_array_equal(place(turned, affine @ to_part, REFERENCE), whole)


def test_empty_borders_may_lie_beyond_the_image(tmp_path: Path) -> None:
    wide = np.zeros((6, 7, 5), dtype=np.bool_)
    wide[1:-1, 1:-1, 1:-1] = True
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [-1, -1, -1, 1])[:3]
    assert place(wide, affine, REFERENCE).all()
    wide[0] = True
    with pytest.raises(ValueError, match="35 labeled voxels beyond its image of 4 x 5 x 3 voxels"):
        place(wide, affine, REFERENCE)


@pytest.mark.parametrize(
    ("values", "affine", "line"),
    [
        (np.full(SHAPE, 7), AFFINE, "the value 7, which is none of 0 background, 1 thing, 255 ignore"),
        (np.ones(SHAPE), AFFINE + 0.3 * np.eye(4, k=3), "it lies 0.15 voxels beside its image"),
        (np.ones(SHAPE), AFFINE * [[1.1], [1.1], [1.1], [1]], "voxels of another size or direction"),
        (np.ones((3, 5, 4)), AFFINE, "beyond its image of 4 x 5 x 3 voxels"),
        (np.ones((40, 5, 3)), AFFINE, "40 x 5 x 3 voxels, its image has 4 x 5 x 3"),
        (np.full(SHAPE, 0.5), AFFINE, "the value 0.5"),
    ],
)
def test_a_nifti_mask_that_is_none_of_its_image(tmp_path: Path, values: Any, affine: Any, line: str) -> None:
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), affine), tmp_path / "a.nii.gz")
    with pytest.raises(
        InputError, match=f"a.nii.gz: expected a mask that lies on an image of the query, got .*({line})"
    ):
        read(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    ("values", "changes", "line"),
    [
        (np.full(SHAPE, 3), {}, "60 voxels of values that no segment has, such as 3"),
        (np.ones(SHAPE), {"space": "scanner-xyz"}, "the space scanner-xyz, expected left-posterior-superior"),
        (
            np.ones(SHAPE),
            {"space origin": np.diag([-1, -1, 1]) @ (AFFINE @ [2, 0, 0, 1])[:3]},
            "labeled voxels beyond its image",
        ),
        (np.ones(SHAPE), {"Segment0_LabelValue": "x"}, "invalid literal"),
    ],
)
def test_a_segmentation_that_is_none_of_its_image(tmp_path: Path, values: Any, changes: Any, line: str) -> None:
    nrrd.write(str(tmp_path / "a.seg.nrrd"), values.astype(np.uint8), {**HEADER, **changes})
    with pytest.raises(InputError, match=f"a.seg.nrrd: expected a segmentation of 3D Slicer that lies on .*{line}"):
        read(tmp_path / "a.seg.nrrd")


def test_segments_that_share_voxels(tmp_path: Path) -> None:
    layers = np.ones((2, *SHAPE), dtype=np.uint8)
    directions = np.vstack([[np.nan] * 3, HEADER["space directions"]])
    more = {"Segment0_Layer": "0", "Segment1_Name": "ignore", "Segment1_LabelValue": "1", "Segment1_Layer": "1"}
    kinds = {"kinds": ["list", "domain", "domain", "domain"], "space directions": directions}
    nrrd.write(str(tmp_path / "a.seg.nrrd"), layers, {**HEADER, **more, **kinds})
    with pytest.raises(InputError, match="voxels of ignore that are thing too"):
        read(tmp_path / "a.seg.nrrd")


def test_the_name_of_a_segment_decides_not_its_place(tmp_path: Path) -> None:
    values = np.zeros(SHAPE, dtype=np.uint8)
    values[..., 0], values[..., 1] = 5, 9
    more = {"Segment0_Name": "ignore", "Segment0_LabelValue": "9", "Segment1_Name": "thing", "Segment1_LabelValue": "5"}
    nrrd.write(str(tmp_path / "a.seg.nrrd"), values, {**HEADER, **more})
    said: list[str] = []
    asked = Asked("mask", ASKED.classes, ASKED.values, ASKED.reference, said.append)
    first, last = read(tmp_path / "a.seg.nrrd", asked)
    assert [mark.label for mark in first.marks] == ["thing"] and not last.marks and last.image == "c"
    assert said == ["a.seg.nrrd: labels on 1 slices that nobody asked about are not read"]


def test_a_header_does_not_name_other_files_and_damage_is_one_line(tmp_path: Path) -> None:
    secret = tmp_path / "secret.raw"
    secret.write_bytes(b"1" * 60)
    head = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 5 3\nencoding: raw\n"
    (tmp_path / "a.seg.nrrd").write_text(f"{head}data file: {secret}\n\n", encoding="utf-8")
    with pytest.raises(InputError, match="a header whose voxels lie in another file"):
        read(tmp_path / "a.seg.nrrd")
    for text in (f"{head}\n123", "NRRD0004\n", f"{head.replace('4 5 3', '4000000 5000 3000')}\n"):
        (tmp_path / "a.seg.nrrd").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"a.seg.nrrd: expected a segmentation of 3D Slicer"):
            read(tmp_path / "a.seg.nrrd")
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, dtype=np.uint8), AFFINE), tmp_path / "a.nii")
    (tmp_path / "a.nii").write_bytes((tmp_path / "a.nii").read_bytes()[:370])
    with pytest.raises(InputError, match=r"a.nii: expected a mask that lies on"):
        read(tmp_path / "a.nii")
