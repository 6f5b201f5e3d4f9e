"""Reader of volumes (NIfTI, NRRD, MetaImage), whose planes are slices: upright, scaled by percentiles or a window."""

from __future__ import annotations

import gzip
import io
import logging
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ...core.limits import check_volume
from ...core.types import FloatArray
from ...errors import parsing
from .. import grids
from ..base import Pixels
from ..pixels import Window, windowed
from ..scaling import percentiles
from ..workers import kept
from .base import Header, Stamp, check_stack, plane_of

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

Axis = Literal["axial", "coronal", "sagittal"]
Axes = Literal[Axis, "all"]
"""Kind of the slices of a volume; all: slices of each kind."""
AXES: dict[Axis, tuple[int, int, int]] = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}
"""Of an array (right, anterior, superior): the axis across the slices, that of the rows and that of the columns."""

LEAST, MOST = 0.5, 99.5  # percentiles of a volume that become 0 and 1
PACKED = b"\x1f\x8b"  # how gzip files begin
CODES = range(6)  # of sform and qform
FIRST, SECOND = 348, 540  # bytes of the header of NIfTI-1 and NIfTI-2, which are its first number


@dataclass(frozen=True)
class Volumes:
    """Volumes of three axes: NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd).

    axis     kind of the slices; volumes are turned upright by their affine first. Rows run from anterior to posterior
             (axial) or from superior to inferior, columns to the right (axial, coronal) or to anterior. With `all`
             samples are slices of all three kinds, which ids say: `scan.nii.gz#coronal#12`
    stack    slices in the channels of an image (2.5-D), an odd number: the sample in the middle, its neighbours on both
             sides; at the ends of a volume the last slice repeats. The mask is that of the slice in the middle
    window   [low, high] of the values that become 0 and 1; without it, the 0.5th and 99.5th percentile of each volume
    """

    axis: Axes = "axial"
    stack: int = 1
    window: Window | None = None

    SUFFIXES: ClassVar[tuple[str, ...]] = (".nii", ".nii.gz", *grids.SUFFIXES)
    VERSION: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        """Refuse a stack without a middle."""
        check_stack(self.stack)

    @staticmethod
    def claims(head: bytes) -> bool:
        """By the size of the header and its magic word, also inside gzip; by the first word of NRRD and MetaImage."""
        if grids.is_grid(head):
            return True
        if head[:2] == PACKED:
            try:
                head = zlib.decompressobj(wbits=31).decompress(head, SECOND)
            except zlib.error:
                return False
        sizes = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
        return (FIRST in sizes and head[344:348] == b"n+1\0") or (SECOND in sizes and head[4:8] == b"n+2\0")

    def probe(self, file: Path) -> Header:
        """The slices of the axis; ValueError where header and voxels do not agree, or where there is only one slice."""
        image = _upright_volume(Stamp.of(file))
        across, down, right = AXES[self._axis]
        if image.shape[across] < 2:
            raise ValueError(f"one {self.axis} slice alone: take another data.axis, or images (source csv or folder)")
        zooms = [float(z) if np.isfinite(z) and z > 0 else np.nan for z in image.header.get_zooms()[:3]]
        return Header(
            height=image.shape[down],
            width=image.shape[right],
            channels=self.stack,
            planes=image.shape[across],
            stack=self.stack,
            spacing=(zooms[across], zooms[down], zooms[right]),
            affine=tuple(_affine_of_slices(image, self._axis).ravel().tolist()),
            span=self.window or (),
            placed=image.extra["placed"],
        )

    def decode(self, file: Path, plane: int = 0) -> Pixels:
        """A slice (H, W, stack) in [0, 1]."""
        slices, spread = _values(Stamp.of(file), self._axis)
        if self.window is None and not spread[0] < spread[1]:
            came = f"all that lies between the percentiles {LEAST} and {MOST} is {spread[0]:g}"
            raise ValueError(f"{came}: set data.window")
        stack = stack_at(slices, plane_of(len(slices), plane), self.stack)
        return np.moveaxis(windowed(stack, self.window or spread), 0, 2)

    def values(self, file: Path, plane: int = 0) -> npt.NDArray[Any]:
        """A slice (H, W) of a mask; ValueError where a voxel of the volume is no whole number."""
        slices = _numbers(Stamp.of(file), self._axis)
        values: npt.NDArray[Any] = slices[plane_of(len(slices), plane)]
        return values

    @property
    def _axis(self) -> Axis:
        assert self.axis != "all", "a reader along one axis: Choice.along"
        return self.axis


def parted(path: str) -> tuple[str, Axis | None]:
    """The file of a path in a manifest, and the kind of its slices where it has all three: `scan.nii.gz#coronal`."""
    file, _, axis = path.rpartition("#")
    return (file, axis) if axis in AXES and file.lower().endswith(Volumes.SUFFIXES) else (path, None)


def _affine_of_slices(image: Nifti1Image, axis: Axis) -> FloatArray:
    """From slice, row and column of `slices_of` to millimetres (4, 4)."""
    across, down, right = AXES[axis]
    affine: FloatArray = np.asarray(image.affine, dtype=np.float64)[:, [across, down, right, 3]]
    affine[:, 3] += affine[:, 1] * (image.shape[down] - 1)  # rows are counted from the other end
    affine[:, 1] *= -1
    return affine


def stack_at(pixels: npt.NDArray[np.float32], z: int, count: int) -> npt.NDArray[np.float32]:
    """Slice z of (Z, H, W) with its neighbours on both sides, `count` in all, the ends repeated: (count, H, W)."""
    indices = np.arange(z - count // 2, z + count // 2 + 1)
    slices: npt.NDArray[np.float32] = pixels[indices.clip(0, len(pixels) - 1)]
    return slices


@kept(2)
def _values(stamp: Stamp, axis: Axis) -> tuple[npt.NDArray[np.float32], Window]:
    """Slices (Z, H, W) of the numbers in a file, and their percentiles `LEAST` and `MOST`."""
    values = _voxels(stamp, np.float32)
    if not np.isfinite([values.min(), values.max()]).all():
        count = int((~np.isfinite(values)).sum())
        raise ValueError(f"{count} voxels are not finite numbers (NaN or infinite)")
    slices = slices_of(values, axis)
    return slices, percentiles(slices, (LEAST, MOST))


@kept(2)
def _numbers(stamp: Stamp, axis: Axis) -> npt.NDArray[Any]:
    """Whole numbers (Z, H, W)."""
    values = _voxels(stamp)
    if not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        raise ValueError("values that are no whole numbers")
    return slices_of(values, axis)


def slices_of(values: npt.NDArray[Any], axis: Axis) -> npt.NDArray[Any]:
    """(right, anterior, superior) -> (slices, rows, columns), the first row at the top of the picture; read-only."""
    slices = np.array(np.flip(values.transpose(AXES[axis]), axis=1), order="C")
    slices.setflags(write=False)  # they are kept, and handed out plane by plane
    return slices


def upright_slices(voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64], axis: Axis) -> npt.NDArray[Any]:
    """Slices (Z, H, W) of the voxels of a file, in the order and orientation of `Volumes`."""
    import nibabel

    volume: Nifti1Image = nibabel.as_closest_canonical(nibabel.Nifti1Image(voxels, affine))
    return slices_of(np.asarray(volume.dataobj), axis)


@kept(1)
def _upright_volume(stamp: Stamp) -> Nifti1Image:
    """The volume turned to right, anterior, superior."""
    import nibabel

    volume = load_volume(stamp.file)
    with parsing("its affine says no orientation"):
        upright: Nifti1Image = nibabel.as_closest_canonical(volume)
    upright.extra["placed"] = any(int(volume.header[code]) for code in ("sform_code", "qform_code"))
    return upright


def _voxels(stamp: Stamp, dtype: type[np.float32] | None = None) -> npt.NDArray[Any]:
    """The numbers of the upright volume."""
    volume = _upright_volume(stamp)
    with parsing("voxels that cannot be read"):
        return np.asarray(volume.dataobj, dtype=dtype)


def load_volume(path: Path) -> Nifti1Image:
    """A volume of any of the formats, its axes as in its file, as an image of nibabel.

    ValueError where its header and its voxels do not agree, or its affine says no orientation.
    """
    with path.open("rb") as stream:
        return _of_grid(path) if grids.is_grid(stream.read(32)) else _load_nifti(path)


def _check_affine(affine: npt.NDArray[Any]) -> None:
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise ValueError("its affine says no orientation")


def _of_grid(path: Path) -> Nifti1Image:
    import nibabel

    voxels, affine = grids.read_grid(path)
    _check_affine(affine)
    return nibabel.Nifti1Image(voxels.astype(voxels.dtype.newbyteorder("=")), affine)


def _load_nifti(path: Path) -> Nifti1Image:
    import nibabel

    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    with parsing("no NIfTI volume"):
        with path.open("rb") as file:
            packed = file.read() if path.name.lower().endswith(".gz") or file.peek(2)[:2] == PACKED else b""
            content = gzip.GzipFile(fileobj=io.BytesIO(packed)).read(SECOND) if packed else file.read(SECOND)
            second = content[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c")
            kind = nibabel.Nifti2Image if second else nibabel.Nifti1Image
            header = kind.header_class.from_fileobj(io.BytesIO(content))
            _check_geometry(kind.header_class(content[: header.sizeof_hdr], check=False))
            expected = _check_header(header)
            # a few bytes of zeros can unpack to any size: no more is unpacked than the header claims, and one byte
            most = max(len(content), expected + 1)
            content = grids.gunzip(packed, most) if packed else content + file.read(most - len(content))
        _check_size(header, expected, len(content))
        image = kind.from_bytes(content)
        image = image.slicer[..., 0] if image.ndim == 4 else image
        _check_affine(image.affine)
        return image


def _check_geometry(raw: Any) -> None:
    """ValueError for what nibabel replaces without a word, though it says where voxels lie or what they are."""
    sform, qform, pixdim = int(raw["sform_code"]), int(raw["qform_code"]), raw["pixdim"]
    if sform not in CODES or (sform == 0 and qform not in CODES):
        raise ValueError(f"its affine says no orientation (sform_code {sform}, qform_code {qform}: 0 to {CODES[-1]})")
    if sform == 0 and not (pixdim[1:4] > 0).all():
        raise ValueError(
            f"its affine says no orientation (voxels of {' x '.join(f'{side:g}' for side in pixdim[1:4])})"
        )
    if sform == 0 and qform > 0 and pixdim[0] not in (-1, 0, 1):
        raise ValueError(f"its affine says no orientation (pixdim[0] {pixdim[0]:g}, which is -1 or 1)")
    if np.isinf(raw["scl_slope"]):
        raise ValueError("its values are scaled by infinity (scl_slope)")


def _check_header(header: Any) -> int:
    """How many bytes a file of this header has; ValueError where that is no volume, or one too large."""
    shape = header.get_data_shape()
    if not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)) or min(shape) < 1:
        raise ValueError(f"expected a volume of three axes, got {' x '.join(map(str, shape)) or 'none'}")
    if header.get_data_dtype().fields:
        raise ValueError("colours are no volume of one channel")
    voxels = math.prod(map(int, shape))
    check_volume(shape)
    return voxels * int(header.get_data_dtype().itemsize) + int(header.get_data_offset())


def _check_size(header: Any, expected: int, size: int) -> None:
    """ValueError where a file does not hold the voxels that its header claims."""
    if size == expected:
        return
    offset, shape = int(header.get_data_offset()), " x ".join(map(str, header.get_data_shape()))
    raise ValueError(
        f"its header claims {shape} voxels in {expected - offset} bytes, the file holds "
        f"{'more' if size > expected else size - offset}"
    )
