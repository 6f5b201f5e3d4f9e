"""Cluster-Margin: the best-scored candidates, in turns from the clusters that they form, the smallest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import Count, hyperparameters
from ...core.types import FloatArray, Need
from ..base import About, QueryState
from ..clusters import agglomerative
from .base import Batch, best_first, place_in_group


@dataclass(frozen=True)
@hyperparameters
class ClusterMarginBatch:
    """From the best shortlist * budget candidates, one of each agglomerative cluster of the pool in turns.

    A turn goes from the cluster with the fewest of the shortlist to that with the most; within a cluster the order is
    random, as published. The clusters (average linkage) depend on the pool alone, so they are those of every round.

    size  mean number of samples in a cluster
    rows  of a larger pool so many are clustered, and the others go with the nearest mean
    """

    shortlist: Count = 10
    size: Count = 10
    rows: Count = 5000
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Citovsky et al.: *Batch Active Learning at Scale*, NeurIPS 2021, algorithm 1",
        passes="0",
        time="B^2 (D + log B) + N D B / size, B = min(N, rows)",
        memory="B^2 / 2 + N D",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the turns."""
        shortlist = rng.permutation(best_first(values_M, rng)[: self.shortlist * budget])
        pool = np.union1d(state.candidates, state.labels.labeled)
        vectors, count = state.vectors(pool, self.metric), -(-len(pool) // self.size)
        of_pool = agglomerative(vectors, count, self.rows, np.random.default_rng(0))  # of the pool, not of the round
        places = np.searchsorted(pool, state.candidates[shortlist])
        cluster = np.unique(of_pool[places], return_inverse=True)[1]
        sizes = np.bincount(cluster)
        order = np.lexsort((cluster, sizes[cluster], place_in_group(cluster)))
        return Batch(shortlist[order[:budget]], f"in turns from {len(sizes)} clusters")
