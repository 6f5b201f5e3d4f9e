"""What a reader is: it says what a file holds, and decodes one image, slice or row of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy.typing as npt

from ..base import Pixels


@dataclass(frozen=True)
class Header:
    """What a file holds.

    height   of an image in its own pixels, upright, as it is decoded; so is `width`
    channels that decoding gives: 1 or 3, or the slices of a stack
    planes   how many slices or rows the file has, each a sample of its own; None: the file is one image
    stack    slices that lie in the channels, 1 where these are grey or colours
    spacing  millimetres from slice to slice, row to row and column to column; nan where unknown
    affine   of a volume, row after row (16,): where it lies in space; empty where it lies nowhere
    """

    height: int
    width: int
    channels: int
    planes: int | None = None
    stack: int = 1
    spacing: tuple[float, ...] = (math.nan,) * 3
    affine: tuple[float, ...] = ()


class Reader(Protocol):
    """A frozen dataclass of settings that decodes the files of one kind; `READERS[name]` in `__init__.py`.

    SUFFIXES  of its files, in lower case, with the dot
    VERSION   raise it when decoding gives other pixels or values than before: caches of them hang on it

    All methods but `claims` raise OSError or ValueError with the reason, on one line, where the file is missing,
    truncated, damaged or of another kind.
    """

    SUFFIXES: ClassVar[tuple[str, ...]]
    VERSION: ClassVar[str]

    @staticmethod
    def claims(head: bytes) -> bool:
        """Whether a file with these first bytes is of its kind."""
        ...

    def probe(self, file: Path) -> Header:
        """What the file holds; of an image by its header, without decoding it."""
        ...

    def decode(self, file: Path, plane: int = 0) -> Pixels:
        """The pixels (H, W, C) of one image, slice or row, as `probe` says."""
        ...

    def values(self, file: Path, plane: int = 0) -> npt.NDArray[Any]:
        """The whole numbers (H, W) of one plane of a mask."""
        ...


class Stamp(NamedTuple):
    """A file as it is now, by which what was decoded is kept for the next plane: path, size and times."""

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
    """The number of a plane; ValueError where a file of so many has none of it."""
    if not 0 <= plane < planes:
        raise ValueError(f"expected a plane from 0 to {planes - 1}, got {plane}")
    return plane
