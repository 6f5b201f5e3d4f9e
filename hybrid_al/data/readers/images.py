"""Decode one image file to pixels, and bring pixels to the size, channels and type that a network takes."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ...errors import InputError
from ..base import Pixels

READER_VERSION = "1"
"""Raise it when decoding or resizing gives other pixels than before: caches of decoded images hang on it."""

MAX_PIXELS = 100_000_000
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".pgm", ".ppm", ".jp2"})
Window = tuple[float, float]

_GREY = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_PLAIN = _GREY - {"1", "LA", "La"} | {"RGB"}
_SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that change height for width
_LUMA = np.asarray([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R 601, as Pillow


def check_window(window: Window | None) -> None:
    """Refuse a window that is not [low, high]."""
    if window is not None and not (len(window) == 2 and np.isfinite(window).all() and window[0] < window[1]):
        raise InputError("data.window", "two numbers [low, high], low below high", str(list(window)))


def decode(file: Path | BinaryIO, *, window: Window | None = None, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Pixels (H, W, C) of one image file, upright by its EXIF orientation.

    Grey stays one channel; palette, CMYK and the like become RGB; alpha is dropped. Files of 8 bits give uint8, files
    of more give float32 in [0, 1]; see `to_pixels`. (Pillow reads 16-bit colour as 8-bit colour.)
    A file of several frames is refused: its first frame is seldom what is meant.

    Raises OSError or ValueError with the reason: missing, truncated, damaged, no image, or larger than `max_pixels`,
    which is seen in the header, before anything is decoded.
    """
    with opened(file, max_pixels) as image:
        netpbm = image.format == "PPM"
        upright = ImageOps.exif_transpose(image)
        array = np.asarray(_plain(upright))
    if netpbm and array.dtype == np.int32:  # Pillow scales deep PGM to 0..65535 and hands it out as int32
        array = array.astype(np.uint16)
    return to_pixels(array, window)


def probe(file: Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int, int]:
    """Height, width and channels (1 or 3) that the header claims, upright, without decoding; raises as `decode`."""
    with opened(file, max_pixels) as image:
        # a PNG may say so behind its pixels: too late for a look at the header
        turned = image.format != "PNG" and image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
        height, width = (image.width, image.height) if turned else (image.height, image.width)
        return height, width, 1 if image.mode in _GREY else 3


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
        scaled = (array.astype(np.float32) - np.float32(low)) / np.float32(high - low)
        return _finite(np.clip(scaled, 0.0, 1.0))
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


def fitted(height: int, width: int, size: int) -> Box:
    """Where an image of this height and width lies in a square of `size`: the longer side fits, the rest is padding."""
    scale = size / max(height, width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    return Box((size - h) // 2, (size - w) // 2, h, w)


def resize(pixels: Pixels, size: int) -> Pixels:
    """Pixels (size, size, C): the longer side is fitted, the rest is padded with zeros on both sides alike.

    So nothing is cut away and nothing is squashed. Shrinking averages (bilinear with antialiasing).
    Pixels that have the size already come back as they are.
    """
    height, width, channels = pixels.shape
    if (height, width) == (size, size):
        return pixels
    box = fitted(height, width, size)
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


@contextmanager
def opened(file: Path | BinaryIO, max_pixels: int) -> Iterator[Image.Image]:
    """An image file whose header was checked; what Pillow's parsers leak comes out as a ValueError with the reason."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is checked below
            warnings.simplefilter("ignore", UserWarning)  # damaged metadata: damaged pixels raise
            with Image.open(file) as image:
                if image.width * image.height > max_pixels:
                    raise ValueError(f"{image.width} x {image.height} is more than the limit of {max_pixels} pixels")
                frames = getattr(image, "n_frames", 1)
                if frames > 1 and image.format != "MPO":  # the further frames of a camera's MPO are its previews
                    raise ValueError(f"expected one image, got {frames} frames or pages")
                yield image
    except UnidentifiedImageError as error:
        raise ValueError("no image, or of a format that Pillow cannot read") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"more than the limit of {max_pixels} pixels") from error
    except (SyntaxError, EOFError, KeyError, IndexError, TypeError, OverflowError, struct.error, zlib.error) as error:
        raise ValueError(f"damaged image ({type(error).__name__}: {error})") from error  # Pillow's parsers leak these


def _plain(image: Image.Image) -> Image.Image:
    """The image in a mode whose array is grey or RGB."""
    if image.mode in _PLAIN:
        return image
    if image.mode in _GREY:
        return image.convert("L")
    if "transparency" in image.info:  # a palette with alpha goes to RGB by way of RGBA
        image = image.convert("RGBA")
    return image.convert("RGB")


def _finite(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise ValueError("the image has values that are not finite")
    return values
