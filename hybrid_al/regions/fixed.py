"""How images are taken apart for queries: windows, superpixels, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ..core.registry import Count, Positive, hyperparameters
from ..core.types import BoolArray, IntArray
from .base import MOST_PARTS


class Unit(Protocol):
    """How images are taken apart: a frozen dataclass of its settings."""

    def parts(self, pixels: npt.NDArray[np.uint8], shown: BoolArray) -> IntArray:
        """Numbers from 0 of the part that each pixel (H, W) of an image (H, W, C) belongs to; `shown` is no padding."""
        ...


@dataclass(frozen=True)
class Image:
    """The whole image, or the slice of a volume."""

    def parts(self, pixels: npt.NDArray[np.uint8], shown: BoolArray) -> IntArray:
        """See `Unit.parts`."""
        return np.zeros(shown.shape, dtype=np.int64)


@dataclass(frozen=True)
@hyperparameters
class Windows:
    """Squares of `side` pixels of the network's size, from the upper left; what is left at the far edges is smaller."""

    side: Count = 16

    def parts(self, pixels: npt.NDArray[np.uint8], shown: BoolArray) -> IntArray:
        """See `Unit.parts`."""
        height, width = shown.shape
        row, column = np.arange(height) // self.side, np.arange(width) // self.side
        found: IntArray = row[:, None] * (int(column[-1]) + 1) + column
        return found


@dataclass(frozen=True)
@hyperparameters
class Superpixels:
    """SLIC (Achanta et al., TPAMI 2012) by scikit-image, in CIELAB: about `count` pieces of like colour an image.

    compactness  weight of nearness against colour (scikit-image's: 10)
    """

    count: Annotated[int, Field(ge=1, le=MOST_PARTS)] = 16
    compactness: Positive = 10.0

    def parts(self, pixels: npt.NDArray[np.uint8], shown: BoolArray) -> IntArray:
        """See `Unit.parts`; of the picture without its padding."""
        from skimage.segmentation import slic

        rows, columns = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        colours = np.repeat(pixels[box], 3 // pixels.shape[2], axis=2)
        found = np.zeros(shown.shape, dtype=np.int64)
        found[box] = slic(colours, self.count, self.compactness, start_label=0, channel_axis=-1)
        return found


UNITS: dict[str, type[Unit]] = {"image": Image, "windows": Windows, "superpixels": Superpixels}
