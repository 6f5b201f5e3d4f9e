"""Masks of volumes, written with the geometry of their images."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..core.files import write_atomic
from .readers.volumes import AXES, Axis, load_volume

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

AXIS: Axis = "axial"


def write_volume(
    path: Path, image: Path, slices_ZHW: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], axis: Axis = AXIS
) -> None:
    """Write upright slices of all of a volume, as `readers.volumes` gives them, as a mask that lies on `image`.

    It is NIfTI, and has the shape, axes and affine of the image file; gzip by the suffix of `path`.
    """
    data = mask_on(image, slices_ZHW, axis).to_bytes()
    write_atomic(path, gzip.compress(data, mtime=0) if path.name.lower().endswith(".gz") else data)


def mask_on(image: Path, slices_ZHW: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], axis: Axis = AXIS) -> Nifti1Image:
    """The volume that `write_volume` writes."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

    volume = load_volume(image)
    upright = np.flip(slices_ZHW, axis=1).transpose(np.argsort(AXES[axis]))
    back = ornt_transform(axcodes2ornt("RAS"), io_orientation(volume.affine))
    header = volume.header.copy()
    header.set_data_dtype(slices_ZHW.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    return type(volume)(np.ascontiguousarray(apply_orientation(upright, back)), volume.affine, header)
