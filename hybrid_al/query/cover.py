"""What strategies on embeddings share: shuffled candidates, the rows that are to be covered, the scale of distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field
from scipy.spatial.distance import pdist

from ..core.embeddings import Metric
from ..core.types import BoolArray, FloatArray, IntArray
from ..kernels.distances import nearest
from ..kernels.neighbours import MOST, Rows, neighbours
from .base import QueryState

if TYPE_CHECKING:
    import torch

Neighbours = Annotated[int, Field(ge=1, le=MOST)]
"""How many neighbours of each sample a graph of the pool has."""


@dataclass(frozen=True)
class Ground:
    """candidates (M,) positions, shuffled so that ties fall at random, and their vectors (M, D).

    base (B, D): vectors of the pool's samples that are to be covered, labeled ones among them; start (S, D): of the
    labeled ones, which cover already.
    """

    candidates: IntArray
    vectors: FloatArray
    base: FloatArray
    start: FloatArray


def ground(state: QueryState, metric: Metric, rows: int, rng: np.random.Generator) -> Ground:
    """The whole pool to be covered, or a random sample of `rows` where it is larger."""
    candidates = rng.permutation(state.candidates)
    pool = np.union1d(state.candidates, state.labels.labeled)
    if len(pool) > rows:
        pool = np.sort(rng.choice(pool, rows, replace=False))
    start = state.vectors(state.labels.labeled, metric)
    return Ground(candidates, state.vectors(candidates, metric), state.vectors(pool, metric), start)


@dataclass(frozen=True)
class Web:
    """The whole pool on a graph: samples (P,) positions, shuffled so that ties fall at random.

    squared and rows (P, m): squared distances to about the m nearest of the samples, and which; candidate (P,) flags;
    to_labeled (P,) squared distance to the nearest labeled sample, inf where there is none.
    """

    samples: IntArray
    squared: FloatArray
    rows: Rows
    candidate: BoolArray
    to_labeled: FloatArray


def web(state: QueryState, metric: Metric, m: int, rng: np.random.Generator) -> Web:
    """The graph of m neighbours, or of all of a pool of fewer. Memory: a copy of the pool's vectors, and P m."""
    labeled = state.labels.labeled
    samples = rng.permutation(np.union1d(state.candidates, labeled))
    vectors, to_labeled = state.vectors(samples, metric), np.full(len(samples), np.inf, dtype=np.float32)
    if len(labeled):
        to_labeled = nearest(vectors, state.vectors(labeled, metric), 1)[0][:, 0]
    squared, rows = neighbours(vectors, min(m, len(samples)), rng)
    return Web(samples, squared, rows, np.isin(samples, state.candidates), to_labeled)


def is_large(state: QueryState, rows: int) -> bool:
    """Whether the pool has more samples than `rows`."""
    return len(np.union1d(state.candidates, state.labels.labeled)) > rows


def cosine(squared: torch.Tensor) -> torch.Tensor:
    """(1 + cos) / 2 of unit vectors: the shift keeps the order of covers and makes nothing served worth 0."""
    return squared.div_(-4).add_(1).clip_(0)


def pair_distances(vectors_ND: FloatArray, rng: np.random.Generator, rows: int = 1000) -> FloatArray:
    """Distances between all pairs of a random sample of the rows; of a single row, [0]."""
    drawn = vectors_ND[rng.permutation(len(vectors_ND))[:rows]].astype(np.float64)
    return pdist(drawn) if len(drawn) > 1 else np.zeros(1)


def coverage(state: QueryState, share: float, metric: Metric, rng: np.random.Generator) -> float:
    """Share of the pool within the radius of a labeled sample, in [0, 1]; 0 without labels."""
    labeled = state.labels.labeled
    pool = state.vectors(np.union1d(state.candidates, labeled), metric)
    if not len(labeled):
        return 0.0
    radius = float(np.quantile(pair_distances(pool, rng), share))
    squared, _ = nearest(pool, state.vectors(labeled, metric), 1)
    return float((squared[:, 0] <= np.float32(radius) ** 2 + 1e-12).mean())
