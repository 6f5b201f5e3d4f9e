"""Reader of NPY files: one image, or one volume whose planes are its first axis."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.limits import check_size
from ...errors import parsing
from ..base import Pixels
from ..pixels import Window, span_of, to_pixels
from .base import Header, plane_of


@dataclass(frozen=True)
class Npy:
    """NPY files (.npy) of any type of numbers: (H, W), (H, W, 1) or (H, W, 3), an image; or (Z, H, W), its slices.

    window  [low, high] of the values that become 0 and 1; without it, see `to_pixels`
    """

    window: Window | None = None

    SUFFIXES: ClassVar[tuple[str, ...]] = (".npy",)
    VERSION: ClassVar[str] = "1"

    @staticmethod
    def claims(head: bytes) -> bool:
        """By the first bytes."""
        return head.startswith(b"\x93NUMPY")

    def probe(self, file: Path) -> Header:
        """Shape of the planes, by the header."""
        planes = _planes(file)
        channels = planes.shape[3] if planes.ndim == 4 else 1
        span = span_of(planes.dtype, self.window)
        height, width = planes.shape[1:3]
        count = len(planes) if len(planes) > 1 else None
        return Header(height, width, channels, planes=count, span=span)

    def decode(self, file: Path, plane: int = 0) -> Pixels:
        """A plane as pixels (H, W, C)."""
        planes = _planes(file)
        return to_pixels(np.array(planes[plane_of(len(planes), plane)]), self.window)

    def values(self, file: Path, plane: int = 0) -> npt.NDArray[Any]:
        """The whole numbers (H, W) of a plane; ValueError where it has colours or fractions."""
        planes = _planes(file)
        values = np.array(planes[plane_of(len(planes), plane)])
        values = values[:, :, 0] if values.ndim == 3 and values.shape[2] == 1 else values
        if values.ndim != 2 or values.dtype.kind not in "iub":
            raise ValueError(f"expected whole numbers of one channel, got {values.dtype} of shape {values.shape}")
        return values


def _planes(file: Path) -> npt.NDArray[Any]:
    """The planes (Z, H, W) or (1, H, W, C) of a file, not read yet; pickled objects are never unpacked."""
    with file.open("rb") as stream:
        if not Npy.claims(stream.read(6)):
            raise ValueError("no NPY file")
    with parsing("damaged NPY file"):
        array: npt.NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    colours = array.ndim == 3 and array.shape[2] in (1, 3)
    planes = array[None] if array.ndim == 2 or colours else array
    if planes.ndim != 3 + colours or 0 in planes.shape or planes.dtype.kind not in "buif":
        came = f"{array.shape} of {array.dtype}"
        raise ValueError(f"expected an image (H, W) or (H, W, 1 or 3), or slices (Z, H, W), got {came}")
    check_size(planes.shape[1], planes.shape[2], len(planes))
    return planes
