"""k-means of weighted rows, beside centres that do not move, and the rows that stand for its centres."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from ..core.types import FloatArray, IntArray
from .distances import closest, draw, nearest, squared_to


def weighted_k_means(
    vectors_MD: FloatArray,
    weights_M: FloatArray,
    k: int,
    rng: np.random.Generator,
    iterations: int,
    fixed_FD: FloatArray | None = None,
) -> tuple[FloatArray, IntArray]:
    """Centres (K <= k, D) and the nearest centre of each row (M,): Lloyd's k-means of weighted rows, k-means++ seeds.

    A row that is nearer to one of the `fixed` centres than to all others is of no cluster, -1; of two equally near the
    fixed one has it. Seeds are drawn far from the fixed centres too. There are fewer than k centres where fewer
    distinct rows have a weight, and none where all that have one coincide with fixed centres. O(M (F + turns K) D)
    time: the distance to the fixed centres is computed once.
    """
    to_fixed = np.full(len(vectors_MD), np.inf)
    if fixed_FD is not None and len(fixed_FD):
        to_fixed = nearest(vectors_MD, fixed_FD, 1)[0][:, 0].astype(np.float64)
        to_fixed[to_fixed <= 1e-12] = 0  # a copy of a fixed centre, but for rounding
    seeds = _seeds(vectors_MD, weights_M, k, rng, to_fixed)
    centres = vectors_MD[seeds]
    if not seeds:
        return centres, np.full(len(vectors_MD), -1)
    cluster, changed = _assign(vectors_MD, centres, to_fixed), np.ones(len(centres), dtype=np.bool_)
    for _ in range(iterations):
        rows = np.flatnonzero((cluster >= 0) & changed[cluster])  # clusters that kept their members keep their centre
        weighted = csr_array((weights_M[rows], (cluster[rows], rows)), shape=(len(centres), len(vectors_MD)))
        total = np.bincount(cluster[rows], weights_M[rows], minlength=len(centres))
        means = (weighted @ vectors_MD) / np.maximum(total, 1e-300)[:, None]
        centres = np.where(total[:, None] > 0, means, centres)
        before, cluster = cluster, _assign(vectors_MD, centres, to_fixed)
        moved = before != cluster
        if not moved.any():
            break
        changed = np.zeros(len(centres) + 1, dtype=np.bool_)  # the last is that of -1
        changed[before[moved]] = changed[cluster[moved]] = True
    return centres, cluster


def _seeds(
    vectors_MD: FloatArray, weights_M: FloatArray, k: int, rng: np.random.Generator, to_fixed_M: FloatArray
) -> list[int]:
    """Rows drawn by weight x squared distance to the nearest centre so far; by weight alone while there is none."""
    seeds, reach = list[int](), to_fixed_M
    while len(seeds) < k and (mass := weights_M * np.where(np.isinf(reach), 1, reach)).any():
        seeds.append(draw(mass, rng))
        reach = np.minimum(reach, squared_to(vectors_MD, vectors_MD[seeds[-1]]))
    return seeds


def _assign(vectors_MD: FloatArray, centres_KD: FloatArray, to_fixed_M: FloatArray) -> IntArray:
    """The nearest centre of each row (M,), or -1 where a fixed one is as near."""
    cluster = closest(vectors_MD, centres_KD)
    if np.isinf(to_fixed_M).all():
        return cluster
    return np.where(squared_to(vectors_MD, centres_KD[cluster]) < to_fixed_M, cluster, -1)


def representatives(
    vectors_MD: FloatArray, weights_M: FloatArray, centres_KD: FloatArray, cluster_M: IntArray
) -> IntArray:
    """The row nearest to each centre (K,), each row once; the cluster of the largest sum of weights first."""
    sums = np.bincount(cluster_M[cluster_M >= 0], weights_M[cluster_M >= 0], minlength=len(centres_KD))
    picks = list[int]()
    for centre in centres_KD[np.argsort(-sums, kind="stable")]:
        squared = squared_to(vectors_MD, centre)
        squared[picks] = np.inf
        picks.append(int(squared.argmin()))
    return np.asarray(picks, dtype=np.int64)
