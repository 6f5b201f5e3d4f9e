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

PART = 1 << 16  # rows that the GPU looks at together
STEP = 4096  # rows that faiss looks at together: steps of it are split without another result


@alone()
def lloyd(rows_ND: FloatArray, centroids_KD: FloatArray, iterations: int) -> tuple[FloatArray, IntArray]:
    """Centroids (K, D) after so many iterations of faiss, and the nearest one of each row (N,); K <= N.

    Lloyd, Least Squares Quantization in PCM (1982); a cluster without rows gets a half of one that has many. Rows are
    to be centred (|a - b|^2 is expanded). Time O(iterations N K D) on one thread, memory O(N + K D) beside the rows.
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
    """faiss on the thread that calls it."""
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
        found = np.empty((len(rows), 1), dtype=np.int64)

        def search(part: slice) -> None:
            with _faiss_alone():
                found[part] = index.search(rows[part], 1)[1]

        side_by_side(search, len(rows), STEP)
        return found[:, 0]

    return closest


def _closest_on_gpu(rows: FloatArray, device: str = "cuda") -> Callable[[FloatArray], IntArray]:
    import torch

    held = torch.from_numpy(rows).to(device)

    def closest(centroids: FloatArray) -> IntArray:
        near = torch.from_numpy(centroids).to(device)
        norms = near.square().sum(1)
        found = [torch.addmm(norms, part, near.T, alpha=-2).argmin(1) for part in torch.split(held, PART)]
        return torch.cat(found).cpu().numpy()

    return closest


MANY = 20_000  # rows; fewer take full Lloyd, a second or two, and what was measured with it stays as it was


SAMPLE = 20  # rows a cluster


NEAR = 32  # centroids that a row looks at; 64 of 500 leave the inertia as it is to 0.02 %


REST = 1e-4  # share of the inertia; at 1e-5 half as many turns more gain 0.04 %


FURTHER = np.float32(0.5)


CHUNK = 4096  # rows at a time


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
    parts = [slice(i, i + CHUNK) for i in range(0, len(rows), CHUNK)]
    reach = np.concatenate([np.square(rows[p] - centroids[cluster[p]]).sum(axis=1) for p in parts])
    empty = np.flatnonzero(sizes == 0)
    cluster[np.argsort(-reach, kind="stable")[: len(empty)]] = empty
    return np.bincount(cluster, minlength=len(centroids))


def _move(sums: FloatArray, rows: FloatArray, before: IntArray, after: IntArray) -> None:
    """The sums (K, D) of the clusters of before, where -1 is none, become those of after, in place."""
    moved = np.flatnonzero(before != after)
    for start in range(0, len(moved), CHUNK):
        some = moved[start : start + CHUNK]
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
            for start in range(ends[c], ends[c + 1], CHUNK):
                members = order[start : min(start + CHUNK, ends[c + 1])]
                away = rows[members] @ theirs
                away += own
                best = away.argmin(axis=1)
                found[members], score[members] = near[best], away[np.arange(len(best)), best]

    side_by_side(look, len(norms), 16)
    return found, score


def _norms(rows: FloatArray) -> FloatArray:
    norms: FloatArray = np.einsum("nd,nd->n", rows, rows)
    return norms


@alone()
def k_means(
    vectors_ND: FloatArray, k: int, rng: np.random.Generator, *, iterations: int = 50, overwrite: bool = False
) -> tuple[FloatArray, IntArray]:
    """Lloyd's k-means from k-means++ seeds: centroids (K, D) and the cluster of each row (N,), 0..K-1.

    K is k, or fewer where there are fewer distinct rows: every cluster that comes back has a member. All rows take
    part; of `MANY` rows and more, `SAMPLE` a cluster at least, a sample does the first turns, and in
    those of all a row looks only at near centroids. Each row's cluster is that of its nearest centroid in any case.
    Seeded by `rng` alone. `overwrite` saves a copy of the rows: they are left centred.
    """
    if k < 1 or len(vectors_ND) < 1:
        raise InputError("k_means", "at least one cluster and one row", f"k={k}, {len(vectors_ND)} rows")
    centre = mean_row(vectors_ND)
    rows = np.subtract(vectors_ND, centre, out=vectors_ND if overwrite else None)  # centred: |a - b|^2 is expanded
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    if len(rows) >= max(MANY, SAMPLE * k):
        centroids, found = coarse_k_means(rows, k, rng, iterations)
    else:
        seeds = k_means_plus_plus(rows, min(k, len(rows)), rng)
        rng.integers(2**31 - 1)  # was a seed of faiss once; what is drawn later stays what it was
        centroids, found = lloyd(rows, rows[seeds], iterations)
    used, assignment = np.unique(found, return_inverse=True)
    return centroids[used] + centre, assignment.astype(np.int64)


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
    where a_l z_r + a_m z_s - 2 <l, m> <r, s> would cancel. That form, less a bound of what rounding can do, tells
    which rows are worth the other.
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
    """Squared distance of some outer products to one of them, in float64 from float32 sums."""
    a, z = left.norms[rows].double(), right.norms[rows].double()
    a_seed, z_seed = left.norms[seed].double(), right.norms[seed].double()
    e, d = ((side.vectors[rows] - side.vectors[seed]).square_().sum(1).double() for side in (left, right))
    twice = (a - a_seed) * (z - z_seed) + e * (z + z_seed) + d * (a + a_seed) - e * d
    return twice.clip_(0) / 2
