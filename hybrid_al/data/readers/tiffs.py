"""Reader of TIFF files of any depth, whose planes are pages; of OME-TIFF the pages of the one file."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.limits import check_size
from ...errors import parsing
from ..base import Pixels
from ..pixels import Window, to_pixels
from .base import Header, check_palette, one_channel, plane_of

MAX_PAGES = 100_000
STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MINISWHITE, MINISBLACK, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
LOSSY = frozenset({6, 7, 33003, 33004, 33005, 34712, 34892, 50001, 50002})
"""Compressions (old and new JPEG, JPEG 2000, WebP, JPEG XL) that may change the values of a mask."""
ALPHA = (1, 2)  # extra samples that say how much is seen


@dataclass(frozen=True)
class Tiffs:
    """TIFF files (.tif, .tiff) of 1 to 64 bits, compressed or not; each page of several is a slice.

    window  [low, high] of the values that become 0 and 1; without it 1 to 8 bits become uint8, 9 to 16 and 32 bits are
            divided by the largest number of their bits, see `to_pixels`

    Pages are upright by their orientation; white-is-zero is inverted, palettes and CMYK become RGB, alpha is dropped.
    """

    window: Window | None = None

    SUFFIXES: ClassVar[tuple[str, ...]] = (".tif", ".tiff")
    VERSION: ClassVar[str] = "1"

    @staticmethod
    def claims(head: bytes) -> bool:
        """By the first bytes of TIFF and BigTIFF."""
        return head.startswith(STARTS)

    def probe(self, file: Path) -> Header:
        """Shape of the pages, which must be alike; ValueError for a pyramid, and for colours that are not read."""
        with _pages(file) as pages:
            page = pages[0]
            orientation = _orientation(page)
            height, width = page.imagelength, page.imagewidth
            if orientation > 4:
                height, width = width, height
            top = _top(page)
            return Header(
                height=height,
                width=width,
                channels=1 if page.photometric in (MINISWHITE, MINISBLACK) else 3,
                planes=len(pages) if len(pages) > 1 else None,
                orientation=orientation,
                span=self.window or ((0.0, float(top)) if top > 255 else (0.0, 1.0) if page.dtype.kind == "f" else ()),
            )

    def decode(self, file: Path, plane: int = 0) -> Pixels:
        """A page as pixels (H, W, C)."""
        with _pages(file) as pages:
            page = pages[plane_of(len(pages), plane)]
            array, top = _array(page), _top(page)
            if page.photometric == PALETTE:
                array, top = _palette(page)[array], 65535
                if self.window is None:
                    return to_pixels((array >> 8).astype(np.uint8))
            if page.photometric == MINISWHITE:
                array = ~array if array.dtype == np.bool_ else (top - array).astype(array.dtype)
            if page.photometric == CMYK:
                array, top = _rgb_of_cmyk(array, top), 255
            if self.window is not None or array.dtype == np.bool_ or top in (0, 255):
                return to_pixels(array.copy(), self.window)
            if top < 255:
                return to_pixels(array * np.uint8(255 // top))
            is_whole = array.dtype == np.uint16 and top == 65535
            return to_pixels(array) if is_whole else to_pixels(array, (0.0, float(top)))

    def values(self, file: Path, plane: int = 0) -> npt.NDArray[Any]:
        """The numbers (H, W) of a page of a mask; of a palette the numbers, not the colours."""
        with _pages(file) as pages:
            page = pages[plane_of(len(pages), plane)]
            if int(page.compression) in LOSSY:
                raise ValueError(f"{page.compression.name} may change the values of a mask: save it without")
            if page.photometric not in (MINISBLACK, RGB, PALETTE):
                raise ValueError(
                    f"expected a mask of one channel whose values are classes, got {page.photometric.name}"
                )
            array = _array(page)
            if page.photometric == PALETTE:
                check_palette(array, (_palette(page) >> 8).astype(np.uint8))
            return one_channel(array, page.photometric.name) if array.ndim == 3 else array


@contextmanager
def _pages(file: Path) -> Iterator[list[Any]]:
    """The pages of an open file, checked; what damaged files raise becomes a ValueError of one line."""
    import tifffile

    if (log := logging.getLogger("tifffile")).level != logging.CRITICAL:  # to set it empties the caches of all loggers
        log.setLevel(logging.CRITICAL)
    with parsing("damaged TIFF"), file.open("rb") as stream:
        _check_chain(stream)
        stream.seek(0)
        with tifffile.TiffFile(stream) as tiff:
            pages = list(tiff.pages)
            _check(pages, tiff.filehandle.size)
            if tiff.is_imagej and int((tiff.imagej_metadata or {}).get("images", 1)) > len(pages):
                raise ValueError("an ImageJ file of more than 4 GB, whose images have no pages: save it as OME-TIFF")
            yield pages


def _check_chain(stream: BinaryIO) -> None:
    """ValueError where the chain of pages is broken: tifffile would read those before the break, without a word."""
    head = stream.read(16)
    if not Tiffs.claims(head):
        raise ValueError("no TIFF file")
    order, big = "<" if head[:2] == b"II" else ">", b"+" in head[2:4]
    counter, entry, pointer = ("Q", 20, "Q") if big else ("H", 12, "I")
    offsets = set[int]()
    (offset,) = struct.unpack(order + pointer, head[8:16] if big else head[4:8])
    while offset:
        if offset in offsets or len(offsets) > MAX_PAGES:
            raise ValueError("its pages run in a circle, or are too many")
        offsets.add(offset)
        stream.seek(offset)
        (tags,) = struct.unpack(order + counter, stream.read(struct.calcsize("=" + counter)))
        stream.seek(tags * entry, 1)
        (offset,) = struct.unpack(order + pointer, stream.read(struct.calcsize("=" + pointer)))


def _check(pages: list[Any], size: int) -> None:
    """ValueError for pages that are not alike, too large, cut short, or of a kind that is not read."""
    if not pages:
        raise ValueError("a TIFF file without pages")
    first = pages[0]
    kinds = {(page.shape, page.dtype, page.photometric, _orientation(page)) for page in pages}
    if len(kinds) > 1:
        sizes = ", ".join(f"{page.imagelength} x {page.imagewidth}" for page in pages[:3])
        came = f"{len(pages)} pages that are not alike ({sizes}): a pyramid, or images of several kinds"
        raise ValueError(f"{came}; data.source: slides would read the tiles of a slide")
    if first.dtype is None or first.dtype.kind not in "buif" or first.imagedepth > 1:
        raise ValueError(f"a TIFF of {first.dtype or 'an unknown kind'}: save it as grey or RGB")
    try:
        check_size(first.imagelength, first.imagewidth, len(pages))
    except ValueError as error:
        raise ValueError(f"{error}; data.source: slides would read the tiles of a slide") from None
    _check_colours(first)
    for page in pages:
        if not page.dataoffsets or any(
            count == 0 or offset + count > size
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        ):
            raise ValueError("cut short: parts of its pixels are missing")


def _check_colours(page: Any) -> None:
    counts = {MINISWHITE: 1, MINISBLACK: 1, PALETTE: 1, RGB: 3, CMYK: 4, YCBCR: 3}
    expected, name = counts.get(page.photometric, 0), getattr(page.photometric, "name", page.photometric)
    extra = page.samplesperpixel - expected
    if (
        not expected
        or extra not in (0, 1)
        or (extra == 1 and (not page.extrasamples or page.extrasamples[0] not in ALPHA))
    ):
        raise ValueError(f"{page.samplesperpixel} channels of {name}: save it as grey or RGB, a page a channel")
    if page.photometric == YCBCR and int(page.compression) not in LOSSY:
        raise ValueError("YCbCr that is not packed as JPEG: save it as RGB")
    if page.photometric == PALETTE and page.colormap is None:
        raise ValueError("a palette image without a palette")
    if page.photometric in (MINISWHITE, CMYK) and page.dtype.kind not in "bu":
        raise ValueError(f"{name} of {page.dtype}: save it as grey or RGB")


def _array(page: Any) -> npt.NDArray[Any]:
    """The numbers (H, W) or (H, W, C) of a page, upright, without alpha."""
    array = np.asarray(page.asarray())
    if page.samplesperpixel > 1 and page.axes.startswith("S"):
        array = np.moveaxis(array, 0, -1)
    count = {RGB: 3, YCBCR: 3, CMYK: 4}.get(page.photometric, 1)
    if array.ndim == 3:
        array = array[:, :, :count] if count > 1 else array[:, :, 0]
    return _upright(array, _orientation(page))


def _upright(array: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    if orientation > 4:
        array = np.swapaxes(array, 0, 1)
    down = orientation in (3, 4, 7, 8)
    mirrored = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(array[:: -1 if down else 1, :: -1 if mirrored else 1])


def _orientation(page: Any) -> int:
    tag = page.tags.get(274)
    return int(tag.value) if tag is not None and tag.value in range(1, 9) else 0


def _top(page: Any) -> int:
    """The largest number of the bits that a page has; 0 for numbers that have none."""
    return 2**page.bitspersample - 1 if page.dtype.kind in "bu" else 0


def _palette(page: Any) -> npt.NDArray[np.uint16]:
    """Colours (K, 3) of 16 bits; those of old programs, which wrote 8 bits, are scaled."""
    colours = np.asarray(page.colormap, dtype=np.uint16).T
    return colours * np.uint16(257) if colours.max(initial=0) < 256 else colours


def _rgb_of_cmyk(array: npt.NDArray[Any], top: int) -> npt.NDArray[np.uint8]:
    inks = 1 - array.astype(np.float64) / top
    return np.rint(255 * inks[:, :, :3] * inks[:, :, 3:]).astype(np.uint8)
