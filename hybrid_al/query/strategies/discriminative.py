"""Discriminative active learning: the candidates that a classifier tells apart from the labeled set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import Count, Positive, hyperparameters
from ...core.types import FloatArray, Need, Query
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..linear_head import POOL, STRENGTH, pool_log_odds


@dataclass(frozen=True)
@hyperparameters
class Discriminative:
    """Gissin and Shalev-Shwartz, Discriminative Active Learning (2019), section 3.

    The budget is split into mini-queries. Each fits a logistic regression that tells labels and picks from the pool,
    and picks the candidates that look least labeled. Without labels the first mini-query is random. With R = min(pool,
    rows): `queries` fits of O(steps R D) time, O(queries M D) to score, O(M D) bytes.

    queries   number of mini-queries
    strength  inverse weight of the L2 penalty on the weights, features scaled to unit variance
    rows      a larger pool is represented by a random sample of so many
    """

    queries: Count = 10
    strength: Positive = STRENGTH
    rows: Count = POOL
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Gissin, Shalev-Shwartz: *Discriminative Active Learning*, 2019 (arXiv 1907.06347), section 3",
        passes="0",
        time="queries (min(N, rows) D a step of a fit + M D)",
        memory="M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, mini-query by mini-query; within each, the one that looks least labeled first."""
        check_budget(state, budget)
        vectors = state.vectors(state.candidates, self.metric)
        scale = np.maximum(vectors.std(axis=0, dtype=np.float64), 1e-6).astype(np.float32)
        vectors = vectors / scale
        labeled = state.vectors(state.labels.labeled, self.metric) / scale
        free, picks, reasons = np.ones(len(vectors), dtype=bool), list[int](), list[str]()
        for size in (len(part) for part in np.array_split(np.arange(budget), self.queries)):
            reference = np.concatenate([labeled, vectors[picks]])
            unpicked = np.flatnonzero(free)
            pool = vectors[unpicked if len(unpicked) <= self.rows else rng.choice(unpicked, self.rows, replace=False)]
            odds: FloatArray = np.zeros(len(unpicked))
            if len(reference) and size:
                odds = pool_log_odds(reference, pool, vectors[unpicked], self.strength)
            best = best_first(odds, rng)[:size]
            reasons += [f"unlike what is labeled, log odds {odds[c]:.3g}" if len(reference) else "random" for c in best]
            picks += unpicked[best].tolist()
            free[picks] = False
        return Query(state.candidates[picks], reasons=tuple(reasons))
