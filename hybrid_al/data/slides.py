"""Whole-slide images: their levels and resolution, and regions of them, read without the rest."""

from __future__ import annotations

import atexit
import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..core.limits import limits
from ..errors import HybridALError, InputError, reason
from .readers.base import Stamp
from .workers import quiet

VERSION = "1"
"""Raise it when regions get other pixels than before: the keys of caches contain it."""

BY_OPENSLIDE = (".mrxs", ".vms", ".vmu", ".czi")
VENDORS = (".svs", ".svslide", ".ndpi", ".scn", ".bif", ".qptiff", *BY_OPENSLIDE)
"""Suffixes that only slides have."""
SUFFIXES = (*VENDORS, ".tif", ".tiff", ".btf")
MAX_PIECE = 2**26  # pixels of a tile or strip in a file, which is decoded as a whole
MAX_SIDE = 2**23  # pixels
FINEST, COARSEST = 0.02, 20.0  # microns per pixel that a scanner may have
OPEN = 4  # slides at a time
NEAR = 1.01  # how much coarser a level may be than what is made of it
_COLOURS = (1, 3, 4)
_LOCK = Lock()
_HELD: dict[tuple[Stamp, int], Slide] = {}
T = TypeVar("T")


class _Unfit(ValueError):
    """A slide that is refused, with the reason."""


@dataclass(frozen=True)
class Pyramid:
    """What the header of a slide says.

    levels  width and height of each, the finest first
    mpp     microns per pixel of level 0 from column to column and row to row; empty where the header says none
    library that reads it: tiffslide or openslide
    """

    levels: tuple[tuple[int, int], ...]
    mpp: tuple[float, ...]
    library: str

    def scale(self, level: int) -> tuple[float, float]:
        """Pixels of level 0 in one of a level, across and down."""
        (width, height), (w, h) = self.levels[0], self.levels[level]
        return width / w, height / h


@dataclass(frozen=True)
class Slide:
    """An open slide, and its header."""

    pyramid: Pyramid
    _handle: Any = field(repr=False)

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def region(self, x: int, y: int, level: int, width: int, height: int) -> npt.NDArray[np.uint8]:
        """Colours (height, width, 3) of a level from the pixel (x, y) of level 0 on; ValueError where it is damaged."""
        across, down = self.pyramid.scale(level)
        full_width, full_height = self.pyramid.levels[level]
        x = min(x, int((full_width - width) * across))
        y = min(y, int((full_height - height) * down))
        with _one_line():
            if self.pyramid.library == "openslide":
                return _on_white(np.asarray(self._handle.read_region((x, y), level, (width, height))))
            array = np.asarray(self._handle.read_region((x, y), level, (width, height), as_array=True))
        return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else np.ascontiguousarray(array[:, :, :3])


@contextmanager
def opened(file: Path) -> Iterator[Slide]:
    """A slide for a block; raises as `open_slide`."""
    slide = open_slide(file)
    try:
        yield slide
    finally:
        slide.close()


def open_slide(file: Path) -> Slide:
    """Open a slide: its header is read and checked against the size of the file, no pixels are.

    OSError or ValueError with the reason where it is missing, cut short, damaged or of another kind; InputError where
    the library for it is not installed.
    """
    by_openslide = file.name.lower().endswith(BY_OPENSLIDE)
    with file.open("rb"), _one_line(), quiet():
        handle = _openslide(file) if by_openslide else _tiffslide(file)
        try:
            slide = Slide(_of_openslide(handle) if by_openslide else _of_tiffslide(handle, file.stat().st_size), handle)
            levels = slide.pyramid.levels
            if not levels or min(map(min, levels)) < 1 or max(map(max, levels)) > MAX_SIDE:
                raise _Unfit(f"levels of {', '.join(f'{w} x {h}' for w, h in levels)} pixels")
        except BaseException:
            handle.close()
            raise
        return slide


def read_held(file: Path, read: Callable[[Slide], T]) -> T:
    """What `read` makes of a slide; the last few of a process stay open, and one that changed is opened anew.

    No two threads read by one handle: who finds none that is free opens one.
    """
    key = Stamp.of(file), os.getpid()
    with _LOCK:
        free = _HELD.pop(key, None)
    slide = open_slide(file) if free is None else free
    try:
        return read(slide)
    finally:
        with _LOCK:
            left = [_HELD.pop(key)] if key in _HELD else []
            _HELD[key] = slide
            left += [_HELD.pop(next(iter(_HELD))) for _ in range(len(_HELD) - OPEN)]
        for other in left:
            other.close()


@atexit.register
def close_held() -> None:
    """Close the slides that are open."""
    while _HELD:
        _HELD.popitem()[1].close()


def content_of(file: Path) -> str:
    """Digest of all bytes of a slide, 32 hex digits; of those in the folder beside it too, where it has one."""
    digest = hashlib.sha256()
    for part in (file, *_beside(file)):
        with part.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:32]


def stamp_beside(file: Path) -> str:
    """What shows that the folder of a slide changed, though its file did not; "" without one."""
    return " ".join(str(Stamp.of(part)[1:]) for part in _beside(file))


def is_pyramid(file: Path) -> bool:
    """Whether a TIFF file is a slide: it lies in tiles and has levels, or is too large for an image."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        with _one_line(), tifffile.TiffFile(file) as tiff:
            levels = tiff.series[0].levels
            page: Any = levels[0].pages[0]
            large = page.imagelength * page.imagewidth > limits().pixels
            return bool(page.dtype == np.uint8 and page.is_tiled and (len(levels) > 1 or large))
    except (OSError, ValueError):
        return False


def _beside(file: Path) -> list[Path]:
    folder = file.with_suffix("")
    if not file.name.lower().endswith(BY_OPENSLIDE) or not folder.is_dir():
        return []
    return sorted(part for part in folder.iterdir() if part.is_file())


@contextmanager
def _one_line() -> Iterator[None]:
    """What damaged files raise becomes a ValueError of one line."""
    try:
        yield
    except (HybridALError, MemoryError, _Unfit):
        raise
    except Exception as error:
        raise ValueError(f"no slide, or a damaged one ({reason(error)[:200]})") from error


def _tiffslide(file: Path) -> Any:
    try:
        import tiffslide
    except ImportError as error:
        raise InputError(file, "the package tiffslide (pip install 'hybrid-al[slides]')", "none installed") from error
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return tiffslide.TiffSlide(file)


def _openslide(file: Path) -> Any:
    try:
        import openslide
    except ImportError as error:
        expected = "the packages for its format (pip install 'hybrid-al[openslide]')"
        raise InputError(file, expected, "none installed") from error
    return openslide.OpenSlide(file)


def _of_tiffslide(handle: Any, size: int) -> Pyramid:
    found, tiff = handle.properties, handle.ts_tifffile
    for level in tiff.series[found["tiffslide.series-index"]].levels:
        for page in level.pages:
            _check_page(page, size)
    mpp = (found["tiffslide.mpp-x"], found["tiffslide.mpp-y"])
    return Pyramid(handle.level_dimensions, _resolution(_ome(tiff) if None in mpp else mpp), "tiffslide")


def _of_openslide(handle: Any) -> Pyramid:
    mpp = (handle.properties.get("openslide.mpp-x"), handle.properties.get("openslide.mpp-y"))
    return Pyramid(tuple(handle.level_dimensions), _resolution(mpp), "openslide")


def _check_page(page: Any, size: int) -> None:
    """ValueError for a level that is cut short, of a kind that is not read, or stored in pieces that are too large."""
    if page.dtype != np.uint8 or page.samplesperpixel not in _COLOURS:
        raise _Unfit(f"{page.samplesperpixel} channels of {page.dtype}: save it as grey or RGB of 8 bits")
    width, height = page.tilewidth or page.imagewidth, page.tilelength or min(page.rowsperstrip, page.imagelength)
    if width * height > MAX_PIECE:
        raise _Unfit(f"stored in pieces of {width} x {height} pixels, too large to be read: save it in tiles")
    offsets, counts = np.asarray(page.dataoffsets), np.asarray(page.databytecounts)
    if counts.max(initial=0) > 2 * width * height * page.samplesperpixel + 2**16:
        raise _Unfit("pieces that hold more than their pixels")
    whole = 0 < len(offsets) == len(counts) == math.prod(page.chunked) and counts.any()
    if not whole or (offsets + counts > size).any():
        raise _Unfit("cut short: parts of its pixels are missing")


def _resolution(mpp: tuple[Any, ...]) -> tuple[float, ...]:
    """Microns per pixel, where they can be those of a scanner; tags of 72 dpi are not."""
    try:
        values = tuple(float(value) for value in mpp)
    except (TypeError, ValueError):
        return ()
    return values if all(FINEST <= value <= COARSEST for value in values) else ()


def _ome(tiff: Any) -> tuple[Any, ...]:
    """Microns per pixel in the header of an OME-TIFF."""
    from xml.etree import ElementTree

    if not tiff.ome_metadata:
        return ()
    pixels = ElementTree.fromstring(tiff.ome_metadata).find(".//{*}Pixels")
    units = {"µm": 1.0, "nm": 1e-3, "mm": 1e3}
    if pixels is None:
        return ()
    return tuple(
        float(pixels.get(f"PhysicalSize{axis}", "nan")) * units.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), np.nan)
        for axis in "XY"
    )


def _on_white(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Colours (H, W, 3) of RGBA; where nothing was scanned it is white."""
    seen = array[:, :, 3:].astype(np.uint16)
    return np.asarray((array[:, :, :3] * seen + 255 * (255 - seen)) // 255, dtype=np.uint8)
