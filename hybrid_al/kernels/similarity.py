"""Facility location, densities and medoids of a pool: exact, blocked (never N x N), NumPy in and out, torch inside.

Distances are Euclidean; for the cosine metric give unit vectors. They are expanded as in `kernels.nearest`: rows are
centred and the arithmetic is float64, block by block; on the GPU where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..core.types import BoolArray, FloatArray, IntArray
from ..errors import InputError
from .distances import as_tensor, distances_to, draw, nearest
from .greedy import lazy_greedy
from .threads import alone, side_by_side

if TYPE_CHECKING:
    import torch

BLOCK = 1024
Similarity = Callable[["torch.Tensor"], "torch.Tensor"]
"""Squared distances -> similarities in [0, 1], falling with the distance."""


@alone()
def similarity_cover(
    candidates_MD: FloatArray,
    base_BD: FloatArray,
    start_SD: FloatArray,
    similarity: Similarity,
    budget: int,
    *,
    block: int = BLOCK,
    chunk: int = 64,
) -> tuple[IntArray, FloatArray]:
    """Greedy facility location: picks (budget,) and the gain of each in the sum over `base` of the largest similarity.

    The largest similarity of a row is that to `start` and the picks so far. By `lazy_greedy` with `chunk`: the picks
    are those of the full greedy. Time O(M (B + S) D) and O(chunk B D) a few times a pick, memory
    O((M + B) D + block^2), with `base` in float64 too.
    """
    import torch

    candidates, base, start = as_tensor(candidates_MD), as_tensor(base_BD), as_tensor(start_SD)
    coverage = torch.zeros(len(base), dtype=torch.float64, device=base.device)
    _serve(coverage, base, start, similarity, block)
    others = _Others(base, block, cache=True)

    def gains(places: IntArray) -> FloatArray:
        rows = candidates if len(places) == len(candidates) else candidates[torch.from_numpy(places)]
        return _added(rows, others, coverage, similarity)

    def take(place: int) -> None:
        _serve(coverage, base, candidates[place : place + 1], similarity, block)

    return lazy_greedy(gains, take, len(candidates), budget, chunk=chunk)


@alone()
def similarity_sums(
    rows_RD: FloatArray, base_BD: FloatArray, similarity: Similarity, *, block: int = BLOCK
) -> FloatArray:
    """Sum of the similarities of each row to all of `base` (R,). Time O(R B D), memory O((R + B) D + block^2)."""
    rows, base = as_tensor(rows_RD), as_tensor(base_BD)
    return _added(rows, _Others(base, block), base.new_zeros(len(base)).double(), similarity)


def _added(rows: torch.Tensor, base: _Others, coverage: torch.Tensor, similarity: Similarity) -> FloatArray:
    """Gain of each row in the sum over `base` of the largest similarity (R,)."""
    sums = coverage.new_zeros(len(rows))

    def add(r: slice, b: slice, squared: torch.Tensor) -> None:
        sums[r] += (similarity(squared) - coverage[b]).clip_(0).sum(1)

    _pairs(rows, base, add)
    gains: FloatArray = sums.cpu().numpy()
    return gains


def _serve(coverage: torch.Tensor, base: torch.Tensor, rows: torch.Tensor, similarity: Similarity, block: int) -> None:
    """Raise each base row's largest similarity, in place, to that to the nearest of `rows`."""
    import torch

    def raise_to(b: slice, _: slice, squared: torch.Tensor) -> None:
        torch.maximum(coverage[b], similarity(squared).amax(1), out=coverage[b])

    def by_one(b: slice) -> None:
        raise_to(b, b, (base[b] - rows[0].double()).square_().sum(1, keepdim=True))

    if len(rows) == 1:  # to the last bit what the matrix product with a centred row, all zeros, gives
        side_by_side(by_one, len(base), block)
    else:
        _pairs(base, _Others(rows, block), raise_to)


@alone()
def nearest_where(
    vectors_ND: FloatArray,
    values_N: IntArray,
    compare: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    *,
    block: int = BLOCK,
) -> FloatArray:
    """Distance of each row to the nearest row whose value compares with its own (N,), inf where there is none.

    `compare(value, other)` says which pairs count: `operator.ne` for the nearest row of another cluster, `operator.lt`
    for the nearest of a higher rank. Time O(N^2 D), memory O(N D + block^2).
    """
    import torch

    vectors = as_tensor(vectors_ND)
    values = torch.from_numpy(np.asarray(values_N, dtype=np.int64)).to(vectors.device)
    least = torch.full((len(vectors),), torch.inf, dtype=torch.float64, device=vectors.device)

    def search(r: slice, o: slice, squared: torch.Tensor) -> None:
        squared[~compare(values[r, None], values[None, o])] = torch.inf
        torch.minimum(least[r], squared.amin(1), out=least[r])

    _pairs(vectors, _Others(vectors, block), search)
    distances: FloatArray = least.sqrt_().cpu().numpy()
    return distances


@alone()
def k_medoids(
    vectors_ND: FloatArray,
    fixed: IntArray,
    free_N: BoolArray,
    k: int,
    rng: np.random.Generator,
    *,
    iterations: int = 50,
    block: int = BLOCK,
) -> tuple[IntArray, IntArray]:
    """k medoids beside the `fixed` ones: medoids (K,) among the free rows, and how many rows are nearest to each (K,).

    K is k, or fewer where there are fewer distinct free rows. Seeds are drawn as in k-means++. Then, in turn, each row
    joins its nearest medoid, and the medoid of a cluster becomes its free member with the least sum of distances,
    until no medoid moves. Park and Jun, A Simple and Fast Algorithm for K-Medoids Clustering (2009), section 2. Time of
    a turn O(N (K + F) D) and O(n^2 D) for each cluster of n rows; memory O(N D + block^2).
    """
    if not 1 <= k <= int(free_N.sum()):
        raise InputError("k_medoids", f"1 to {int(free_N.sum())} medoids", str(k))
    vectors = as_tensor(vectors_ND)
    medoids = _spread(vectors, fixed, free_N, k, rng, block)
    for _ in range(iterations):
        cluster = nearest(vectors_ND, vectors_ND[np.concatenate([medoids, fixed])], 1, block=block)[1][:, 0]
        order = np.argsort(cluster, kind="stable")
        ends = np.searchsorted(cluster[order], np.arange(len(medoids) + 1))
        new_medoids = medoids.copy()
        for c, medoid in enumerate(medoids):
            members = order[ends[c] : ends[c + 1]]
            candidates = np.concatenate([[medoid], members[free_N[members] & (members != medoid)]])
            new_medoids[c] = candidates[_sums(vectors[candidates], vectors[members], block).argmin()]
        if np.array_equal(new_medoids, medoids):
            break
        medoids = new_medoids
    return medoids, np.bincount(cluster, minlength=len(medoids) + len(fixed))[: len(medoids)]


def _spread(
    vectors: torch.Tensor, fixed: IntArray, free: BoolArray, k: int, rng: np.random.Generator, block: int
) -> IntArray:
    """Free rows (<= k,) drawn with probability proportional to the squared distance to the fixed and drawn ones."""
    reach = np.where(free, np.inf, 0.0)
    seeds = list[int]()
    for row in fixed.tolist():
        reach = np.minimum(reach, distances_to(vectors, vectors[row], block).cpu().numpy())
    while len(seeds) < k and reach.any():
        mass = reach if np.isfinite(reach).all() else free.astype(np.float64)
        seeds.append(draw(mass, rng))
        reach = np.minimum(reach, distances_to(vectors, vectors[seeds[-1]], block).cpu().numpy())
    return np.asarray(seeds, dtype=np.int64)


def _sums(rows: torch.Tensor, others: torch.Tensor, block: int) -> FloatArray:
    """Sum of the distances of each row to the others (R,)."""
    import torch

    total = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)

    def add(r: slice, _: slice, squared: torch.Tensor) -> None:
        total[r] += squared.sqrt_().sum(1)

    _pairs(rows, _Others(others, block), add)
    sums: FloatArray = total.cpu().numpy()
    return sums


class _Others:
    """Rows that others are compared with, centred and in float64, block by block; computed once with `cache`."""

    def __init__(self, rows: torch.Tensor, block: int, *, cache: bool = False) -> None:
        """Compute the centre, and with `cache` the blocks."""
        import torch

        self.rows, self.block, self.starts = rows, block, range(0, len(rows), block)
        self.centre = rows.mean(0, dtype=torch.float64) if len(rows) else rows.new_zeros(rows.shape[1]).double()
        self.parts = [self._make(start) for start in self.starts] if cache else None

    def part(self, start: int) -> torch.Tensor:
        """The factor of |x|^2 - 2xy + |y|^2 for the block y that begins at `start` (block, D + 2)."""
        return self._make(start) if self.parts is None else self.parts[start // self.block]

    def _make(self, start: int) -> torch.Tensor:
        import torch

        part = self.rows[start : start + self.block] - self.centre
        return torch.cat([part, part.new_ones(len(part), 1), part.square().sum(1, keepdim=True)], 1)


def _pairs(rows: torch.Tensor, others: _Others, visit: Callable[[slice, slice, torch.Tensor], None]) -> None:
    """Call `visit(rows, others, squared)` for all blocks of squared distances (float64), blocks of rows in parallel."""
    import torch

    block = others.block

    def visit_rows(r: slice) -> None:
        left = rows[r] - others.centre
        left = torch.cat([-2 * left, left.square().sum(1, keepdim=True), left.new_ones(len(left), 1)], 1)
        buffer = left.new_empty(len(left) * min(block, len(others.rows)))  # one for all: new memory costs more
        for j in others.starts:
            right = others.part(j)
            squared = buffer[: len(left) * len(right)].view(len(left), len(right))
            visit(r, slice(j, j + block), torch.mm(left, right.T, out=squared).clip_(0))

    side_by_side(visit_rows, len(rows), block)
