"""k-means: seeds, Lloyd's iterations by faiss, and large pools coarse to fine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse

from ..core.types import FloatArray, IntArray
from ..errors import InputError
from .distances import PAIRS, TINY, Rows, as_tensor, draw, inner_products, mean_row
from .threads import alone, side_by_side

if TYPE_CHECKING:
    import torch

PART = 1 << 16  # rows in a block on the GPU
STEP = 4096  # rows in a block of faiss, which does not change the result


@alone()
def lloyd(rows_ND: FloatArray, centroids_KD: FloatArray, iterations: int) -> tuple[FloatArray, IntArray]:
    """Centroids (K, D) after `iterations` of faiss, and the nearest one of each row (N,); K <= N.

    Rows must be centred, as |a - b|^2 is expanded. A cluster without rows gets half of a large one. Time
    O(iterations N K D) on one thread, memory O(N + K D) beside the rows. Lloyd, Least Squares Quantization in PCM
    (1982).
    """
    import faiss

    clustering = faiss.Kmeans(
        rows_ND.shape[1],
        len(centroids_KD),
        niter=iterations,
        min_points_per_centroid=1,
        max_points_per_centroid=len(rows_ND),
    )
    with _faiss_alone():
        clustering.train(rows_ND, init_centroids=centroids_KD)
        nearest: IntArray = clustering.index.search(rows_ND, 1)[1][:, 0]
    return np.asarray(clustering.centroids), nearest


@contextmanager
def _faiss_alone() -> Iterator[None]:
    """faiss on the calling thread alone."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _closest(rows: FloatArray) -> Callable[[FloatArray], IntArray]:
    """Centroids (K, D) -> index of the nearest to each row (N,)."""
    import torch

    return _closest_on_gpu(rows) if torch.cuda.is_available() else _closest_by_faiss(rows)


def _closest_by_faiss(rows: FloatArray) -> Callable[[FloatArray], IntArray]:
    import faiss

    def closest(centroids: FloatArray) -> IntArray:
        index = faiss.IndexFlatL2(rows.shape[1])
        index.add(centroids)
        indices = np.empty((len(rows), 1), dtype=np.int64)

        def search(part: slice) -> None:
            with _faiss_alone():
                indices[part] = index.search(rows[part], 1)[1]

        side_by_side(search, len(rows), STEP)
        return indices[:, 0]

    return closest


def _closest_on_gpu(rows: FloatArray, device: str = "cuda") -> Callable[[FloatArray], IntArray]:
    import torch

    rows_on_gpu = torch.from_numpy(rows).to(device)

    def closest(centroids: FloatArray) -> IntArray:
        centres = torch.from_numpy(centroids).to(device)
        norms = centres.square().sum(1)
        indices = [torch.addmm(norms, part, centres.T, alpha=-2).argmin(1) for part in torch.split(rows_on_gpu, PART)]
        return torch.cat(indices).cpu().numpy()

    return closest


MANY = 20_000  # rows; fewer take full Lloyd, a second or two, with which earlier results were measured
SAMPLE = 20  # rows a cluster
NEAR = 32  # centroids that a row is compared with; 64 of 500 change the inertia by 0.02 %
REST = 1e-4  # least gain of a turn, as a share of the inertia; with 1e-5 half as many turns more gain 0.04 %
FURTHER = np.float32(0.5)
CHUNK = 4096  # rows at a time


def coarse_k_means(rows_ND: FloatArray, k: int, rng: np.random.Generator, turns: int) -> tuple[FloatArray, IntArray]:
    """Centroids (K, D) and the nearest one of each row (N,); K is k, or fewer where the sample has fewer distinct rows.

    A sample of `SAMPLE` k rows gives the seeds and the first centroids; then all rows take part. Rows must be
    centred. Time O(N K D + turns N NEAR D + k^2 D), memory O(N + K D) beside the rows and the sample.
    """
    sample = rows_ND[np.sort(rng.permutation(len(rows_ND))[: SAMPLE * k])]
    centroids, _ = lloyd_nearby(sample, sample[greedy_seeds(sample, k, rng)], turns)
    return lloyd_nearby(rows_ND, centroids, turns)


@alone()
def greedy_seeds(rows_ND: FloatArray, k: int, rng: np.random.Generator) -> IntArray:
    """Seeds of k-means (<= k,): of a few rows drawn as in k-means++, each is that with the least inertia of the others.

    Fewer than k where all rows coincide with a seed, as far as float32 can tell. Arthur and Vassilvitskii (SODA 2007),
    section 2.2, with 2 + log k draws a seed as in their code and scikit-learn's. Unlike there, a candidate's own
    distance does not count as a gain: in a sample of 20 rows a cluster that favours outliers, which are rare in the
    pool.
    """
    norms, draws = _norms(rows_ND), 2 + int(np.log(k))
    slack = (rows_ND.shape[1] + 16) * np.float32(2.0**-22)

    def squared_to(places: IntArray) -> FloatArray:
        squared = (rows_ND[places] * np.float32(-2)) @ rows_ND.T  # (P, N)
        norm_sums = norms + norms[places, None]
        squared += norm_sums
        squared[squared <= slack * norm_sums] = 0  # within the rounding error of 0
        return squared

    seeds = [int(rng.integers(len(rows_ND)))]
    reach = squared_to(np.asarray(seeds))[0]
    while len(seeds) < k and reach.any():
        mass = reach.cumsum(dtype=np.float64)
        candidates = mass.searchsorted(rng.random(draws) * mass[-1], side="right").clip(0, len(reach) - 1)
        reaches = np.minimum(squared_to(candidates), reach)
        best = int((reaches.sum(axis=1, dtype=np.float64) + reach[candidates]).argmin())
        seeds.append(int(candidates[best]))
        reach = reaches[best]
    return np.asarray(seeds, dtype=np.int64)


@alone()
def lloyd_nearby(rows_ND: FloatArray, centroids_KD: FloatArray, turns: int) -> tuple[FloatArray, IntArray]:
    """Centroids (K, D) after at most `turns` of Lloyd, and the nearest one of each row (N,).

    A row is compared only with the `NEAR` centroids nearest to its own; the first and the last search are full. A
    centroid moves to the mean of its rows and beyond by `FURTHER` of the way, which saves turns. A centroid without
    rows gets the row that is farthest from its own centroid. The turns end with one that gains less than `REST`.
    """
    closest, norms = _closest(rows_ND), _norms(rows_ND)
    centroids, cluster, last_inertia = centroids_KD, closest(centroids_KD), np.inf
    means, sums, cluster_of_sums = centroids, np.zeros(centroids.shape), np.full(len(rows_ND), -1)
    for turn in range(turns):
        sizes = _fill(rows_ND, centroids, cluster)
        _move(sums, rows_ND, cluster_of_sums, cluster)
        means = np.where(sizes[:, None], sums / np.maximum(sizes, 1)[:, None], centroids).astype(np.float32)
        centroids = means + FURTHER * (means - centroids) if turn else means
        cluster_of_sums = cluster
        cluster, score = _search_nearby(rows_ND, centroids, cluster)
        inertia = float(norms.sum(dtype=np.float64) + score.sum(dtype=np.float64))
        if inertia >= last_inertia * (1 - REST):
            break
        last_inertia = inertia
    return means, closest(means)


def _fill(rows: FloatArray, centroids: FloatArray, cluster: IntArray) -> IntArray:
    """Sizes of the clusters (K,) after each empty one got, in place, one of the rows farthest from their centroids."""
    sizes = np.bincount(cluster, minlength=len(centroids))
    if sizes.all():
        return sizes
    parts = [slice(i, i + CHUNK) for i in range(0, len(rows), CHUNK)]
    reach = np.concatenate([np.square(rows[p] - centroids[cluster[p]]).sum(axis=1) for p in parts])
    empty = np.flatnonzero(sizes == 0)
    cluster[np.argsort(-reach, kind="stable")[: len(empty)]] = empty
    return np.bincount(cluster, minlength=len(centroids))


def _move(sums: FloatArray, rows: FloatArray, before: IntArray, after: IntArray) -> None:
    """Update the sums (K, D) of clusters, in place, from the assignment `before`, where -1 is none, to `after`."""
    movers = np.flatnonzero(before != after)
    for start in range(0, len(movers), CHUNK):
        chunk = movers[start : start + CHUNK]
        members = np.flatnonzero(before[chunk] >= 0)
        sign = np.concatenate([np.ones(len(chunk)), np.full(len(members), -1.0)])
        place = np.concatenate([after[chunk], before[chunk][members]]), np.concatenate([np.arange(len(chunk)), members])
        sums += scipy.sparse.csr_array((sign, place), shape=(len(sums), len(chunk))) @ rows[chunk]


def _search_nearby(rows: FloatArray, centroids: FloatArray, cluster: IntArray) -> tuple[IntArray, FloatArray]:
    """Nearest (N,) of the centroids near each row's own, the first of equals, and |centroid|^2 - 2 <row, centroid>."""
    order, norms = np.argsort(cluster, kind="stable"), _norms(centroids)
    ends = np.concatenate([[0], np.bincount(cluster, minlength=len(norms)).cumsum()])
    nearest, score = np.empty_like(cluster), np.empty(len(rows), dtype=np.float32)
    count = min(NEAR, len(norms))

    def search(part: slice) -> None:
        gaps = norms - 2 * centroids[part] @ centroids.T
        gaps[np.arange(len(gaps)), np.arange(part.start, part.stop)] = -np.inf
        for c, near in enumerate(np.sort(np.argpartition(gaps, count - 1, axis=1)[:, :count], axis=1), part.start):
            near_centroids, near_norms = centroids[near].T * np.float32(-2), norms[near]
            for start in range(ends[c], ends[c + 1], CHUNK):
                members = order[start : min(start + CHUNK, ends[c + 1])]
                scores = rows[members] @ near_centroids
                scores += near_norms
                best = scores.argmin(axis=1)
                nearest[members], score[members] = near[best], scores[np.arange(len(best)), best]

    side_by_side(search, len(norms), 16)
    return nearest, score


def _norms(rows: FloatArray) -> FloatArray:
    norms: FloatArray = np.einsum("nd,nd->n", rows, rows)
    return norms


@alone()
def k_means(
    vectors_ND: FloatArray, k: int, rng: np.random.Generator, *, iterations: int = 50, overwrite: bool = False
) -> tuple[FloatArray, IntArray]:
    """Lloyd's k-means from k-means++ seeds: centroids (K, D) and the cluster of each row (N,), 0..K-1.

    K is k, or fewer where there are fewer distinct rows: no cluster is empty. From `MANY` rows on, if there are
    `SAMPLE` a cluster, the first turns use a sample, and later turns compare a row with near centroids only
    (`coarse_k_means`). In any case a row's cluster is that of its nearest centroid. Seeded by `rng` alone.
    `overwrite` saves a copy of the rows: they come back centred.
    """
    if k < 1 or len(vectors_ND) < 1:
        raise InputError("k_means", "at least one cluster and one row", f"k={k}, {len(vectors_ND)} rows")
    centre = mean_row(vectors_ND)
    rows = np.subtract(vectors_ND, centre, out=vectors_ND if overwrite else None)  # centred: |a - b|^2 is expanded
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    if len(rows) >= max(MANY, SAMPLE * k):
        centroids, cluster = coarse_k_means(rows, k, rng, iterations)
    else:
        seeds = k_means_plus_plus(rows, min(k, len(rows)), rng)
        rng.integers(2**31 - 1)  # once the seed of faiss; drawn still, so that later draws stay the same
        centroids, cluster = lloyd(rows, rows[seeds], iterations)
    clusters, assignment = np.unique(cluster, return_inverse=True)
    return centroids[clusters] + centre, assignment.astype(np.int64)


@alone()
def k_means_plus_plus(vectors_ND: FloatArray, k: int, rng: np.random.Generator, *, block: int = PAIRS) -> IntArray:
    """Seeds of k-means (<= k,): rows drawn with probability proportional to their squared distance to the seeds so far.

    Fewer than k where all rows coincide with a seed. Arthur and Vassilvitskii (SODA 2007), section 2.2.
    """
    rows = Rows(as_tensor(vectors_ND), block)
    seeds = [int(rng.integers(len(vectors_ND)))]
    reach = rows.squared_to(rows.vectors[seeds[0]])
    while len(seeds) < k and bool(reach.any()):
        seeds.append(draw(reach.double().cpu().numpy(), rng))
        rows.lower(reach, rows.vectors[seeds[-1:]])
    return np.asarray(seeds, dtype=np.int64)


@alone()
def k_means_plus_plus_outer(
    left_NC: FloatArray, right_ND: FloatArray, first: int, k: int, rng: np.random.Generator, *, block: int = PAIRS
) -> IntArray:
    """`k_means_plus_plus` of the N outer products left x right from the seed `first`; memory O(N) beside the rows.

    With the squared norms a of left and z of right, and the squared distances e between rows of left and d of right,
    |l r' - m s'|^2 = ((a_l - a_m)(z_r - z_s) + e (z_r + z_s) + d (a_l + a_m) - e d) / 2: exactly 0 for duplicates,
    where a_l z_r + a_m z_s - 2 <l, m> <r, s> would cancel. The second form, less a bound of the rounding errors,
    selects the rows for which the first is computed.
    """
    import torch

    left, right = Rows(as_tensor(left_NC), block), Rows(as_tensor(right_ND), block)
    a, z = left.norms, right.norms
    norm, reach = a * z, a.new_full((len(a),), np.inf).double()
    seeds = [first]
    while True:
        seed = seeds[-1]
        inner = inner_products(left.vectors, left.vectors[seed]).mul_(
            inner_products(right.vectors, right.vectors[seed])
        )
        slack = ((a + a[seed]) * (z + z[seed])).mul_(2 * (left.slack + right.slack))
        worth = (norm + norm[seed]).sub_(inner, alpha=2).sub_(slack) < reach.float() + TINY
        for rows in torch.split(worth.nonzero()[:, 0], max(block // 64, 1)):
            reach[rows] = reach[rows].minimum(_outer_to_row(left, right, rows, seed))
        if len(seeds) == k or not bool(reach.any()):
            return np.asarray(seeds, dtype=np.int64)
        seeds.append(draw(reach.cpu().numpy(), rng))


def _outer_to_row(left: Rows, right: Rows, rows: torch.Tensor, seed: int) -> torch.Tensor:
    """Squared distance of the outer products of `rows` to that of `seed`, in float64 from float32 sums."""
    a, z = left.norms[rows].double(), right.norms[rows].double()
    a_seed, z_seed = left.norms[seed].double(), right.norms[seed].double()
    e, d = ((side.vectors[rows] - side.vectors[seed]).square_().sum(1).double() for side in (left, right))
    twice = (a - a_seed) * (z - z_seed) + e * (z + z_seed) + d * (a + a_seed) - e * d
    return twice.clip_(0) / 2
