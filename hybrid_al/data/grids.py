"""Volumes in NRRD and MetaImage files: an array of voxels, and where they lie in space."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..core.limits import check_volume
from ..core.types import FloatArray
from ..errors import parsing

MAX_HEADER = 1 << 20  # bytes
MOST_DEFLATED = 1032  # bytes that one can unpack to
SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
NRRD, META = b"NRRD000", b"ObjectType"
_NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **{"float": "f4", "double": "f8"},
}
_META_TYPES = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4"},
    **{"MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
_ORDERS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_SPACES = {
    **dict.fromkeys(("left-posterior-superior", "lps"), (-1, -1, 1)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (1, 1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (-1, 1, 1)),
}
"""Axes of a space -> what turns them to right, anterior, superior."""


@dataclass(frozen=True)
class _Layout:
    """Where the voxels of a header lie, and how: shape (i, j, k), axis i the fastest; affine (4, 4) to RAS in mm."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    affine: FloatArray
    packed: str
    file: Path
    start: int


def is_grid(head: bytes) -> bool:
    """Whether a file with these first bytes is NRRD or MetaImage."""
    return head.startswith(NRRD) or (head.startswith((META, b"NDims")) and b"=" in head[:32])


def read_grid(file: Path) -> tuple[npt.NDArray[Any], FloatArray]:
    """Voxels (i, j, k) and affine (4, 4) from indices to right, anterior, superior in mm.

    Raises OSError or ValueError with the reason. Voxels in a file of their own (.raw) lie in the folder of the header.
    """
    with file.open("rb") as stream:
        head = stream.read(len(META))
        stream.seek(0)
        if head.startswith(NRRD):
            layout = _nrrd(file, stream)
        elif is_grid(head + b"="):
            layout = _meta(file, stream)
        else:
            raise ValueError("neither NRRD nor MetaImage")
    if len(layout.shape) != 3 or min(layout.shape) < 1:
        raise ValueError(f"expected a volume of three axes, got {' x '.join(map(str, layout.shape)) or 'none'}")
    check_volume(layout.shape)
    expected = math.prod(layout.shape) * layout.dtype.itemsize
    data = _unpacked(layout, expected)
    if len(data) != expected:
        came = "more" if len(data) > expected else len(data)
        raise ValueError(f"its header claims {layout.shape} voxels in {expected} bytes, the file holds {came}")
    return np.frombuffer(data, layout.dtype).reshape(layout.shape, order="F"), layout.affine


def _unpacked(layout: _Layout, expected: int) -> bytes:
    """The bytes of the voxels, and one more where there are more: a few zeros can unpack to any size."""
    with parsing("damaged voxels"), layout.file.open("rb") as stream:
        stream.seek(layout.start)
        if layout.packed == "gzip":
            return gunzip(stream.read(), expected + 1)
        if layout.packed == "zlib":
            return zlib.decompressobj().decompress(stream.read(), expected + 1)
        return stream.read(expected + 1)


def gunzip(packed: bytes, most: int) -> bytes:
    """At most so many bytes of a gzip file; EOFError or OSError where it is cut short or damaged.

    A file of one member is unpacked at once, in a third of the time that `gzip` takes. That knows more of several, as
    bgzip writes, and of damage.
    """
    import imagecodecs

    if most <= MOST_DEFLATED * len(packed):
        with suppress(ValueError, RuntimeError):
            content = bytes(imagecodecs.gzip_decode(packed, out=most))
            if packed[-8:] == struct.pack("<II", zlib.crc32(content), len(content) % 2**32):
                return content
    return gzip.GzipFile(fileobj=io.BytesIO(packed)).read(most)


def _nrrd(file: Path, stream: IO[bytes]) -> _Layout:
    import nrrd

    with parsing("no NRRD header"):
        header = nrrd.read_header(stream)
    encoding = str(header.get("encoding", "")).lower()
    packed = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}.get(encoding)
    kind = _NRRD_TYPES.get(str(header.get("type", "")).lower())
    if packed is None or kind is None:
        raise ValueError(f"NRRD of type {header.get('type')!s} in encoding {encoding}: save it as numbers, raw or gzip")
    if any(int(header.get(key, 0)) for key in ("line skip", "lineskip", "byte skip", "byteskip")):
        raise ValueError("NRRD that skips lines or bytes before its voxels: save it anew")
    endian, units = str(header.get("endian", "")).lower(), {str(unit).lower() for unit in header.get("space units", ())}
    if endian not in ("little", "big") and np.dtype(kind).itemsize > 1:
        raise ValueError(f"NRRD of numbers of several bytes in no known order (endian: {endian or 'nothing'})")
    if units - {"mm", "millimeter", "millimeters"}:
        raise ValueError(f"NRRD in space units {', '.join(sorted(units))}: save it in mm")
    shape = tuple(int(size) for size in header.get("sizes", ()))
    named = header.get("data file", header.get("datafile"))
    return _Layout(
        shape,
        np.dtype((">" if endian == "big" else "<") + kind),
        _nrrd_affine(header, len(shape)),
        packed,
        file if named is None else _beside(file, str(named)),
        stream.tell() if named is None else 0,
    )


def _nrrd_affine(header: Mapping[str, Any], axes: int) -> FloatArray:
    signs = _SPACES.get(str(header.get("space", "")).lower())
    directions, origin = header.get("space directions"), header.get("space origin")
    if signs is None or directions is None:
        raise ValueError("its header says no orientation (space, space directions)")
    vectors = np.asarray(directions, dtype=np.float64)
    if axes != 3 or vectors.shape != (3, 3):
        raise ValueError(f"expected a volume of three axes in space, got {axes} (layers, channels or times among them)")
    return _affine(vectors.T, np.zeros(3) if origin is None else np.asarray(origin, dtype=np.float64), signs)


def _affine(columns: FloatArray, origin: FloatArray, signs: Sequence[int]) -> FloatArray:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = columns, origin
    return np.diag([*signs, 1.0]) @ affine


def _meta(file: Path, stream: IO[bytes]) -> _Layout:
    header: dict[str, str] = {}
    while "ElementDataFile" not in header:
        line = stream.readline(MAX_HEADER).decode("latin-1")
        key, mark, value = line.partition("=")
        if not mark or stream.tell() > MAX_HEADER:
            raise ValueError("no MetaImage header that ends in ElementDataFile")
        header[key.strip()] = value.strip()
    kind, named = _META_TYPES.get(header.get("ElementType", "")), header["ElementDataFile"]
    if kind is None or header.get("ElementNumberOfChannels", "1") != "1":
        raise ValueError(f"expected numbers of one channel, got ElementType {header.get('ElementType')}")
    flags = {key: header.get(key, "").lower() for key in (*_ORDERS, "CompressedData", "BinaryData")}
    if unknown := [f"{key} = {header[key]}" for key, flag in flags.items() if flag not in ("", "true", "false")]:
        raise ValueError(f"expected True or False in a MetaImage, got {unknown[0]}")
    if flags["BinaryData"] == "false" or int(header.get("HeaderSize", "0")):
        raise ValueError("MetaImage of text, or with a header of another kind before its voxels: save it anew")
    if named == "LIST" or "%" in named:
        raise ValueError("MetaImage in several files: save it as one")
    shape = tuple(map(int, header.get("DimSize", "").split()))
    if len(shape) != 3:
        raise ValueError(f"expected a volume of three axes, got {' x '.join(map(str, shape)) or 'none'}")
    big = "true" in (flags[key] for key in _ORDERS)
    local = named.upper() == "LOCAL"
    return _Layout(
        shape,
        np.dtype((">" if big else "<") + kind),
        _meta_affine(header),
        "zlib" if flags["CompressedData"] == "true" else "raw",
        file if local else _beside(file, named),
        stream.tell() if local else 0,
    )


def _meta_affine(header: Mapping[str, str]) -> FloatArray:
    """By the axes left, posterior, superior of MetaImage; row i of `TransformMatrix` is the direction of axis i."""
    directions = _numbers(header, ("TransformMatrix", "Rotation", "Orientation"), 9)
    spacing, origin = _numbers(header, ("ElementSpacing",), 3), _numbers(header, ("Offset", "Position", "Origin"), 3)
    return _affine(directions.reshape(3, 3).T * spacing, origin, (-1, -1, 1))


def _numbers(header: Mapping[str, str], keys: Sequence[str], count: int) -> FloatArray:
    text = next((header[key] for key in keys if key in header), None)
    if text is None:
        raise ValueError(f"its header says no {keys[0]}, so where its voxels lie")
    numbers = np.asarray([float(number) for number in text.split()])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"expected {count} numbers in {keys[0]}, got {text!r}")
    return numbers


def _beside(header: Path, name: str) -> Path:
    """The file of the voxels, in the folder of its header."""
    if Path(name).name != name or name in ("", ".", ".."):
        raise ValueError(f"its voxels lie in {name!r}, outside of its folder")
    return header.parent / name
