"""Fixed parts of images: windows, superpixels, or the whole image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ..core.registry import Count, Positive, hyperparameters
from ..core.types import BoolArray, IntArray
from .base import MOST_PARTS


class Partition(Protocol):
    """A way to divide images into parts: a frozen dataclass of its settings."""

    def parts(self, pixels: npt.NDArray[np.uint8], valid: BoolArray) -> IntArray:
        """Part of each pixel (H, W) of an image (H, W, C), from 0; `valid` (H, W): pixels that are no padding."""
        ...


@dataclass(frozen=True)
class Image:
    """The whole image, or the slice of a volume."""

    def parts(self, pixels: npt.NDArray[np.uint8], valid: BoolArray) -> IntArray:
        """See `Partition.parts`."""
        return np.zeros(valid.shape, dtype=np.int64)


@dataclass(frozen=True)
@hyperparameters
class Windows:
    """Squares of `side` pixels of the network's size, from the upper left; those at the far edges may be smaller."""

    side: Count = 16

    def parts(self, pixels: npt.NDArray[np.uint8], valid: BoolArray) -> IntArray:
        """See `Partition.parts`."""
        height, width = valid.shape
        row, column = np.arange(height) // self.side, np.arange(width) // self.side
        numbers: IntArray = row[:, None] * (int(column[-1]) + 1) + column
        return numbers


@dataclass(frozen=True)
@hyperparameters
class Superpixels:
    """SLIC (Achanta et al., TPAMI 2012) by scikit-image, in CIELAB: about `count` parts of even colour an image.

    compactness  weight of distance against colour (10 in scikit-image)
    """

    count: Annotated[int, Field(ge=1, le=MOST_PARTS)] = 16
    compactness: Positive = 10.0

    def parts(self, pixels: npt.NDArray[np.uint8], valid: BoolArray) -> IntArray:
        """See `Partition.parts`; SLIC sees the picture without its padding."""
        from skimage.segmentation import slic

        rows, columns = (np.flatnonzero(valid.any(axis=axis)) for axis in (1, 0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        colours = np.repeat(pixels[box], 3 // pixels.shape[2], axis=2)
        numbers = np.zeros(valid.shape, dtype=np.int64)
        numbers[box] = slic(colours, self.count, self.compactness, start_label=0, channel_axis=-1)
        return numbers


PARTITIONS: dict[str, type[Partition]] = {"image": Image, "windows": Windows, "superpixels": Superpixels}
