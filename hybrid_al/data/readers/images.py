"""Reader of the image files of Pillow: PNG, JPEG and the like, one image a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from ...core.limits import check_size, limits
from ...errors import parsing
from ..base import Pixels
from ..pixels import Window, to_pixels
from ..workers import quiet
from .base import Header, check_palette, one_channel, plane_of

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".jp2")
STARTS = re.compile(  # PNG, JPEG, GIF, BMP, Netpbm, WebP, JPEG 2000
    rb"\x89PNG|\xff\xd8\xff|GIF8|BM....\0\0|P[1-6]\s|RIFF....WEBP|\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    re.DOTALL,
)

FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "PPM", "WEBP", "JPEG2000")
"""The parsers of Pillow that may look at a file; others start programs (PostScript) or are for no image."""
LOSSY = frozenset({"JPEG", "MPO", "WEBP", "JPEG2000"})
"""Formats that may change the values of a mask when it is saved."""

_GREY = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_PLAIN = _GREY - {"1", "LA", "La"} | {"RGB"}
_NUMBERS = _PLAIN - {"RGB"} | {"1", "P"}  # modes whose values may be classes
SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that change height for width
_TEXTS = (b"Raw profile type", b"XML:com.adobe.xmp")  # keywords of PNG texts that may say an orientation
_LEAST_LEVELS = 16  # of the 256 that are read of 16-bit colour


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
        """See `header`."""
        return header(file, window=self.window)

    def decode(self, file: Path, plane: int = 0) -> Pixels:
        """See `decode`."""
        plane_of(1, plane)
        return decode(file, window=self.window)

    def values(self, file: Path, plane: int = 0) -> npt.NDArray[Any]:
        """See `read_values`."""
        plane_of(1, plane)
        return read_values(file)


def decode(file: Path | BinaryIO, *, window: Window | None = None) -> Pixels:
    """Pixels (H, W, C) of one image file, upright by its EXIF orientation.

    Grey stays one channel; palette, CMYK and the like become RGB; alpha is dropped. Files of 8 bits give uint8, files
    of more give float32 in [0, 1]; see `to_pixels`. Pillow reads the upper 8 of 16 bits a colour: where these hold next
    to nothing, or a window says what 16 bits mean, that is an error.
    A file of several frames is an error: its first frame is rarely the image.

    Raises OSError or ValueError with the reason: missing, truncated, damaged, no image, or larger than the limit by
    its header, before anything is decoded.
    """
    with open_image(file) as image:
        netpbm, halved = image.format == "PPM", _halved(image)
        array = np.asarray(_plain(_upright(image)))
    if netpbm and array.dtype == np.int32:  # Pillow scales deep PGM to 0..65535 and hands it out as int32
        array = array.astype(np.uint16)
    if halved and (window is not None or 0 < np.ptp(array) < _LEAST_LEVELS):
        raise ValueError("16 bits a colour, of which 8 can be read: save it with 8 bits a colour, or as grey")
    return to_pixels(array, window)


def read_values(file: Path | BinaryIO) -> npt.NDArray[Any]:
    """The numbers (H, W) of a mask file, upright as its image; of a palette image the numbers, not the colours.

    Colours that are all grey count as their grey, and alpha that hides nothing is dropped. Raises OSError or ValueError
    with the reason, as `decode` does, and for formats that may have changed the values (`LOSSY`).
    """
    with open_image(file) as image:
        if image.format in LOSSY or image.info.get("compression") == "jpeg":
            raise ValueError(f"{image.format} may change the values of a mask when it is saved: save it as PNG")
        if image.mode not in _NUMBERS and image.mode not in ("LA", "RGB", "RGBA"):
            raise ValueError(f"expected a mask of one channel whose values are classes, got mode {image.mode}")
        halved, mode, palette = _halved(image), image.mode, image.getpalette("RGB")
        array = np.asarray(_upright(image))
    if palette is not None:
        check_palette(array, np.asarray(palette, dtype=np.uint8).reshape(-1, 3))
    if halved:
        raise ValueError("expected a mask of one channel, got colours of 16 bits, of which 8 can be read")
    return one_channel(array, mode) if array.ndim == 3 else array


def probe(file: Path | BinaryIO) -> tuple[int, int, int]:
    """Height, width and channels of `header`."""
    found = header(file)
    return found.height, found.width, found.channels


def header(file: Path | BinaryIO, *, window: Window | None = None) -> Header:
    """Size, channels (1 or 3) and orientation that the header claims, upright, not decoded; raises as `decode`."""
    with open_image(file) as image:
        orientation = _orientation(image)
        turned = orientation in SIDEWAYS and image.format != "TIFF"  # a TIFF has been turned on opening
        height, width = (image.width, image.height) if turned else (image.height, image.width)
        channels = 1 if image.mode in _GREY else 3
        top = 65535.0 if image.mode.startswith("I") else 1.0 if image.mode == "F" else 0.0
        span = window or ((0.0, top) if top else ())
        return Header(height, width, channels, orientation=orientation, span=span)


def _upright(image: Image.Image) -> Image.Image:
    """The decoded image, turned and mirrored as its EXIF orientation says."""
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of a file, 1 to 8, or 0 where it says none; the pixels are decoded only where it must be."""
    if isinstance(image, ImageFile.ImageFile) and image.format == "PNG" and image.fp and _says_more(image.fp):
        image.load()
    found = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 0)  # that of PNG decodes every image
    return found if isinstance(found, int) and 0 < found < 9 else 0


def _says_more(file: IO[bytes]) -> bool:
    """Whether an open PNG may say its orientation behind its pixels, where reading the header does not reach."""
    place, behind = file.tell(), False
    file.seek(8)
    try:
        while len(start := file.read(8)) == 8 and start[4:] != b"IEND":
            text = start[4:] in (b"iTXt", b"tEXt", b"zTXt") and file.read(20).startswith(_TEXTS)
            if behind and (text or start[4:] == b"eXIf"):
                return True
            behind = behind or start[4:] == b"IDAT"
            here = 20 if start[4:] in (b"iTXt", b"tEXt", b"zTXt") else 0
            file.seek(int.from_bytes(start[:4], "big") + 4 - here, 1)
        return False
    finally:
        file.seek(place)


def _halved(image: Image.Image) -> bool:
    """Whether the file has 16 bits a channel, of which Pillow reads 8; to be asked before anything is decoded."""
    return image.mode in ("LA", "RGB", "RGBA") and any("16" in str(tile.args) for tile in getattr(image, "tile", ()))


@contextmanager
def open_image(file: Path | BinaryIO) -> Iterator[Image.Image]:
    """An open image file with a valid header; what Pillow raises is a ValueError or OSError with the reason."""
    with parsing("damaged image"), quiet():  # of damaged metadata, as damaged pixels raise; our own limit is below
        if Image.MAX_IMAGE_PIXELS is not None:
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limits().pixels)
        try:
            opened = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError as error:
            raise ValueError("no image, or of a format that Pillow cannot read") from error
        except Image.DecompressionBombError as error:
            count = re.search(r"\d+", str(error))
            came = f"{count[0]} pixels are " if count else ""
            raise ValueError(f"{came}more than the limit of {limits().pixels} pixels (data.max_pixels)") from error
        with opened as image:
            check_size(image.height, image.width)
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # the further frames of a camera's MPO are its previews
                raise ValueError(f"expected one image, got {frames} frames or pages")
            yield image


def _plain(image: Image.Image) -> Image.Image:
    """The image in a mode whose array is grey or RGB."""
    if image.mode in _PLAIN:
        return image
    if image.mode in _GREY:
        return image.convert("L")
    if "transparency" in image.info:  # a palette with alpha goes to RGB by way of RGBA
        image = image.convert("RGBA")
    return image.convert("RGB")
