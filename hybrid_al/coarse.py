"""k-means of many rows: seeds and first turns on a sample, then turns in which a row looks at few centroids."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from .core.types import FloatArray, IntArray
from .lloyd import _closest
from .threads import alone, side_by_side

MANY = 20_000  # rows; fewer take full Lloyd, a second or two, and what was measured with it stays as it was
SAMPLE = 20  # rows a cluster
NEAR = 32  # centroids that a row looks at; 64 of 500 leave the inertia as it is to 0.02 %
REST = 1e-4  # share of the inertia; at 1e-5 half as many turns more gain 0.04 %
FURTHER = np.float32(0.5)
STEP = 4096  # rows at a time


def coarse_k_means(rows_ND: FloatArray, k: int, rng: np.random.Generator, turns: int) -> tuple[FloatArray, IntArray]:
    """Centroids (K, D) and the nearest one of each row (N,); K is k, or fewer where the sample has fewer distinct rows.

    A sample of `SAMPLE` k rows gives the seeds and the first centroids; then all rows take part. Rows are to be
    centred. Time O(N K D + turns N NEAR D + k^2 D), memory O(N + K D) beside the rows and the sample.
    """
    sample = rows_ND[np.sort(rng.permutation(len(rows_ND))[: SAMPLE * k])]
    centroids, _ = lloyd_nearby(sample, sample[greedy_seeds(sample, k, rng)], turns)
    return lloyd_nearby(rows_ND, centroids, turns)


@alone()
def greedy_seeds(rows_ND: FloatArray, k: int, rng: np.random.Generator) -> IntArray:
    """Seeds of k-means (<= k,): each the one, of a few rows drawn as in k-means++, that leaves least inertia to others.

    Fewer than k where all rows coincide with a seed, as far as float32 can tell. Arthur and Vassilvitskii (SODA 2007),
    section 2.2, with 2 + log k draws a seed as in their code and scikit-learn's. What a row gains for itself does not
    count, unlike there: among 20 rows a cluster it favours outliers, and few of the rows that it stands for are such.
    """
    norms, draws = _norms(rows_ND), 2 + int(np.log(k))
    slack = (rows_ND.shape[1] + 16) * np.float32(2.0**-22)

    def squared_to(places: IntArray) -> FloatArray:
        squared = (rows_ND[places] * np.float32(-2)) @ rows_ND.T  # (P, N)
        both = norms + norms[places, None]
        squared += both
        squared[squared <= slack * both] = 0  # what rounding can make of nothing
        return squared

    seeds = [int(rng.integers(len(rows_ND)))]
    reach = squared_to(np.asarray(seeds))[0]
    while len(seeds) < k and reach.any():
        mass = reach.cumsum(dtype=np.float64)
        drawn = mass.searchsorted(rng.random(draws) * mass[-1], side="right").clip(0, len(reach) - 1)
        left = np.minimum(squared_to(drawn), reach)
        best = int((left.sum(axis=1, dtype=np.float64) + reach[drawn]).argmin())
        seeds.append(int(drawn[best]))
        reach = left[best]
    return np.asarray(seeds, dtype=np.int64)


@alone()
def lloyd_nearby(rows_ND: FloatArray, centroids_KD: FloatArray, turns: int) -> tuple[FloatArray, IntArray]:
    """Centroids (K, D) after Lloyd's turns, at most so many, and the nearest one of each row (N,).

    A row looks only at the `NEAR` centroids that are nearest to its own; the first and the last search are full. A
    centroid goes on beyond the mean by `FURTHER` of its way there, which saves turns, and without rows it gets the row
    farthest from its own. The turns end with one that gains less than `REST`.
    """
    closest, norms = _closest(rows_ND), _norms(rows_ND)
    centroids, cluster, last = centroids_KD, closest(centroids_KD), np.inf
    means, sums, counted = centroids, np.zeros(centroids.shape), np.full(len(rows_ND), -1)
    for turn in range(turns):
        sizes = _fill(rows_ND, centroids, cluster)
        _move(sums, rows_ND, counted, cluster)
        means = np.where(sizes[:, None], sums / np.maximum(sizes, 1)[:, None], centroids).astype(np.float32)
        centroids = means + FURTHER * (means - centroids) if turn else means
        counted = cluster
        cluster, score = _search_nearby(rows_ND, centroids, cluster)
        inertia = float(norms.sum(dtype=np.float64) + score.sum(dtype=np.float64))
        if inertia >= last * (1 - REST):
            break
        last = inertia
    return means, closest(means)


def _fill(rows: FloatArray, centroids: FloatArray, cluster: IntArray) -> IntArray:
    """Sizes of the clusters (K,), after each one without rows got, in place, a row that is farthest from its own."""
    sizes = np.bincount(cluster, minlength=len(centroids))
    if sizes.all():
        return sizes
    parts = [slice(i, i + STEP) for i in range(0, len(rows), STEP)]
    reach = np.concatenate([np.square(rows[p] - centroids[cluster[p]]).sum(axis=1) for p in parts])
    empty = np.flatnonzero(sizes == 0)
    cluster[np.argsort(-reach, kind="stable")[: len(empty)]] = empty
    return np.bincount(cluster, minlength=len(centroids))


def _move(sums: FloatArray, rows: FloatArray, before: IntArray, after: IntArray) -> None:
    """The sums (K, D) of the clusters of before, where -1 is none, become those of after, in place."""
    moved = np.flatnonzero(before != after)
    for start in range(0, len(moved), STEP):
        some = moved[start : start + STEP]
        left = np.flatnonzero(before[some] >= 0)
        sign = np.concatenate([np.ones(len(some)), np.full(len(left), -1.0)])
        place = np.concatenate([after[some], before[some][left]]), np.concatenate([np.arange(len(some)), left])
        sums += scipy.sparse.csr_array((sign, place), shape=(len(sums), len(some))) @ rows[some]


def _search_nearby(rows: FloatArray, centroids: FloatArray, cluster: IntArray) -> tuple[IntArray, FloatArray]:
    """The nearest (N,) of the centroids near a row's own, the first of equals, and |centroid|^2 - 2 <row, centroid>."""
    order, norms = np.argsort(cluster, kind="stable"), _norms(centroids)
    ends = np.concatenate([[0], np.bincount(cluster, minlength=len(norms)).cumsum()])
    found, score = np.empty_like(cluster), np.empty(len(rows), dtype=np.float32)
    most = min(NEAR, len(norms))

    def look(part: slice) -> None:
        apart = norms - 2 * centroids[part] @ centroids.T
        apart[np.arange(len(apart)), np.arange(part.start, part.stop)] = -np.inf
        for c, near in enumerate(np.sort(np.argpartition(apart, most - 1, axis=1)[:, :most], axis=1), part.start):
            theirs, own = centroids[near].T * np.float32(-2), norms[near]
            for start in range(ends[c], ends[c + 1], STEP):
                members = order[start : min(start + STEP, ends[c + 1])]
                away = rows[members] @ theirs
                away += own
                best = away.argmin(axis=1)
                found[members], score[members] = near[best], away[np.arange(len(best)), best]

    side_by_side(look, len(norms), 16)
    return found, score


def _norms(rows: FloatArray) -> FloatArray:
    norms: FloatArray = np.einsum("nd,nd->n", rows, rows)
    return norms
