"""Near-identical images: the same but for compression, size, brightness or a small shift. Found without all pairs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import numpy.typing as npt

from ..core.types import FloatArray, IntArray

VERSION = "1"
LOW, FINE = 8, 16  # frequencies up and across, of the hash and of the second look
BLOCKS, KEPT, WIDTH = 9, 3, 7  # blocks of WIDTH bits of a hash; pairs that agree in any KEPT of them are compared
DISTANCE = BLOCKS - KEPT  # bits by which hashes of near-identical images differ at most
ALIKE = 0.95  # correlation of near-identical images; see benchmarks/LEAKS.md
CROWD = 64  # of the rows that agree in KEPT blocks, each is compared with so many
BATCH = 2048

Grey = Callable[[IntArray], npt.NDArray[np.uint8]]
"""Rows -> their grey images (B, H, W)."""


def near_identical(grey: Grey, groups: IntArray) -> IntArray:
    """Pairs of rows (M, 2), i < j, of two groups (N,) whose images are near-identical; images of one grey never are.

    Hashes propose the pairs, a second look at the pixels keeps those that correlate.
    """
    rows = np.arange(len(groups))
    low = np.concatenate([frequencies(grey(part), LOW) for part in _batches(rows)])
    rows = np.flatnonzero(low.any(axis=1))
    pairs = rows[close_pairs(hashes(low[rows]), groups[rows])]
    kept = [part[_correlation(grey(part[:, 0]), grey(part[:, 1])) >= ALIKE] for part in _batches(pairs)]
    return np.concatenate(kept)


def _batches(rows: IntArray) -> list[IntArray]:
    return [rows[i : i + BATCH] for i in range(0, max(len(rows), 1), BATCH)]


def frequencies(images: npt.NDArray[np.uint8], count: int) -> FloatArray:
    """The lowest frequencies of grey images (N, H, W) but the mean, by the DCT, as float32 (N, F) of length 1.

    Brightness and contrast make no difference, nor does size. Images of one grey are zeros.
    """
    up, across = (_cosines(side, count) for side in images.shape[1:])
    values = (up @ images.astype(np.float32) @ across.T).reshape(len(images), -1)[:, 1:]
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.where(length > 0.5, values / np.maximum(length, 0.5), 0.0).astype(np.float32)


def _cosines(side: int, count: int) -> FloatArray:
    """Rows of the orthonormal DCT-II (min(count, side), side)."""
    k, x = np.arange(min(count, side))[:, None], np.arange(side)[None]
    rows = np.cos(np.pi * k * (x + 0.5) / side) * np.sqrt((2 - (k == 0)) / side)
    return np.asarray(rows, dtype=np.float32)


def hashes(low: FloatArray) -> npt.NDArray[np.uint64]:
    """A bit for each of up to 63 frequencies (N, F): above its median in the set, which tells like images apart too."""
    packed = np.zeros((len(low), 8), dtype=np.uint8)
    if len(low):
        bits = np.packbits(low > np.median(low, axis=0), axis=1)
        packed[:, : bits.shape[1]] = bits
    return packed.view(">u8")[:, 0].astype(np.uint64) >> np.uint64(1)


def close_pairs(codes: npt.NDArray[np.uint64], groups: IntArray) -> IntArray:
    """Pairs of rows (M, 2), i < j, of two groups whose hashes of 63 bits (N,) differ in up to DISTANCE bits.

    Such a pair agrees in KEPT of the blocks at least, so one of the sorts, each by another choice of KEPT blocks, puts
    it side by side. Of a crowd of rows that agree in them, sorted by the whole hash, each is compared with the next
    CROWD alone.
    """
    n, first = len(codes), np.argsort(codes, kind="stable")
    codes = codes[first]
    pairs = np.empty(0, dtype=np.int64)
    for blocks in combinations(range(BLOCKS), KEPT):
        keys = codes & np.uint64(sum(((1 << WIDTH) - 1) << (WIDTH * block) for block in blocks))
        order = np.argsort(keys, kind="stable")
        keys, moved, rows, parts = keys[order], codes[order], first[order], [pairs]
        for step in range(1, CROWD + 1):
            left = np.flatnonzero(keys[step:] == keys[:-step])
            if not len(left):
                break
            left = left[np.bitwise_count(moved[left] ^ moved[left + step]) <= DISTANCE]
            a, b = rows[left], rows[left + step]
            parts.append((np.minimum(a, b) * n + np.maximum(a, b))[groups[a] != groups[b]])
        pairs = np.unique(np.concatenate(parts))
    return np.stack([pairs // max(n, 1), pairs % max(n, 1)], axis=1)


def _correlation(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> FloatArray:
    """Correlation of images with images (B,), where fine detail counts as much as coarse form."""
    if not len(one):
        return np.empty(0)
    a, b = (_levelled(images) for images in (one, other))
    return np.asarray((a * b).sum(axis=1))


def _levelled(images: npt.NDArray[np.uint8]) -> FloatArray:
    count = min(FINE, max(LOW, images.shape[1] // 3))  # of small images the finest detail is noise
    up, across = (np.arange(min(count, side)) for side in images.shape[1:])
    values = frequencies(images, count) * np.hypot(up[:, None], across[None]).reshape(-1)[1:]
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6))
