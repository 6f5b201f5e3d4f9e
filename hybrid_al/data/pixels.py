"""Arrays of numbers as pixels, in the size, channels and type that a network takes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from .base import Pixels

PIXELS_VERSION = "1"
"""Raise it when scaling or resizing gives other pixels than before: the keys of caches of images contain it."""

Window = tuple[float, float]
"""The values that become 0 and 1."""

_LUMA = np.asarray([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R 601, as Pillow


def to_pixels(array: npt.NDArray[Any], window: Window | None = None) -> Pixels:
    """Pixels (H, W, C) of an array (H, W), (H, W, 1) or (H, W, 3) of any number type.

    With a window, values are mapped from [low, high] to [0, 1] and clipped. Without one, uint8 stays as it is, wider
    unsigned integers are divided by the largest value of their type, and floats must lie in [0, 1] already.
    Raises ValueError where the shape is another or the values cannot be mapped.
    """
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise ValueError(f"expected an image (H, W), (H, W, 1) or (H, W, 3), got shape {array.shape}")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    if window is not None:
        low, high = window
        values = (array.astype(np.float32) - np.float32(low)) / np.float32(high - low)
        return _finite(np.clip(values, 0.0, 1.0))
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "u":
        return (array / np.iinfo(array.dtype).max).astype(np.float32)
    if array.dtype.kind == "f" and array.min() >= 0.0 and array.max() <= 1.0:
        return array.astype(np.float32)
    came = f"{array.dtype} values from {array.min()} to {array.max()}"
    raise ValueError(f"{came} have no fixed range: set data.window: [low, high]")


class Box(NamedTuple):
    """Where a resized image lies in its square."""

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """Its columns."""
        return slice(self.left, self.left + self.width)


def image_box(height: int, width: int, size: int) -> Box:
    """Place of an image of this height and width in a square of `size`: the longer side fills it, beside is padding."""
    scale = size / max(height, width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    return Box((size - h) // 2, (size - w) // 2, h, w)


def resize(pixels: Pixels, size: int) -> Pixels:
    """Pixels (size, size, C): the longer side is resized to `size`, the shorter is padded with zeros on both sides.

    So nothing is cut off, and the aspect ratio stays. Shrinking averages (bilinear with antialiasing).
    Pixels of that size come back as they are.
    """
    height, width, channels = pixels.shape
    if (height, width) == (size, size):
        return pixels
    box = image_box(height, width, size)
    out: npt.NDArray[Any] = np.zeros((size, size, channels), dtype=pixels.dtype)
    for c in range(channels):
        plane = Image.fromarray(np.ascontiguousarray(pixels[:, :, c]))
        out[box.rows, box.columns, c] = np.asarray(plane.resize((box.width, box.height), Image.Resampling.BILINEAR))
    return out if out.dtype == np.uint8 else np.clip(out, 0.0, 1.0)


def to_channels(pixels: Pixels, channels: int) -> Pixels:
    """Pixels (H, W, channels): grey is repeated to colour, colour weighted to grey (ITU-R 601 luma)."""
    if channels not in (1, 3):
        raise ValueError(f"expected 1 or 3 channels, got {channels}")
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        colour: npt.NDArray[Any] = np.repeat(pixels, 3, axis=2)
        return colour
    grey = (pixels.astype(np.float32) @ _LUMA)[:, :, None]
    return np.rint(grey).astype(np.uint8) if pixels.dtype == np.uint8 else grey.astype(np.float32)


def to_uint8(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """Pixels as uint8; float pixels in [0, 1] are rounded to the nearest of 256 levels."""
    values = pixels if pixels.dtype == np.uint8 else np.rint(pixels * np.float32(255))
    return values.astype(np.uint8, copy=False)


def _finite(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise ValueError("the image has values that are not finite")
    return values
