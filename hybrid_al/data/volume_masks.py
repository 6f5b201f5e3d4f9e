"""Masks of volumes: put together out of slices, and written with the geometry of their images."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from ..core.files import write_atomic
from ..core.types import LabelMap
from .readers.volumes import AXES, Axis, Volumes, load_volume, slices_of

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

AXIS: Axis = "axial"


@dataclass
class OneAxis:
    """The mask of a volume by its slices along one axis, each for itself."""

    axis: Axis
    maps: dict[int, LabelMap] = field(default_factory=dict)

    def add(self, axis: Axis, z: int, probs_KHW: npt.NDArray[np.float32]) -> None:
        """Take in the probabilities of slice z."""
        self.maps[z] = probs_KHW.argmax(axis=0).astype(np.uint8)

    def along(self, axis: Axis) -> LabelMap:
        """The slices (Z, H, W), all of which were taken in."""
        return np.stack([labels for _, labels in sorted(self.maps.items())])


@dataclass
class AllAxes:
    """The mask of a volume by the mean of the probabilities of its slices along all three axes.

    sums  (K, right, anterior, superior)
    """

    sums: npt.NDArray[np.float32]
    axis: Axis = AXIS

    @classmethod
    def of(cls, image: Path, classes: int) -> AllAxes:
        """Of a volume without slices yet."""
        header = Volumes(AXIS).probe(image)
        return cls(np.zeros((classes, header.width, header.height, cast(int, header.planes)), dtype=np.float32))

    def add(self, axis: Axis, z: int, probs_KHW: npt.NDArray[np.float32]) -> None:
        """Take in the probabilities of slice z of an axis."""
        slices = self.sums.transpose(0, *(1 + side for side in AXES[axis]))
        slices[:, z, ::-1] += probs_KHW

    def along(self, axis: Axis) -> LabelMap:
        """Slices (Z, H, W) of the likeliest classes."""
        return slices_of(self.sums.argmax(axis=0).astype(np.uint8), axis)


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
