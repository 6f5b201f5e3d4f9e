"""k-means sampling: the candidate nearest to the centre of each cluster that has no label yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import hyperparameters
from ...core.types import IntArray, Need, Query
from ...kernels.distances import squared_to
from ..base import About, QueryState, check_budget
from ..clusters import cluster_pool, fewest_labels_first


@dataclass(frozen=True)
@hyperparameters
class KMeans:
    """Pourahmadi et al., A Simple Baseline for Low-Budget Active Learning (2021), section 3; one round's k-means.

    Cluster the pool into labels + budget clusters; from those with the fewest labels, the largest first, take the
    candidate nearest to the centre.
    """

    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Pourahmadi, Nooralinejad, Pirsiavash: *A Simple Baseline for Low-Budget Active Learning*, 2021 "
        "(arXiv 2110.12033)",
        passes="0",
        time="N (L + b) D a turn of k-means",
        memory="N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, the one of the largest cluster without labels first."""
        check_budget(state, budget)
        clusters = cluster_pool(state, len(state.labels.labeled) + budget, self.metric, rng)

        def nearest_first(members: IntArray) -> IntArray:
            centre = clusters.centroids[clusters.cluster[members[0]]]
            return members[np.argsort(squared_to(clusters.vectors_of(members), centre), kind="stable")]

        picks = fewest_labels_first(clusters, budget, nearest_first)
        return Query(
            clusters.samples[[p.row for p in picks]],
            reasons=tuple(f"nearest to the centre of {p.cluster}" for p in picks),
        )
