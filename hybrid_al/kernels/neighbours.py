"""The m nearest neighbours of every row of a large pool, approximately, and greedy covers on the graph of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy.sparse

from ..core.types import BoolArray, FloatArray, IntArray
from ..errors import InputError
from .distances import BLOCK, as_tensor
from .greedy import lazy_greedy
from .kmeans import k_means
from .similarity import Similarity
from .threads import alone, side_by_side

if TYPE_CHECKING:
    import torch

MOST = 64  # neighbours
Rows = npt.NDArray[np.int32]


@alone()
def neighbours(
    vectors_ND: FloatArray, m: int, rng: np.random.Generator, *, size: int = 512, probes: int = 8
) -> tuple[FloatArray, Rows]:
    """Squared distances (N, m) of each row to its m nearest rows, itself among them, and their indices (N, m).

    Approximate: a k-means of a sample gives buckets of about `size` rows, and only the `probes` buckets nearest to a
    row's own are searched; exact where there are no more buckets. A bucket takes one matrix product in float32 of rows
    less its centre. Time O(N probes size D), memory O(N m) beside the rows.
    """
    n = len(vectors_ND)
    if not 1 <= m <= min(n, MOST):
        raise InputError("neighbours", f"1 to {min(n, MOST)} of them", str(m))
    vectors, count = as_tensor(vectors_ND), max(n // size, 1)
    centres, _ = k_means(
        vectors_ND[np.sort(rng.permutation(n)[: 64 * count])], count, rng, iterations=10, overwrite=True
    )
    home = _nearest_centre(vectors, centres)
    order = np.argsort(home, kind="stable")
    members = np.split(order, np.bincount(home, minlength=len(centres)).cumsum()[:-1])
    sizes = np.array([len(rows) for rows in members])
    squared, rows = np.empty((n, m), dtype=np.float32), np.empty((n, m), dtype=np.int32)

    def search(clusters: slice) -> None:
        for c in range(clusters.start, clusters.stop):
            near = np.argsort(np.square(centres - centres[c]).sum(axis=1), kind="stable")
            probed = max(probes, 1 + int(sizes[near].cumsum().searchsorted(m)))
            others = np.concatenate([members[b] for b in near[:probed]])
            centre = as_tensor(centres[c])
            distances, place = _nearest_of(vectors[members[c]] - centre, vectors[others] - centre, m)
            squared[members[c]], rows[members[c]] = distances, others[place]

    side_by_side(search, len(centres), 1)
    return squared, rows


def _nearest_centre(vectors: torch.Tensor, centres_KD: FloatArray) -> IntArray:
    import torch

    mean, home = as_tensor(centres_KD.mean(axis=0)), np.empty(len(vectors), dtype=np.int64)
    centres = as_tensor(centres_KD) - mean
    norms = centres.square().sum(1)

    def look(part: slice) -> None:
        home[part] = torch.addmm(norms, vectors[part] - mean, centres.T, alpha=-2).argmin(1).cpu().numpy()

    side_by_side(look, len(vectors), BLOCK)
    return home


def _nearest_of(rows: torch.Tensor, others: torch.Tensor, m: int) -> tuple[FloatArray, IntArray]:
    """Squared distances (R, m) of rows to the nearest of the others, and their indices (R, m)."""
    import torch

    squared, place = np.empty((len(rows), m), dtype=np.float32), np.empty((len(rows), m), dtype=np.int64)
    norms = others.square().sum(1)
    for start in range(0, len(rows), 1024):
        part = rows[start : start + 1024]
        distance = torch.addmm(norms, part, others.T, alpha=-2).add_(part.square().sum(1, keepdim=True)).clip_(0)
        best, which = distance.topk(m, dim=1, largest=False)
        squared[start : start + 1024], place[start : start + 1024] = best.cpu().numpy(), which.cpu().numpy()
    return squared, place


def graph_ball_cover(
    squared_Nm: FloatArray, rows_Nm: Rows, candidate_N: BoolArray, uncovered_N: BoolArray, radius: float, budget: int
) -> tuple[IntArray, IntArray]:
    """`radius.ball_cover` on the graph: a candidate covers a row only if it is among the row's neighbours.

    Picks, rows of the pool, and the rows that each is first to cover. Time and memory O(N m).
    """
    keep = (squared_Nm < radius**2) & candidate_N[rows_Nm] & uncovered_N[:, None]
    ends = np.concatenate([[0], keep.sum(axis=1).cumsum()])
    edges = rows_Nm[keep]
    to_candidates = scipy.sparse.csr_array((np.ones(len(edges), np.int8), edges, ends), shape=(len(keep), len(keep)))
    holders = to_candidates.tocsc()
    reach, uncovered = np.bincount(edges, minlength=len(keep)), uncovered_N.copy()
    picks, gains = list[int](), list[int]()
    while len(picks) < budget and reach.max() > 0:
        pick = int(reach.argmax())
        offers = holders.indices[holders.indptr[pick] : holders.indptr[pick + 1]]
        new_rows = offers[uncovered[offers]]
        uncovered[new_rows] = False
        picks.append(pick)
        gains.append(len(new_rows))
        np.subtract.at(reach, to_candidates[new_rows].indices, 1)
    return np.asarray(picks, dtype=np.int64), np.asarray(gains, dtype=np.int64)


def graph_similarity_cover(
    squared_Nm: FloatArray,
    rows_Nm: Rows,
    candidate_N: BoolArray,
    coverage_N: FloatArray,
    similarity: Similarity,
    budget: int,
) -> tuple[IntArray, FloatArray]:
    """`similarity.similarity_cover` on the graph: a candidate covers a row only if it is among the row's neighbours.

    coverage_N: largest similarity of each row so far. Picks, rows of the pool, and the gain of each. Time and memory
    O(N m).
    """
    import torch

    n, m = squared_Nm.shape
    similarities = np.empty((n, m), dtype=np.float32)
    for i in range(0, n, BLOCK):
        similarities[i : i + BLOCK] = similarity(torch.from_numpy(squared_Nm[i : i + BLOCK].astype(np.float64))).numpy()
    ends = np.arange(0, n * m + 1, m)
    offers = scipy.sparse.csr_array((similarities.ravel(), rows_Nm.ravel(), ends), shape=(n, n)).tocsc()
    del similarities
    candidates, coverage = np.flatnonzero(candidate_N), coverage_N.astype(np.float32)

    def gains(places: IntArray) -> FloatArray:
        sums = np.empty(len(places))
        for i in range(0, len(places), BLOCK):
            part = offers[:, candidates[places[i : i + BLOCK]]]
            additions = (part.data - coverage[part.indices]).clip(0)
            column = np.repeat(np.arange(part.shape[1]), np.diff(part.indptr))
            sums[i : i + BLOCK] = np.bincount(column, additions, minlength=part.shape[1])
        return sums

    def take(place: int) -> None:
        span = slice(*offers.indptr[candidates[place] : candidates[place] + 2])
        coverage[offers.indices[span]] = np.maximum(coverage[offers.indices[span]], offers.data[span])

    picks, values = lazy_greedy(gains, take, len(candidates), budget)
    return candidates[picks], values
