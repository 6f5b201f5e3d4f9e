"""Source of NIfTI volumes, whose samples are slices: upright, normalised by volume, each volume whole in one split."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ...core.types import FloatArray, LabelMap
from ...errors import InputError, UnreadableImages
from ..base import Dataset, Masks, Pixels
from ..index import FileIndex
from ..readers.images import Window
from ..readers.masks import to_classes, value_table
from ..samples import OnError, Sample, check_settings, content_digest, make_dataset, reason
from .table import Csv

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

Axis = Literal["axial", "coronal", "sagittal"]
AXES: dict[Axis, tuple[int, int, int]] = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}
"""Of an array (right, anterior, superior): the axis across the slices, that of the rows and that of the columns."""

SUFFIXES = (".nii", ".nii.gz")
LEAST, MOST = 0.5, 99.5  # percentiles of a volume that become 0 and 1
AFFINE_TOLERANCE = 1e-3  # mm
VERSION = "1"
"""Raise it when reading gives other slices than before."""


@dataclass(frozen=True)
class Nifti:
    """Slices of NIfTI volumes (.nii, .nii.gz), found by a table or in a folder.

    root     with `columns` a CSV file with one row a volume, see `Csv`; or a folder of volumes
    columns  of the CSV file: {path: "imagesTr/{id}.nii.gz", mask: "labelsTr/{id}.nii.gz", group: patient, split: split}
    images   of a CSV file: the folder that paths are relative to
    masks    of a folder: the folder of the masks, which have the names of their volumes
    group    "none": each volume is a group, so that its slices never straddle splits; or a column of the CSV file
    axis     slices lie across it; volumes are turned upright by their affine first. Rows run from anterior to posterior
             (axial) or from superior to inferior, columns to the right (axial, coronal) or to anterior
    stack    slices that the network sees at once, an odd number: each with the ones before and behind it as further
             channels (2.5-D), at the ends of a volume the last one again. The mask is that of the slice in the middle
    window   [low, high] of the values that become 0 and 1; without it, the 0.5th and 99.5th percentile of each volume
    classes  names of the classes of voxels, the background first; mask_values as in `Csv`
    holdout, seed, on_error   as in `Csv`; a volume is left out as a whole

    A sample's id is the path of its volume and `#` and the slice, which is also its `z` in the manifest.
    """

    root: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    images: Path | None = None
    masks: Path | None = None
    group: str = ""
    axis: Axis = "axial"
    stack: int = 1
    window: Window | None = None
    classes: Sequence[str] = ()
    mask_values: Mapping[int, str] = field(default_factory=dict)
    holdout: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    on_error: OnError = "stop"

    def load(self, index: FileIndex | None = None) -> Dataset:
        """Read every volume once; slices come in the order of the volumes, from the first to the last."""
        if self.stack < 1 or self.stack % 2 == 0:
            raise InputError("data.stack", "an odd number of slices, as many before one as behind it", str(self.stack))
        folder, volumes = self._table() if self.columns or Path(self.root).is_file() else self._folder()
        index = FileIndex() if index is None else index
        masked = "mask" in self.columns or any(volume.mask for volume in volumes)
        table = value_table(self.mask_values, self.classes) if masked else {}
        samples: list[Sample] = []
        rows: list[_Row] = []
        problems: list[tuple[str, str]] = []
        for volume in volumes:
            try:
                slices = self._look(folder, volume, table, index)
            except _Unreadable as error:
                problems.append((error.path, error.why))
                continue
            for z, (digest, row) in enumerate(slices):
                name = f"{volume.path}#{z}"
                samples.append(Sample(name, volume.path, volume.group, volume.split, -1, digest, volume.mask, z))
                rows.append(row)
        if problems and (self.on_error == "stop" or not samples):
            raise UnreadableImages(problems)
        files = tuple((sample.path, sample.mask, sample.z) for sample in samples)
        masks = _Masks(folder, self.axis, self.window, tuple(table.items()), files)
        found = make_dataset(
            samples,
            partial(_read, folder, self.axis, self.window, self.stack, files),
            classes=self.classes,
            channels=self.stack,
            window=self.window,
            holdout=self.holdout,
            seed=self.seed,
            skipped=problems,
            masks=masks.of(rows) if masked else None,
        )
        if self.stack == 1:
            return found
        return replace(found, reader=f"{found.reader} stack={self.stack}", stack=self.stack)

    def _look(self, folder: Path, volume: Sample, table: Mapping[int, int], index: FileIndex) -> list[tuple[str, _Row]]:
        """Digest, and what else is to be known, of each slice of a volume; files that lie still are not read again."""
        how = f"nifti {VERSION} {self.axis} {self.window} " + (f"stack {self.stack} " if self.stack > 1 else "")
        where = volume.path
        try:
            found = index.look(folder / volume.path, how, lambda: self._volume(folder, volume))
            if not volume.mask:
                return [(digest, _Row("", tuple(size), tuple(spacing))) for digest, size, spacing in found]
            where = volume.mask
            how += f"{sorted(table.items())} on {content_digest(repr(found).encode())}"
            keys = index.look(folder / volume.mask, how, lambda: self._mask(folder, volume, table))
        except (OSError, ValueError) as error:
            raise _Unreadable(where, error) from error
        return [
            (digest, _Row(key, tuple(size), tuple(spacing)))
            for (digest, size, spacing), key in zip(found, keys, strict=True)
        ]

    def _volume(self, folder: Path, volume: Sample) -> list[tuple[str, list[int], list[float]]]:
        stack = _volume(folder / volume.path, self.axis, self.window)
        size, spacing = list(stack.pixels.shape[1:]), list(stack.spacing)
        seen = (stacked(stack.pixels, z, self.stack) for z in range(len(stack.pixels)))
        return [(content_digest(one.tobytes()), size, spacing) for one in seen]

    def _mask(self, folder: Path, volume: Sample, table: Mapping[int, int]) -> list[str]:
        stack = _volume(folder / volume.path, self.axis, self.window)
        labels = read_labels(folder / volume.mask, self.axis, stack, table)
        return [content_digest(repr(one.shape).encode() + one.tobytes()) for one in labels]

    def _table(self) -> tuple[Path, list[Sample]]:
        if "label" in self.columns:
            raise InputError("data.columns", "path, mask, group and split of volumes", "label")
        table = Csv(
            self.root,
            self.columns,
            images=self.images,
            group=self.group,
            window=self.window,
            on_error=self.on_error,
        )
        folder, _, volumes = table.find()
        return folder, volumes

    def _folder(self) -> tuple[Path, list[Sample]]:
        check_settings(self.window, self.on_error, self.group, "none, as volumes are groups of their slices")
        root = Path(self.root).resolve()
        if not root.is_dir():
            raise InputError(f"data.root: {self.root}", "a CSV file or a folder of volumes", "nothing there")
        if self.group != "none":
            raise InputError("data.group", "none: in a folder each volume is a group", self.group)
        files = _volumes_in(root)
        if not files:
            raise InputError(f"data.root: {root}", f"volumes ({', '.join(SUFFIXES)})", "none")
        found = {} if self.masks is None else {file.name: file for file in _volumes_in(Path(self.masks).resolve())}
        lost = sorted(set(found) - {file.name for file in files})
        if lost:
            raise InputError(found[lost[0]], "a mask with the name of its volume", "no such volume")
        if self.masks is not None and not found:
            raise InputError(f"data.masks: {self.masks}", "masks with the names of their volumes", "none")
        return root, [
            Sample(file.name, file.name, file.name, None, -1, mask=str(found.get(file.name, ""))) for file in files
        ]


@dataclass(frozen=True)
class Stack:
    """Slices (Z, H, W) in [0, 1], millimetres from slice to slice, row to row and column to column (nan: unknown)."""

    pixels: npt.NDArray[np.float32]
    spacing: tuple[float, float, float]
    affine: FloatArray


class _Unreadable(Exception):
    def __init__(self, path: str, error: Exception) -> None:
        super().__init__(path)
        self.path, self.why = path, reason(error)


@dataclass(frozen=True)
class _Row:
    key: str
    size: tuple[int, ...]
    spacing: tuple[float, ...]


@dataclass(frozen=True)
class _Masks:
    """How the mask of a slice is read again: (volume, mask, z) of every sample."""

    folder: Path
    axis: Axis
    window: Window | None
    table: tuple[tuple[int, int], ...]
    slices: tuple[tuple[str, str, int], ...]

    def of(self, rows: Sequence[_Row]) -> Masks:
        return Masks(
            known=np.asarray([bool(row.key) for row in rows]),
            read=self.read,
            keys=tuple(row.key for row in rows),
            sizes=np.asarray([row.size for row in rows], dtype=np.int64),
            spacing=np.asarray([row.spacing for row in rows], dtype=np.float64),
        )

    def read(self, index: int) -> LabelMap:
        path, mask, z = self.slices[index]
        found: LabelMap = _labels(self.folder / path, self.folder / mask, self.axis, self.window, self.table)[z]
        return found


def read_volume(path: Path, axis: Axis, window: Window | None) -> Stack:
    """The slices of a volume; OSError or ValueError with the reason where it is none, or has one slice alone."""
    image = _image(path)
    values = np.asarray(image.dataobj, dtype=np.float32)
    strange = int((~np.isfinite(values)).sum())
    if strange:
        raise ValueError(f"{strange} voxels are not finite numbers")
    low, high = window if window is not None else np.percentile(values, [LEAST, MOST])
    if not low < high:
        raise ValueError(f"all that lies between the percentiles {LEAST} and {MOST} is {low:g}: set data.window")
    across, down, right = AXES[axis]
    if values.shape[across] < 2:
        raise ValueError(f"one {axis} slice alone: take another data.axis, or images (source csv or folder)")
    scaled = ((values - np.float32(low)) / np.float32(high - low)).clip(0, 1)
    zooms = [float(z) if np.isfinite(z) and z > 0 else np.nan for z in image.header.get_zooms()[:3]]
    return Stack(_slices(scaled, axis), (zooms[across], zooms[down], zooms[right]), np.asarray(image.affine))


def stacked(pixels: npt.NDArray[np.float32], z: int, count: int) -> npt.NDArray[np.float32]:
    """Slice z of (Z, H, W) with its neighbours on both sides, `count` in all, the ends repeated: (count, H, W)."""
    around = np.arange(z - count // 2, z + count // 2 + 1)
    found: npt.NDArray[np.float32] = pixels[around.clip(0, len(pixels) - 1)]
    return found


def read_labels(path: Path, axis: Axis, volume: Stack, table: Mapping[int, int]) -> LabelMap:
    """Label maps (Z, H, W) of a volume; OSError or ValueError where they do not lie on it or hold other values."""
    image = _image(path)
    values = np.asarray(image.dataobj)
    slices = _slices(values, axis)
    if slices.shape != volume.pixels.shape:
        raise ValueError(f"expected {_shape(volume.pixels)} voxels as its volume, got {_shape(slices)}")
    if not np.allclose(image.affine, volume.affine, atol=AFFINE_TOLERANCE):
        raise ValueError("it lies elsewhere in space than its volume (their affines differ)")
    if not (np.isfinite(slices).all() and (slices == np.rint(slices)).all()):
        raise ValueError("values that are no whole numbers")
    return to_classes(slices, table)


def _slices(values: npt.NDArray[Any], axis: Axis) -> npt.NDArray[Any]:
    """(right, anterior, superior) -> (slices, rows, columns), the first row at the top of the picture."""
    return np.ascontiguousarray(np.flip(values.transpose(AXES[axis]), axis=1))


def _shape(array: npt.NDArray[Any]) -> str:
    return " x ".join(map(str, array.shape))


def _image(path: Path) -> Nifti1Image:
    """The volume turned to right, anterior, superior, once its header and its voxels agree."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        content = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
        kind = nibabel.Nifti2Image if content[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c") else nibabel.Nifti1Image
        header = kind.header_class.from_fileobj(io.BytesIO(content))
        _check_header(header, len(content))
        image = kind.from_bytes(content)
        if image.ndim == 4:
            image = image.slicer[..., 0]
        if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-12:
            raise ValueError("its affine says no orientation")
        upright: Nifti1Image = nibabel.as_closest_canonical(image)
        return upright
    except (ImageFileError, HeaderDataError, WrapStructError, EOFError, zlib.error) as error:
        raise ValueError(f"no NIfTI volume ({' '.join(str(error).split()) or type(error).__name__})") from error


def _check_header(header: Any, size: int) -> None:
    shape = header.get_data_shape()
    if not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)) or 0 in shape:
        raise ValueError(f"expected a volume of three axes, got {' x '.join(map(str, shape)) or 'none'}")
    if header.get_data_dtype().fields:
        raise ValueError("colours are no volume of one channel")
    claimed = int(np.prod(shape, dtype=object)) * header.get_data_dtype().itemsize
    there = size - int(header.get_data_offset())
    if claimed != there:
        raise ValueError(
            f"its header claims {' x '.join(map(str, shape))} voxels in {claimed} bytes, the file holds {there}"
        )


def _volumes_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"data.masks: {folder}", "a folder", "a file" if folder.exists() else "nothing there")
    return sorted(f for f in folder.iterdir() if f.name.endswith(SUFFIXES) and not f.name.startswith("."))


def _read(
    folder: Path, axis: Axis, window: Window | None, stack: int, slices: Sequence[tuple[str, str, int]], index: int
) -> Pixels:
    path, _, z = slices[index]
    return np.moveaxis(stacked(_volume(folder / path, axis, window).pixels, z, stack), 0, 2)


@lru_cache(maxsize=2)
def _volume(path: Path, axis: Axis, window: Window | None) -> Stack:
    return read_volume(path, axis, window)


@lru_cache(maxsize=2)
def _labels(path: Path, mask: Path, axis: Axis, window: Window | None, table: tuple[tuple[int, int], ...]) -> LabelMap:
    return read_labels(mask, axis, _volume(path, axis, window), dict(table))
