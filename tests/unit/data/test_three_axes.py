"""Slices of volumes along three axes in one pool, and masks of volumes that are made of all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from hybrid_al.api.outputs import file_names
from hybrid_al.data.base import Dataset
from hybrid_al.data.readers.volumes import AXES, Axis, Volumes, parted
from hybrid_al.data.scaling import Scaling
from hybrid_al.data.sources.nifti import Nifti
from hybrid_al.data.sources.table import Csv
from hybrid_al.data.volume_masks import AllAxes, write_volume
from hybrid_al.errors import InputError, UnreadableImages

SHAPE = (5, 6, 4)  # right, anterior, superior


def put(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([-1.0, 2.0, 3.0, 1.0])), path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four volumes, the last with black slices, and the masks of the first three."""
    rng = np.random.default_rng(0)
    for i in range(4):
        values = rng.integers(1, 1000, SHAPE).astype(np.float32)
        if i == 3:
            values[0] = values[:, 0] = values[:, :, 0] = 0
        put(tmp_path / "im" / f"v{i}.nii.gz", values)
        if i < 3:
            put(tmp_path / "lb" / f"v{i}.nii.gz", rng.integers(0, 2, SHAPE).astype(np.uint8))
    return tmp_path


def load(root: Path, axis: Any = "all", **changes: Any) -> Dataset:
    settings = {"masks": root / "lb", "group": "none", "classes": ("background", "organ"), **changes}
    return Nifti(root / "im", axis=axis, **settings).load()


@pytest.mark.parametrize("window", [None, (0.0, 500.0), Scaling(percentiles=(1.0, 99.0), of="image")])
def test_each_slice_is_that_of_its_axis_alone(root: Path, window: Any) -> None:
    data = load(root, window=window)
    manifest, masks = data.manifest, data.masks
    assert len(manifest) == 4 * sum(SHAPE) and masks is not None
    assert list(dict.fromkeys(manifest.groups)) == [f"v{i}.nii.gz" for i in range(4)]
    assert list(dict.fromkeys(manifest.paths))[:3] == [f"v0.nii.gz#{axis}" for axis in AXES]
    for axis in AXES:
        alone = load(root, axis, window=window)
        assert alone.masks is not None
        rows = [i for i, path in enumerate(manifest.paths) if parted(path)[1] == axis]
        assert [manifest.ids[i] for i in rows] == [name.replace("#", f"#{axis}#") for name in alone.manifest.ids]
        assert [manifest.z[i] for i in rows] == list(alone.manifest.z)
        assert masks.sizes[rows].tolist() == alone.masks.sizes.tolist()
        assert masks.spacing[rows].tolist() == alone.masks.spacing.tolist()
        for one, i in enumerate(rows):
            np.testing.assert_array_equal(data.read(i), alone.read(one))
            if alone.masks.labeled[one]:
                np.testing.assert_array_equal(masks.read(i), alone.masks.read(one))
                assert masks.keys[i] == alone.masks.keys[one]
    black = [i for i in range(len(manifest)) if manifest.groups[i] == "v3.nii.gz" and not data.read(i).any()]
    assert len(black) == 3 and (manifest.originals[black] == black).all(), "of other sides, so no copies"


def test_a_rule_of_volumes_gives_one_window_to_all_axes(root: Path) -> None:
    data = load(root, window=Scaling(zscore=2.0))
    windows = {(group, data.scaled(i)) for i, group in enumerate(data.manifest.groups)}
    assert len(windows) == 4


def test_a_volume_stays_in_one_split_and_may_give_few_slices(root: Path) -> None:
    manifest = load(root, holdout={"test": 0.5}, slices=2).manifest
    of_group = dict(zip(manifest.groups, manifest.splits, strict=True))
    assert [of_group[group] for group in manifest.groups] == list(manifest.splits)
    assert sorted(of_group.values()) == ["pool", "pool", "test", "test"] and len(manifest) == 4 * 3 * 2
    assert load(root, sample="file").manifest.ids[:3] == (
        "v0.nii.gz#axial#1",
        "v0.nii.gz#coronal#2",
        "v0.nii.gz#sagittal#2",
    )


def test_what_says_no_direction_is_refused(root: Path) -> None:
    (root / "t.csv").write_text("file,z,mask\nim/v0.nii.gz,1,lb/v0.npy\n")
    np.save(root / "lb" / "v0.npy", np.zeros(SHAPE, dtype=np.uint8))
    columns = {"path": "file", "mask": "mask"}
    settings: dict[str, Any] = {"group": "none", "classes": ("a", "b"), "mask_values": {0: "a", 1: "b"}}
    settings["reader"] = {"name": "volumes", "axis": "all"}
    with pytest.raises(InputError, match=r"data\.columns\.slice: expected slices of one axis.*axis: all"):
        Csv(root / "t.csv", columns={**columns, "slice": "z"}, **settings).load()
    with pytest.raises(UnreadableImages, match=r"reader npy.*axis: all takes volumes"):
        Csv(root / "t.csv", columns=columns, **settings).load()


def test_a_volume_without_slices_of_one_axis_is_left_out_whole(root: Path) -> None:
    put(root / "im" / "v3.nii.gz", np.arange(30, dtype=np.float32).reshape(1, 6, 5))
    with pytest.raises(UnreadableImages, match=r"v3\.nii\.gz.*one sagittal slice alone"):
        load(root)
    data = load(root, on_error="skip")
    assert set(data.manifest.groups) == {"v0.nii.gz", "v1.nii.gz", "v2.nii.gz"} and len(data.skipped) == 1


def test_files_of_slices_have_readable_names() -> None:
    ids = ["a/v.nii.gz#coronal#12", "a/v.nii.gz#sagittal#12", "a/v.nii.gz#12"]
    assert file_names(ids, ".png") == ["a/v_coronal_0012.png", "a/v_sagittal_0012.png", "a/v_0012.png"]
    assert parted("a#b/v.nii.gz") == ("a#b/v.nii.gz", None) and parted("v.npz#axial") == ("v.npz#axial", None)


@pytest.mark.parametrize("code", ["RAS", "LPS", "ASL"])
def test_a_mask_of_three_axes_is_that_of_their_mean(tmp_path: Path, code: str) -> None:
    """The slices of each axis go back to where they came from: the slow mean, voxel by voxel."""
    image, rng = tmp_path / "v.nii.gz", np.random.default_rng(0)
    ornt = nib.orientations.axcodes2ornt(code)
    affine = np.diag([2.0, 3.0, 4.0, 1.0]) @ nib.orientations.inv_ornt_aff(ornt, SHAPE)
    nib.save(nib.Nifti1Image(np.arange(np.prod(SHAPE), dtype=np.int32).reshape(SHAPE), affine), image)
    merged, sums = AllAxes.of(image, 3), np.zeros((np.prod(SHAPE), 3))
    numbers: dict[Axis, np.ndarray] = {}
    for axis in AXES:
        reader = Volumes(axis)
        numbers[axis] = np.stack([reader.values(image, z) for z in range(reader.probe(image).planes or 0)])
        for z, plane in enumerate(numbers[axis]):
            probs = rng.dirichlet(np.ones(3), plane.shape).transpose(2, 0, 1).astype(np.float32)
            merged.add(axis, z, probs)
            for row, column in np.ndindex(*plane.shape):
                sums[plane[row, column]] += probs[:, row, column] / 3
    expected = sums.argmax(axis=1)
    for axis in AXES:
        np.testing.assert_array_equal(merged.along(axis), expected[numbers[axis]])
    write_volume(tmp_path / "mask.nii.gz", image, merged.along("axial"))
    written = np.asarray(nib.Nifti1Image.from_filename(tmp_path / "mask.nii.gz").dataobj)
    np.testing.assert_array_equal(written, expected.reshape(SHAPE))
