"""Reader of the image files of Pillow: PNG, JPEG, TIFF and the like, one image a file."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ..base import Pixels
from ..pixels import Window, to_pixels
from .base import Header, plane_of

MAX_PIXELS = 100_000_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".pgm", ".ppm", ".jp2")
STARTS = re.compile(  # PNG, JPEG, GIF, TIFF, BigTIFF, BMP, Netpbm, WebP, JPEG 2000
    rb"\x89PNG|\xff\xd8\xff|GIF8|II[*+]\0|MM\0[*+]|BM....\0\0|P[1-6]\s|RIFF....WEBP|\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    re.DOTALL,
)

_GREY = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_PLAIN = _GREY - {"1", "LA", "La"} | {"RGB"}
_NUMBERS = _PLAIN - {"RGB", "F"} | {"1", "P"}  # modes whose values may be classes
_SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that change height for width


@dataclass(frozen=True)
class Images:
    """Image files of one frame, of any kind that Pillow can read.

    window  [low, high] of the values that become 0 and 1; without it, see `to_pixels`
    """

    window: Window | None = None

    SUFFIXES: ClassVar[tuple[str, ...]] = SUFFIXES
    VERSION: ClassVar[str] = "1"

    @staticmethod
    def claims(head: bytes) -> bool:
        """By the first bytes, which tell the kinds of `SUFFIXES`."""
        return STARTS.match(head) is not None

    def probe(self, file: Path) -> Header:
        """See `probe`."""
        return Header(*probe(file))

    def decode(self, file: Path, plane: int = 0) -> Pixels:
        """See `decode`."""
        plane_of(1, plane)
        return decode(file, window=self.window)

    def values(self, file: Path, plane: int = 0) -> npt.NDArray[Any]:
        """See `read_values`."""
        plane_of(1, plane)
        return read_values(file)


def decode(file: Path | BinaryIO, *, window: Window | None = None, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Pixels (H, W, C) of one image file, upright by its EXIF orientation.

    Grey stays one channel; palette, CMYK and the like become RGB; alpha is dropped. Files of 8 bits give uint8, files
    of more give float32 in [0, 1]; see `to_pixels`. (Pillow reads 16-bit colour as 8-bit colour.)
    A file of several frames is an error: its first frame is rarely the image.

    Raises OSError or ValueError with the reason: missing, truncated, damaged, no image, or larger than `max_pixels` by
    its header, before anything is decoded.
    """
    with open_image(file, max_pixels) as image:
        netpbm = image.format == "PPM"
        upright = ImageOps.exif_transpose(image)
        array = np.asarray(_plain(upright))
    if netpbm and array.dtype == np.int32:  # Pillow scales deep PGM to 0..65535 and hands it out as int32
        array = array.astype(np.uint16)
    return to_pixels(array, window)


def read_values(file: Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> npt.NDArray[Any]:
    """The numbers (H, W) of an image of one channel, as a mask; of a palette image the numbers, not the colours.

    Raises OSError or ValueError with the reason, as `decode` does.
    """
    with open_image(file, max_pixels) as image:
        if image.mode not in _NUMBERS:
            raise ValueError(f"expected a mask of one channel whose values are classes, got mode {image.mode}")
        return np.asarray(image)


def probe(file: Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int, int]:
    """Height, width and channels (1 or 3) that the header claims, upright, without decoding; raises as `decode`."""
    with open_image(file, max_pixels) as image:
        # a PNG may have its orientation behind the pixels, where reading the header does not reach
        turned = image.format != "PNG" and image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
        height, width = (image.width, image.height) if turned else (image.height, image.width)
        return height, width, 1 if image.mode in _GREY else 3


@contextmanager
def open_image(file: Path | BinaryIO, max_pixels: int) -> Iterator[Image.Image]:
    """An open image file with a valid header; other errors of Pillow's parsers become a ValueError with the reason."""
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
