"""Reader of NPZ files, whose planes are the rows of one array; and access to the other arrays."""

from __future__ import annotations

import math
import weakref
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...errors import InputError, UnknownName, parsing, reading
from ..base import Pixels
from ..pixels import Window, span_of, to_pixels
from ..workers import kept
from .base import Header, Stamp, plane_of


@dataclass(frozen=True)
class Arrays:
    """NPZ files (.npz) with an array of images: (N, H, W), (N, H, W, 1) or (N, H, W, 3) of any type of numbers.

    key     of the array
    window  [low, high] of the values that become 0 and 1; without it, see `to_pixels`
    """

    key: str = "images"
    window: Window | None = None

    SUFFIXES: ClassVar[tuple[str, ...]] = (".npz",)
    VERSION: ClassVar[str] = "1"

    @staticmethod
    def claims(head: bytes) -> bool:
        """A ZIP file whose first member is an array."""
        length = int.from_bytes(head[26:28], "little")
        return head[:4] == b"PK\x03\x04" and head[30 : 30 + length].endswith(b".npy")

    def probe(self, file: Path) -> Header:
        """The rows of the array, by its header."""
        rows = self._rows(file)
        shape = rows.shape
        if 0 in shape:
            raise ValueError(f"expected images in {self.key}, got shape {shape}")
        span = span_of(rows.dtype, self.window)
        return Header(shape[1], shape[2], shape[3] if len(shape) == 4 else 1, planes=shape[0], span=span)

    def decode(self, file: Path, plane: int = 0) -> Pixels:
        """A row as pixels (H, W, C)."""
        return to_pixels(self._row(file, plane), self.window)

    def values(self, file: Path, plane: int = 0) -> npt.NDArray[Any]:
        """A row (H, W) of whole numbers; ValueError where it has colours or fractions."""
        row = self._row(file, plane)
        row = row[:, :, 0] if row.ndim == 3 and row.shape[2] == 1 else row
        if row.ndim != 2 or row.dtype.kind not in "iub":
            raise ValueError(f"expected whole numbers of one channel, got {row.dtype} of shape {row.shape}")
        return row

    def _row(self, file: Path, plane: int) -> npt.NDArray[Any]:
        rows = self._rows(file)
        try:
            return rows[plane_of(len(rows), plane)]
        except InputError as error:
            raise ValueError(str(error)) from error

    def _rows(self, file: Path) -> Rows | npt.NDArray[Any]:
        try:
            return _images(Stamp.of(file), self.key)
        except InputError as error:
            raise ValueError(str(error)) from error


@kept(4)  # train, val, test, or the one of a file without splits
def _images(stamp: Stamp, key: str) -> Rows | npt.NDArray[Any]:
    return Archive(stamp.file).images(key)


class Rows:
    """The rows of one array in an NPZ file, unpacked one at a time: fast in ascending order, little memory."""

    def __init__(self, path: Path, key: str) -> None:
        """Read the header; ValueError where the array is pickled, of Fortran's order or of an unknown version."""
        self._where = f"{path}: {key}"
        archive = zipfile.ZipFile(path)
        self._file = archive.open(f"{key}.npy")  # stays open as long as the rows are read
        weakref.finalize(self, self._file.close)
        self.shape, fortran, self.dtype = _header(self._file, archive.getinfo(f"{key}.npy").file_size)
        if self.dtype.hasobject or fortran or not self.shape:
            raise ValueError("an array of objects" if self.dtype.hasobject else "columns before rows")
        self._start, self._next = self._file.tell(), 0
        self._bytes = math.prod(self.shape[1:]) * self.dtype.itemsize

    def __len__(self) -> int:
        """How many rows."""
        return int(self.shape[0])

    def __getitem__(self, row: int) -> npt.NDArray[Any]:
        """One row, read-only; InputError where the file is damaged."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        with reading(self._where, "a whole array of plain numbers"):
            if row != self._next:
                self._file.seek(self._start + row * self._bytes)
            data = self._file.read(self._bytes)
        if len(data) < self._bytes:
            raise InputError(self._where, f"{len(self)} rows", f"{row}, and then the end of the file")
        self._next = row + 1
        return np.frombuffer(data, dtype=self.dtype).reshape(self.shape[1:])


_HEADERS: dict[tuple[int, int], Callable[[Any], tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is of Fortran's order, and type of an open array of `size` bytes, header included.

    ValueError where the header is damaged, of an unknown version, or claims other bytes than there are.
    """
    with parsing("no array that can be read"):
        shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    if any(side < 0 for side in shape):
        raise ValueError(f"an array of shape {shape}")
    expected, actual = math.prod(shape) * dtype.itemsize, size - file.tell()
    if expected != actual and not dtype.hasobject:
        raise ValueError(f"its header claims shape {shape} of {dtype} in {expected} bytes, the file holds {actual}")
    return shape, fortran, dtype


class Archive:
    """The arrays of an NPZ file by key; the last array stays in memory, images are read row by row."""

    def __init__(self, path: Path) -> None:
        """Open the file to list its keys; InputError where it is no whole NPZ file."""
        self.path = path
        self._last: tuple[str, npt.NDArray[Any]] | None = None
        if not path.is_file():
            raise InputError(
                f"data.root: {path.absolute()}", "an NPZ file", "a folder" if path.is_dir() else "nothing there"
            )
        with reading(path, "a whole NPZ file"), zipfile.ZipFile(path) as archive:
            self.keys = sorted(name.removesuffix(".npy") for name in archive.namelist())

    def __getitem__(self, key: str) -> npt.NDArray[Any]:
        """One array, at least 1-d; InputError where it is missing, damaged or pickled."""
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        if key not in self.keys:
            raise UnknownName(self.path, key, self.keys)
        with reading(f"{self.path}: {key}", "a whole array of plain numbers or text"):
            with zipfile.ZipFile(self.path) as packed, packed.open(f"{key}.npy") as file:
                _header(file, packed.getinfo(f"{key}.npy").file_size)
            with np.load(self.path, allow_pickle=False) as archive:
                array = np.atleast_1d(archive[key])
        array.setflags(write=False)  # it is kept, and handed out row by row
        self._last = (key, array)
        return array

    def images(self, key: str) -> Rows | npt.NDArray[Any]:
        """An array of images, (N, H, W) or (N, H, W, 1 or 3), of any type of numbers, one by one."""
        try:
            images: Rows | npt.NDArray[Any] = Rows(self.path, key)
        except Exception:  # noqa: BLE001 (whatever a library raises, `self[key]` says it)
            images = self[key]  # all at once, or the reason why not
        shape = images.shape
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)) or 0 in shape[1:]:
            raise InputError(f"{self.path}: {key}", "shape (N, H, W), (N, H, W, 1) or (N, H, W, 3)", str(shape))
        if images.dtype.kind not in "buif":
            raise InputError(f"{self.path}: {key}", "images of numbers", str(images.dtype))
        return images

    def column(self, key: str, n: int) -> npt.NDArray[Any]:
        """An array of one entry per image (n,)."""
        array = self[key]
        if array.shape not in ((n,), (n, 1)):
            raise InputError(f"{self.path}: {key}", f"one entry for each of the {n} images", f"shape {array.shape}")
        return array.reshape(n)
