"""Several embeddings of the same images side by side, and PCA whitening: statistics of the pool, streamed in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybrid_al.core.files import replacement
from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.data.loaders import blocks
from hybrid_al.errors import InputError

BLOCK = 4096
LEAST_VARIANCE = 1e-8
"""Directions below this share of the largest variance are rounding of float32, and are left out."""


@dataclass(frozen=True)
class Projection:
    """x (D,) -> (x - mean) @ axes (K,), which over the pool has mean 0 and the unit matrix as covariance.

    axes (D, K): eigenvectors of the pool's covariance over the root of their eigenvalues, the largest first, each with
    its largest entry positive; explained: the share of the pool's variance along them.
    """

    mean: FloatArray
    axes: FloatArray
    explained: float


class SideBySide:
    """Rows (D1 + D2 + ...) of embeddings (N, D1), (N, D2), ... of the same N images, read in blocks.

    Several sets are each divided by the root of their variance over the pool (P,), summed over entries: then the mean
    squared distance between images is the same in all, and no set dominates. A constant set is not scaled.
    """

    def __init__(self, sets: Mapping[str, FloatArray], pool: IntArray) -> None:
        lengths = {len(vectors) for vectors in sets.values()}
        if len(lengths) != 1:
            raise InputError("embeddings.use", "sets of the same images", f"{sorted(lengths)} rows")
        self.sets, self.pool, self.n = dict(sets), pool, lengths.pop()
        self.scales = dict.fromkeys(sets, 1.0)
        if len(sets) > 1:
            for name, vectors in sets.items():
                variance = float(_variance(vectors, pool).sum())
                self.scales[name] = variance**-0.5 if variance > 0 else 1.0

    @property
    def dim(self) -> int:
        """D1 + D2 + ..."""
        return sum(vectors.shape[1] for vectors in self.sets.values())

    def read(self, rows: IntArray) -> FloatArray:
        """Rows (B, D) in float64; an error where one is not finite."""
        columns = [self.scales[name] * vectors[rows].astype(np.float64) for name, vectors in self.sets.items()]
        joined: FloatArray = np.concatenate(columns, axis=1)
        if not np.isfinite(joined).all():
            bad = rows[~np.isfinite(joined).all(axis=1)][0]
            raise InputError(f"embedding of sample {bad}", "finite numbers", "nan or inf")
        return joined

    def whitening(self, largest: int) -> Projection:
        """PCA whitening to at most `largest` directions, fewer where the pool varies in fewer.

        Two passes over the pool: mean, then covariance about it, in float64. O(D^2 + BLOCK D) memory.
        """
        mean = sum(self.read(rows).sum(axis=0) for rows in blocks(self.pool, BLOCK)) / len(self.pool)
        covariance = np.zeros((self.dim, self.dim))
        for rows in blocks(self.pool, BLOCK):
            centred = self.read(rows) - mean
            covariance += centred.T @ centred
        covariance /= len(self.pool)
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = values[::-1], vectors[:, ::-1]
        count = min(largest, int((values > LEAST_VARIANCE * values[0]).sum()) if values[0] > 0 else 0)
        if not count:
            raise InputError("embeddings.whiten", "embeddings that vary over the pool", "the same for every image")
        axes = vectors[:, :count]
        highest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
        axes = axes * np.sign(highest) / np.sqrt(values[:count])
        return Projection(np.asarray(mean), axes, float(values[:count].sum() / values.clip(0).sum()))

    def write(self, path: Path, projection: Projection | None = None) -> tuple[int, int]:
        """Write all rows, projected or not, as float32 into a .npy file, a block at a time; returns its shape."""
        shape = (self.n, self.dim if projection is None else projection.axes.shape[1])
        with replacement(path) as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            for rows in self._projected(projection):
                file.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        return shape

    def _projected(self, projection: Projection | None) -> Iterator[FloatArray]:
        for rows in blocks(np.arange(self.n), BLOCK):
            vectors = self.read(rows)
            yield vectors if projection is None else (vectors - projection.mean) @ projection.axes


def _variance(vectors: FloatArray, pool: IntArray) -> FloatArray:
    """Variance over the pool of each entry (D,)."""
    mean = sum(vectors[rows].astype(np.float64).sum(axis=0) for rows in blocks(pool, BLOCK)) / len(pool)
    squares = sum(np.square(vectors[rows].astype(np.float64) - mean).sum(axis=0) for rows in blocks(pool, BLOCK))
    return np.asarray(squares / len(pool))
