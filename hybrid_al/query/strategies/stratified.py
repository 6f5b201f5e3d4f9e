"""Stratified sampling: a random candidate of each cluster that has no label yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import hyperparameters
from ...core.types import Need, Query
from ..base import About, QueryState, check_budget
from ..clusters import cluster_pool, fewest_labels_first


@dataclass(frozen=True)
@hyperparameters
class Stratified:
    """Cluster the pool into labels + budget clusters; a random candidate of each that has the fewest labels.

    Random sampling with strata (Cochran, Sampling Techniques, 1977, chapter 5): no part of the pool is asked twice
    before another was asked once, as with `kmeans` and `typiclust`, but what is rare or odd in a cluster is asked as
    often as it occurs, where they never ask about it. The largest cluster without labels comes first.
    """

    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Cochran: *Sampling Techniques*, 1977, chapter 5, with clusters for strata",
        passes="0",
        time="N (L + b) D a turn of k-means",
        memory="N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, the one of the largest cluster without labels first."""
        check_budget(state, budget)
        clusters = cluster_pool(state, len(state.labels.labeled) + budget, self.metric, rng)
        picks = fewest_labels_first(clusters, budget, rng.permutation)
        return Query(clusters.samples[[p.row for p in picks]], reasons=tuple(f"drawn from {p.cluster}" for p in picks))
