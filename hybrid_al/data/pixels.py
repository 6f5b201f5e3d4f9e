"""Arrays of numbers as pixels, in the size, channels and type that a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BeforeValidator

from ..core.types import IntArray
from ..errors import UnknownName
from .base import Pixels

PIXELS_VERSION = "1"
"""Raise it when scaling or resizing gives other pixels than before: the keys of caches of images contain it."""

WINDOWS: dict[str, tuple[float, float]] = {  # width and level of radiopaedia.org/articles/windowing-ct
    "lung": (-1350.0, 150.0),
    "bone": (-500.0, 1300.0),
    "brain": (0.0, 80.0),
    "soft_tissue": (-150.0, 250.0),
    "mediastinum": (-125.0, 225.0),
}
"""Windows of CT by name, in HU."""


def window_named(window: object) -> object:
    """The window of a name; any other value as it is."""
    if isinstance(window, str) and window not in WINDOWS:
        raise UnknownName("data.window", window, WINDOWS)
    return WINDOWS[window] if isinstance(window, str) else window


Window = Annotated[tuple[float, float], BeforeValidator(window_named)]
"""The values that become 0 and 1; in a recipe also a name of `WINDOWS`."""

RAW: Window = (-np.inf, np.inf)
"""In the place of a window: the numbers as they are, as float32."""

_LUMA = np.asarray([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R 601, as Pillow


def to_pixels(array: npt.NDArray[Any], window: Window | None = None) -> Pixels:
    """Pixels (H, W, C) of an array (H, W), (H, W, 1) or (H, W, 3) of any number type.

    With a window, values are mapped from [low, high] to [0, 1] and clipped (`RAW`: not at all). Without one, uint8
    stays as it is, wider unsigned integers are divided by the largest value of their type, and floats must lie in
    [0, 1] already.
    Raises ValueError where the shape is another or the values cannot be mapped.
    """
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise ValueError(f"expected an image (H, W), (H, W, 1) or (H, W, 3), got shape {array.shape}")
    if array.dtype.kind not in "buif":
        raise ValueError(f"expected an image of numbers, got {array.dtype}")
    if array.dtype.kind == "f" and (count := int((~np.isfinite(array)).sum())):
        raise ValueError(f"{count} of {array.size} pixels are not finite numbers (NaN or infinite)")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    if window is not None:
        values = array.astype(np.float32)
        return windowed(values, window, out=values)
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:  # the same float32 as by way of float64, in a quarter of the time
        scaled: npt.NDArray[np.float32] = np.divide(array, np.float32(65535), dtype=np.float32)
        return scaled
    if array.dtype.kind == "u":
        return (array / np.iinfo(array.dtype).max).astype(np.float32)
    if array.dtype.kind == "f" and array.min() >= 0.0 and array.max() <= 1.0:
        return array.astype(np.float32)
    came = f"{array.dtype} values from {array.min()} to {array.max()}"
    raise ValueError(f"{came} have no fixed range: set data.window: [low, high]")


def windowed(
    values: npt.NDArray[np.float32], window: Window, out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Values mapped from a window to [0, 1], and clipped, also in their own place (`out`); as they are with `RAW`."""
    if window == RAW:
        return values
    low, high = window
    scaled: npt.NDArray[np.float32]
    scaled = out if out is not None and low == 0 else np.subtract(values, np.float32(low), out=out)
    scaled /= np.float32(high - low)
    return np.clip(scaled, 0, 1, out=scaled)


def span_of(dtype: np.dtype[Any], window: Window | None = None) -> tuple[float, ...]:
    """The values that 0 and 1 of the float pixels of `to_pixels` stand for; empty where pixels are uint8."""
    if window is not None or dtype.kind not in "uf" or dtype == np.uint8:
        return window or ()
    return 0.0, float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


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


BINS = 65536  # of the values of float pixels
LEAST, FEW = 1 / 15, 1 / 3  # shares of the range of values
BULK = 0.005  # of the pixels on either side that may be marks or dead pixels


@dataclass
class Levels:
    """Which values the float pixels of a pool use, before they are rounded to 256 grey levels.

    counts  (BINS,) pixels by value in [0, 1]
    """

    counts: IntArray = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    lock: Lock = field(default_factory=Lock, repr=False)

    def add(self, pixels: Pixels) -> None:
        """Count the pixels of an image, in any thread; uint8 is stored as it is, and not counted."""
        if pixels.dtype != np.uint8:
            bins = np.rint(pixels.ravel() * np.float32(BINS - 1)).clip(0, BINS - 1).astype(np.int64)
            counts = np.bincount(bins, minlength=BINS)
            with self.lock:
                self.counts += counts

    def used(self, beyond: float = 0.0) -> tuple[float, float]:
        """Least and largest value in use, without this share of the pixels on either side; (0, 1) of no pixels."""
        total = self.counts.cumsum()
        if not total[-1]:
            return 0.0, 1.0
        low = int(np.searchsorted(total, beyond * total[-1], side="right"))
        high = int(np.searchsorted(total, (1 - beyond) * total[-1], side="left"))
        return low / (BINS - 1), high / (BINS - 1)


def few_levels(used: Window, bulk: Window, span: Sequence[float]) -> tuple[str, str]:
    """(reason to refuse, remark) about images of which 256 grey levels keep too little, "" where there is none.

    used  least and largest of all values; `bulk` of nearly all, see `Levels.used`
    span  the values in the files that 0 and 1 stand for; empty where that is not known
    """
    if 0 < used[1] - used[0] < LEAST:
        return f"values that use {_share(used, span)}", ""
    if 0 < bulk[1] - bulk[0] < FEW:
        return "", f"{1 - 2 * BULK:.0%} of the pixels use {_share(bulk, span)}"
    return "", ""


def _share(used: Window, span: Sequence[float]) -> str:
    share, where, window = used[1] - used[0], "", "one of their values"
    if span:
        low, high = (span[0] + value * (span[1] - span[0]) for value in used)
        edges = [round(low), round(high)] if high - low > 2 else [float(f"{low:.3g}"), float(f"{high:.3g}")]
        where, window = f" {span[0]:g} to {span[1]:g}", str(edges)
    kept = f"{max(2, round(256 * share))} of the 256 grey levels that are kept"
    return f"{100 * share:.2g} % of the range{where}, {kept}: set data.window: {window}"
