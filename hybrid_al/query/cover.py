"""What strategies on embeddings share: shuffled candidates, the rows to cover, distances and density peaks."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field
from scipy.spatial.distance import pdist

from ..core.embeddings import Metric
from ..core.types import BoolArray, FloatArray, IntArray
from ..kernels.distances import nearest, squared_to
from ..kernels.neighbours import MOST, Rows, neighbours
from ..kernels.similarity import nearest_where, similarity_sums
from .base import QueryState

if TYPE_CHECKING:
    import torch

PEAK_SHARE = 0.02  # quantile of the distances that is the cutoff of density peaks: 1 to 2 % in the paper

Neighbours = Annotated[int, Field(ge=1, le=MOST)]
"""How many neighbours of each sample a graph of the pool has."""


@dataclass(frozen=True)
class CoverProblem:
    """The vectors that a batch is to cover, and those that it may be made of.

    candidates  (M,) positions, shuffled so that ties fall at random
    vectors     (M, D) of the candidates
    pool        (B, D) of the samples to cover, labeled ones among them
    labeled     (S, D) of the labeled samples, which cover from the start
    """

    candidates: IntArray
    vectors: FloatArray
    pool: FloatArray
    labeled: FloatArray


def cover_problem(state: QueryState, metric: Metric, rows: int, rng: np.random.Generator) -> CoverProblem:
    """The problem of covering the whole pool, or a random sample of `rows` where it is larger."""
    candidates = rng.permutation(state.candidates)
    pool = np.union1d(state.candidates, state.labels.labeled)
    if len(pool) > rows:
        pool = np.sort(rng.choice(pool, rows, replace=False))
    labeled = state.vectors(state.labels.labeled, metric)
    return CoverProblem(candidates, state.vectors(candidates, metric), state.vectors(pool, metric), labeled)


@dataclass(frozen=True)
class PoolGraph:
    """The whole pool as a graph of neighbours.

    samples     (P,) positions, shuffled so that ties fall at random
    squared     (P, m) squared distances to about the m nearest samples
    rows        (P, m) rows of these neighbours
    candidate   (P,) flags
    to_labeled  (P,) squared distance to the nearest labeled sample, inf where there is none
    """

    samples: IntArray
    squared: FloatArray
    rows: Rows
    candidate: BoolArray
    to_labeled: FloatArray


def pool_graph(state: QueryState, metric: Metric, m: int, rng: np.random.Generator) -> PoolGraph:
    """The graph of m neighbours, or of all where the pool has fewer. Memory: a copy of the pool's vectors, and P m."""
    labeled = state.labels.labeled
    samples = rng.permutation(np.union1d(state.candidates, labeled))
    vectors, to_labeled = state.vectors(samples, metric), np.full(len(samples), np.inf, dtype=np.float32)
    if len(labeled):
        to_labeled = nearest(vectors, state.vectors(labeled, metric), 1)[0][:, 0]
    squared, rows = neighbours(vectors, min(m, len(samples)), rng)
    return PoolGraph(samples, squared, rows, np.isin(samples, state.candidates), to_labeled)


def is_large(state: QueryState, rows: int) -> bool:
    """Whether the pool has more samples than `rows`."""
    return len(np.union1d(state.candidates, state.labels.labeled)) > rows


def cosine(squared: torch.Tensor) -> torch.Tensor:
    """(1 + cos) / 2 of unit vectors: the shift keeps the order of covers, and an empty cover is worth 0."""
    return squared.div_(-4).add_(1).clip_(0)


def distance_to_labeled(vectors_KD: FloatArray, labeled_LD: FloatArray) -> FloatArray:
    """Distance of each row to the nearest of the labeled ones (K,); L is 1 or more."""
    distances: FloatArray = np.sqrt(nearest(vectors_KD, labeled_LD, 1)[0][:, 0])
    return distances


def pair_distances(vectors_ND: FloatArray, rng: np.random.Generator, rows: int = 1000) -> FloatArray:
    """Distances between all pairs of a random sample of the rows; of a single row, [0]."""
    sample = vectors_ND[rng.permutation(len(vectors_ND))[:rows]].astype(np.float64)
    return pdist(sample) if len(sample) > 1 else np.zeros(1)


def density_and_distance(
    state: QueryState, share: float, metric: Metric, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Density of each candidate (M,), and its distance (M,) to the nearest denser or labeled sample of the pool.

    The density is the sum of exp(-(distance / cutoff)^2) over the other samples, the cutoff the quantile `share` of the
    distances between samples. Of equally dense ones one counts as the denser, at random. O(P^2 D) time.
    """
    labeled = state.labels.labeled
    pool = np.union1d(state.candidates, labeled)
    vectors = state.vectors(pool, metric)
    cutoff = float(np.quantile(pair_distances(vectors, rng), share)) or 1.0

    def gaussian(squared: torch.Tensor) -> torch.Tensor:
        return squared.div_(-(cutoff**2)).exp_()

    density = similarity_sums(vectors, vectors, gaussian) - 1
    rank = np.empty(len(pool), dtype=np.int64)
    rank[np.lexsort((rng.random(len(pool)), density))] = np.arange(len(pool))
    distances = nearest_where(vectors, rank, operator.lt)
    distances[rank.argmax()] = np.sqrt(squared_to(vectors, vectors[rank.argmax()]).max())  # nothing is denser
    if len(labeled):
        distances = np.minimum(distances, distance_to_labeled(vectors, state.vectors(labeled, metric)))
    place = np.searchsorted(pool, state.candidates)
    return density[place], distances[place]


def coverage(state: QueryState, share: float, metric: Metric, rng: np.random.Generator) -> float:
    """Share of the pool within the radius of a labeled sample, in [0, 1]; 0 without labels."""
    labeled = state.labels.labeled
    pool = state.vectors(np.union1d(state.candidates, labeled), metric)
    if not len(labeled):
        return 0.0
    radius = float(np.quantile(pair_distances(pool, rng), share))
    squared, _ = nearest(pool, state.vectors(labeled, metric), 1)
    return float((squared[:, 0] <= np.float32(radius) ** 2 + 1e-12).mean())
