"""The protocol of a reader: it reads the header of a file, and decodes one image, slice or row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from ..base import Pixels

MOST_STACK = 99


@dataclass(frozen=True)
class Header:
    """Shape and place of the image or the planes in a file.

    height, width  in the image's own pixels, upright, as decoded
    channels of the decoded pixels: 1 or 3, or the slices of a stack
    planes   number of slices or rows in the file, each a sample; None: the file is one image
    stack    slices in the channels, 1 where the channels are grey or colours
    spacing  millimetres from slice to slice, row to row and column to column; nan where unknown
    affine   of a volume, row after row (16,): from slice, row and column to its place in millimetres; empty without one
    orientation  EXIF orientation that the file says, 1 to 8, by which it was turned; 0 where it says none
    span     the values in the file that 0 and 1 of float pixels stand for; empty where they differ, or are uint8
    placed   whether it says how its axes lie, where it is a volume
    """

    height: int
    width: int
    channels: int
    planes: int | None = None
    stack: int = 1
    spacing: tuple[float, ...] = (math.nan,) * 3
    affine: tuple[float, ...] = ()
    orientation: int = 0
    span: tuple[float, ...] = ()
    placed: bool = True


class Reader(Protocol):
    """A frozen dataclass of settings that decodes the files of one kind; `READERS[name]` in `__init__.py`.

    SUFFIXES  of its files, in lower case, with the dot
    VERSION   raise it when decoding gives other pixels or values than before: the keys of caches contain it

    All methods but `claims` raise OSError or ValueError with the reason, on one line, where the file is missing,
    truncated, damaged or of another kind.
    """

    SUFFIXES: ClassVar[tuple[str, ...]]
    VERSION: ClassVar[str]

    @staticmethod
    def claims(head: bytes) -> bool:
        """Whether a file with these first bytes is of this reader's kind."""
        ...

    def probe(self, file: Path) -> Header:
        """The header of a file; the pixels of an image are not decoded."""
        ...

    def decode(self, file: Path, plane: int = 0) -> Pixels:
        """The pixels (H, W, C) of one image, slice or row, in the shape that `probe` gives."""
        ...

    def values(self, file: Path, plane: int = 0) -> npt.NDArray[Any]:
        """The whole numbers (H, W) of one plane of a mask."""
        ...


class Stamp(NamedTuple):
    """Path, size and times of a file: the key under which decoded data is cached for the next plane."""

    file: Path
    size: int
    mtime: int
    ctime: int

    @classmethod
    def of(cls, file: Path) -> Stamp:
        """The stamp of a file; OSError where there is none."""
        stat = file.stat()
        return cls(file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def plane_of(planes: int, plane: int) -> int:
    """The number of a plane; ValueError where a file of `planes` planes has no such plane."""
    if not 0 <= plane < planes:
        raise ValueError(f"expected a plane from 0 to {planes - 1}, got {plane}")
    return plane


def check_stack(stack: int) -> None:
    """InputError for a number of slices without a middle."""
    if not 1 <= stack <= MOST_STACK or stack % 2 == 0:
        expected = f"an odd number of slices, {MOST_STACK} at most, as many before one as behind it"
        raise InputError("data.stack", expected, str(stack))


def one_channel(array: npt.NDArray[Any], mode: str) -> npt.NDArray[Any]:
    """The one channel (H, W) that the channels (H, W, C) of a mask repeat; ValueError where they say more."""
    if mode.endswith("A"):
        if (array[:, :, -1] != 255).any():
            raise ValueError(f"expected a mask of one channel, got mode {mode} with transparent pixels")
        array = array[:, :, :-1]
    coloured = (array != array[:, :, :1]).any(axis=2)
    if coloured.any():
        seen = f"colours in mode {mode}, as {tuple(array[coloured][0].tolist())}"
        raise ValueError(f"expected a mask of one channel, whose values data.mask_values may name, got {seen}")
    return array[:, :, 0]


def check_palette(array: npt.NDArray[Any], palette: npt.NDArray[np.uint8]) -> None:
    """ValueError where a palette draws numbers as greys the other way round, as programs do that keep black and white.

    array (H, W) of numbers; palette (K, 3)
    """
    numbers = np.unique(array)
    colours = palette[numbers[numbers < len(palette)]].astype(np.int64)
    if (colours == colours[:, :1]).all() and (np.diff(colours[:, 0]) < 0).any():
        drawn = ", ".join(
            f"{n} as grey {c}" for n, c in zip(numbers[:5].tolist(), colours[:5, 0].tolist(), strict=False)
        )
        raise ValueError(f"its palette draws the numbers in another order than they have ({drawn}): save it as greys")
