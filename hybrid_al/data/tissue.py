"""A cheap foreground without a model: how much of each image is body or tissue, and not air or glass (Otsu)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from ..core.files import read_seal, replacement, seal
from ..core.types import BoolArray, FloatArray, IntArray
from .loaders import blocks
from .masks import inside
from .otsu import otsu
from .stores.images import ImageStore

Background = Literal["black", "white"]

VERSION = "1"
"""Raise it when the shares become others than before: the keys of caches contain it."""

BLOCK = 256  # images at a time
LEVELS = 256
WHITE = ("histology",)
"""Modalities whose background is white by definition: the border of a tile from within a section is tissue."""


@dataclass(frozen=True)
class Tissue:
    """How much of each image is tissue, by one threshold for the pool.

    shares      (N,) of an image's pixels, padding apart, in [0, 1]; nan outside of the pool
    threshold   a pixel is tissue where it is farther than this from the background, 0 to 255
    background  of the images
    sizes       (N, 2) of the images in their own pixels, beyond which lies padding; None: no padding
    """

    shares: FloatArray
    threshold: int
    background: Background
    sizes: IntArray | None = None


def tissue(
    store: ImageStore, pool: IntArray, *, sizes: IntArray | None, background: Background | None, cache: Path
) -> Tissue:
    """The tissue of the pool's images in the size of the network, from the folder `cache` or computed.

    It takes two passes over the images, three where `background` is None. The distance of a pixel from the background
    is its brightest channel where that is black, and 255 less its darkest where that is white: dark or saturated pixels
    are tissue then. One Otsu threshold serves the whole pool, since that of an empty image alone would split its noise.
    Of a stack the slice in the middle counts.

    sizes       (N, 2) height and width of the images in their own pixels, beyond which lies padding; None: no padding
    background  None: that of more than half of the border pixels of the pool, on either side of Otsu's threshold
    """
    origin = f"{VERSION}\x1f{store.digest}\x1f{background}\x1f".encode() + pool.tobytes()
    origin += b"" if sizes is None else sizes[pool].tobytes()
    file = Path(cache) / f"tissue-{hashlib.sha256(origin).hexdigest()[:32]}.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):  # a second process waits for the first one's work
        facts = read_seal(file)
        if facts is None:
            result = _tissue(store, pool, sizes, background)
            with replacement(file) as out:
                np.save(out, result.shares, allow_pickle=False)
            seal(file, threshold=result.threshold, background=result.background)
            return result
    return Tissue(np.load(file, allow_pickle=False), facts["threshold"], facts["background"], sizes)


def _tissue(store: ImageStore, pool: IntArray, sizes: IntArray | None, background: Background | None) -> Tissue:
    if background is None:
        background = _background(store, pool, sizes)
    counts, shares = np.zeros(LEVELS, dtype=np.int64), np.full(len(store), np.nan)
    for block in blocks(pool, BLOCK):
        distance, valid = _distances(store, block, background), _valid(store, block, sizes)
        counts += np.bincount(distance[valid], minlength=LEVELS)
    threshold = otsu(counts)
    for block in blocks(pool, BLOCK):
        distance, valid = _distances(store, block, background), _valid(store, block, sizes)
        shares[block] = ((distance > threshold) & valid).sum(axis=(1, 2)) / valid.sum(axis=(1, 2))
    return Tissue(shares, threshold, background, sizes)


def foreground(store: ImageStore, block: IntArray, tissue: Tissue) -> BoolArray:
    """Pixels (B, S, S) of a block of images that are tissue, and no padding."""
    mask: BoolArray = _distances(store, block, tissue.background) > tissue.threshold
    return mask & _valid(store, block, tissue.sizes)


def _background(store: ImageStore, pool: IntArray, sizes: IntArray | None) -> Background:
    """White where more than half of the pixels along the borders lie above Otsu's threshold of all."""
    counts, border = np.zeros(LEVELS, dtype=np.int64), np.zeros(LEVELS, dtype=np.int64)
    for block in blocks(pool, BLOCK):
        brightness, valid = _distances(store, block, "black"), _valid(store, block, sizes)
        counts += np.bincount(brightness[valid], minlength=LEVELS)
        border += np.bincount(brightness[valid & ~_interior(valid)], minlength=LEVELS)
    return "white" if 2 * border[otsu(counts) + 1 :].sum() > border.sum() else "black"


def _distances(store: ImageStore, block: IntArray, background: Background) -> npt.NDArray[np.uint8]:
    """Distance of the pixels (B, S, S) of a block of images from the background, 0 to 255."""
    images, middle = np.asarray(store.images[block]), store.stack // 2
    if store.stack > 1:
        images = images[..., middle : middle + 1]
    distances: npt.NDArray[np.uint8] = images.max(axis=3) if background == "black" else 255 - images.min(axis=3)
    return distances


def _valid(store: ImageStore, block: IntArray, sizes: IntArray | None) -> BoolArray:
    """Which pixels (B, S, S) are no padding."""
    if sizes is None:
        return np.ones((len(block), store.size, store.size), dtype=np.bool_)
    return inside(sizes[block], store.size)


def _interior(valid: BoolArray) -> BoolArray:
    """Valid pixels (B, S, S) whose four neighbours are valid too."""
    padded = np.pad(valid, ((0, 0), (1, 1), (1, 1)))
    return padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1] & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:]
