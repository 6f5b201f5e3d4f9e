"""Masks go back to the image's own pixels, in the values and with the geometry of its files."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from hybrid_al.core.types import IGNORE
from hybrid_al.data.masks import resize_mask
from hybrid_al.data.own_size import Values, own_labels, own_map
from hybrid_al.data.readers.volumes import AXES, Axis, Volumes
from hybrid_al.data.volume_masks import write_volume
from hybrid_al.errors import InputError


@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 20), (9, 16), (8, 8)])
def test_a_mask_that_was_resized_comes_back(height: int, width: int) -> None:
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[: height // 2, width // 2 :] = 1
    square = resize_mask(mask, 16)
    one_hot = np.stack([square == c for c in range(2)]).astype(np.float32)
    assert own_labels(one_hot, height, width).shape == mask.shape
    assert (own_labels(one_hot, height, width) == mask).mean() > 0.9
    back = own_map(square, height, width)
    assert (back == mask).mean() > 0.9 and IGNORE not in back, "padding is cut off"


def test_values_are_those_of_the_recipe() -> None:
    plain = Values.of({}, ("background", "nucleus"))
    assert plain.of_class == (0, 1) and plain.unknown == 255
    named = Values.of({"0": "background", 255: "nucleus", "128": "ignore"}, ("background", "nucleus"))
    assert named.write(np.asarray([[0, 1, IGNORE]], dtype=np.uint8)).tolist() == [[0, 255, 128]]
    assert named.named(("background", "nucleus")) == {"0": "background", "255": "nucleus", "128": "not known"}
    assert Values.of({0: "a", 255: "b"}, ("a", "b")).unknown == 1, "255 is taken"
    wide = Values.of({0: "a", 600: "b"}, ("a", "b"))
    assert wide.write(np.asarray([0, 1], dtype=np.uint8)).dtype == np.uint16
    with pytest.raises(InputError, match=r"data.mask_values"):
        Values.of({0: "a", 70_000: "b"}, ("a", "b"))


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("axes", ["RAS", "LPS", "ASL"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_mask_of_slices_lies_on_its_volume(tmp_path: Path, axis: Axis, axes: str, suffix: str) -> None:
    """Written slices read as they were, and voxels lie where those of the image do."""
    values = np.random.default_rng(0).integers(0, 3, (5, 6, 7)).astype(np.int16)
    ornt = nibabel.orientations.axcodes2ornt(axes)
    affine = np.diag([2.0, 3.0, 4.0, 1.0]) @ nibabel.orientations.inv_ornt_aff(ornt, values.shape)
    image, mask = tmp_path / f"scan{suffix}", tmp_path / f"mask{suffix}"
    nibabel.Nifti1Image(values, affine).to_filename(image)
    reader = Volumes(axis)
    slices = np.stack([reader.values(image, z) for z in range(reader.probe(image).planes or 0)])
    write_volume(mask, image, slices.astype(np.uint8), axis)
    written = nibabel.Nifti1Image.from_filename(mask)
    assert np.array_equal(np.asarray(written.dataobj), values) and np.array_equal(written.affine, affine)
    assert written.get_data_dtype() == np.uint8 and reader.probe(mask) == reader.probe(image)
