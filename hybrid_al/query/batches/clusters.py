"""Cluster-Margin: the best-scored candidates, in turns from the clusters that they form, the smallest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import Count, hyperparameters
from ...core.types import FloatArray, Need
from ..base import About, QueryState
from .base import Batch, best_first, place_in_group


@dataclass(frozen=True)
@hyperparameters
class ClusterMarginBatch:
    """Agglomerative clusters (average linkage) of the best shortlist * budget candidates; one of each in turns.

    A turn goes from the smallest cluster to the largest; within a cluster the order is random, as published.

    size  mean number of candidates in a cluster
    """

    shortlist: Count = 10
    size: Count = 10
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Citovsky et al.: *Batch Active Learning at Scale*, NeurIPS 2021, algorithm 1",
        passes="0",
        time="(shortlist b)^2 (D + log)",
        memory="(shortlist b)^2 / 2",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the turns."""
        from scipy.cluster.hierarchy import fcluster, linkage

        shortlist = rng.permutation(best_first(values_M, rng)[: self.shortlist * budget])
        cluster = np.zeros(len(shortlist), dtype=np.int64)
        if len(shortlist) > 1:
            vectors = state.vectors(state.candidates[shortlist], self.metric).astype(np.float64)
            numbers = fcluster(linkage(vectors, "average"), -(-len(shortlist) // self.size), "maxclust")
            cluster = numbers.astype(np.int64) - 1
        sizes = np.bincount(cluster)
        order = np.lexsort((cluster, sizes[cluster], place_in_group(cluster)))
        return Batch(shortlist[order[:budget]], f"in turns from {len(sizes)} clusters")
