"""Several embeddings of the same images side by side, and PCA whitening: statistics of the pool, streamed in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybrid_al.core.rundir import replacing
from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.data.loaders import blocks
from hybrid_al.errors import InputError

BLOCK = 4096
LEAST_VARIANCE = 1e-8
"""Directions with less of the largest variance are rounding of float32, not something to scale up."""


@dataclass(frozen=True)
class Projection:
    """x (D,) -> (x - mean) @ axes (K,), which over the pool has mean 0 and the unit matrix as its covariance.

    axes (D, K) are eigenvectors of the pool's covariance over the root of their eigenvalues, the largest first, each
    with its largest entry positive; `explained` is the share of the pool's variance that they hold.
    """

    mean: FloatArray
    axes: FloatArray
    explained: float


class SideBySide:
    """Rows (D1 + D2 + ...) of embeddings (N, D1), (N, D2), ... of the same N images, read in blocks.

    Where there are several, each is divided by the root of its variance over the pool (P,), summed over its entries:
    then squared distances between images are on average alike in all, and none outshouts the others. One that does not
    vary stays as it is.
    """

    def __init__(self, parts: Mapping[str, FloatArray], pool: IntArray) -> None:
        lengths = {len(part) for part in parts.values()}
        if len(lengths) != 1:
            raise InputError("embeddings.use", "sets of the same images", f"{sorted(lengths)} rows")
        self.parts, self.pool, self.n = dict(parts), pool, lengths.pop()
        self.scales = dict.fromkeys(parts, 1.0)
        if len(parts) > 1:
            for name, part in parts.items():
                variance = float(_variance(part, pool).sum())
                self.scales[name] = variance**-0.5 if variance > 0 else 1.0

    @property
    def dim(self) -> int:
        """D1 + D2 + ..."""
        return sum(part.shape[1] for part in self.parts.values())

    def read(self, rows: IntArray) -> FloatArray:
        """Rows (B, D) in float64; an error where one is not finite."""
        found = [self.scales[name] * part[rows].astype(np.float64) for name, part in self.parts.items()]
        joined: FloatArray = np.concatenate(found, axis=1)
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
        kept = min(largest, int((values > LEAST_VARIANCE * values[0]).sum()) if values[0] > 0 else 0)
        if not kept:
            raise InputError("embeddings.whiten", "embeddings that vary over the pool", "the same for every image")
        axes = vectors[:, :kept]
        highest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
        axes = axes * np.sign(highest) / np.sqrt(values[:kept])
        return Projection(np.asarray(mean), axes, float(values[:kept].sum() / values.clip(0).sum()))

    def write(self, path: Path, projection: Projection | None = None) -> tuple[int, int]:
        """All rows, projected where that is asked for, as float32 into a .npy file, a block at a time; its shape."""
        shape = (self.n, self.dim if projection is None else projection.axes.shape[1])
        with replacing(path) as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            for rows in self._projected(projection):
                file.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        return shape

    def _projected(self, projection: Projection | None) -> Iterator[FloatArray]:
        for rows in blocks(np.arange(self.n), BLOCK):
            found = self.read(rows)
            yield found if projection is None else (found - projection.mean) @ projection.axes


def _variance(part: FloatArray, pool: IntArray) -> FloatArray:
    """Variance over the pool of each entry (D,)."""
    mean = sum(part[rows].astype(np.float64).sum(axis=0) for rows in blocks(pool, BLOCK)) / len(pool)
    squares = sum(np.square(part[rows].astype(np.float64) - mean).sum(axis=0) for rows in blocks(pool, BLOCK))
    return np.asarray(squares / len(pool))
