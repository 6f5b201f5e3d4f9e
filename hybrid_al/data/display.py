"""An image of a data set as a person looks at it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .base import Dataset
from .pixels import to_channels, to_uint8


def picture(dataset: Dataset, index: int) -> npt.NDArray[np.uint8]:
    """An image for display (H, W, 1 or 3) in its own pixels: of a stack the slice in the middle.

    Raises OSError or ValueError where it cannot be read.
    """
    pixels, middle = dataset.read(index), dataset.stack // 2
    return to_uint8(pixels[:, :, middle : middle + 1] if dataset.stack > 1 else pixels)


def colour_picture(dataset: Dataset, index: int) -> npt.NDArray[np.uint8]:
    """As `picture`, with three channels (H, W, 3): grey is repeated."""
    return to_uint8(to_channels(picture(dataset, index), 3))
