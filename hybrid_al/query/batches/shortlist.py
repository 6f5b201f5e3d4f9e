"""Batch makers over a shortlist of the best-scored candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import Count, hyperparameters
from ...core.types import FloatArray, Need
from ...kernels.distances import k_center
from ...kernels.kmeans import k_means
from ...kernels.weighted_kmeans import weighted_k_means
from ..base import About, QueryState
from .base import Batch, best_first

TURNS = 50  # of k-means


@dataclass(frozen=True)
class TopK:
    """The best-scored candidates, redundant or not."""

    needs: ClassVar[frozenset[Need]] = frozenset()
    about: ClassVar[About] = About(
        paper="-",
        passes="0",
        time="M log M",
        memory="M",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """Largest score first, ties in random order."""
        return Batch(best_first(values_M, rng)[:budget])


@dataclass(frozen=True)
@hyperparameters
class KMeansBatch:
    """Cluster the shortlist (the best shortlist * budget candidates) into `budget` clusters; the best of each.

    labeled  whether labeled samples are centres too, which do not move: what is nearest to one is of no cluster
    """

    shortlist: Count = 5
    metric: Metric = "cosine"
    labeled: bool = True

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="-",
        passes="0",
        time="M log M + shortlist b L D + shortlist b^2 D a turn of k-means",
        memory="(shortlist b + L) D",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """Best-scored first; where clusters are too few, the best of the others fill up, those near a label last."""
        shortlist = best_first(values_M, rng)[: self.shortlist * budget]
        vectors, labeled = state.vectors(state.candidates[shortlist], self.metric), state.labels.labeled
        if self.labeled and len(labeled):
            fixed = state.vectors(labeled, self.metric)
            _, cluster = weighted_k_means(vectors, np.ones(len(vectors)), budget, rng, TURNS, fixed)
        else:
            _, cluster = k_means(vectors, budget, rng, iterations=TURNS)
        clusters, leaders = np.unique(cluster, return_index=True)  # the first of a cluster is its best-scored
        leaders = leaders[clusters >= 0]
        others = np.setdiff1d(np.arange(len(shortlist)), leaders)
        others = others[np.argsort(cluster[others] < 0, kind="stable")][: budget - len(leaders)]
        return Batch(shortlist[np.sort(np.concatenate([leaders, others]))], f"one of {len(leaders)} clusters")


@dataclass(frozen=True)
@hyperparameters
class KCenterBatch:
    """From the shortlist (the best shortlist * budget candidates), each time the one farthest from labels and picks.

    The first pick is the best-scored.
    """

    shortlist: Count = 5
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="-",
        passes="0",
        time="M log M + shortlist b (L + b) D",
        memory="(shortlist b + L) D",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order in which they were picked."""
        shortlist = best_first(values_M, rng)[: self.shortlist * budget]
        samples = np.concatenate([state.candidates[shortlist], state.labels.labeled])
        covered = np.arange(len(shortlist), len(samples))
        picks, _ = k_center(state.vectors(samples, self.metric), covered, budget, first=0)
        return Batch(shortlist[picks], "far from all labeled and picked")
