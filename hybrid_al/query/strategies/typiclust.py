"""TypiClust: the most typical sample of each cluster that has no label yet; the cold start of choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import Count, hyperparameters
from ...core.types import IntArray, Need, Query
from ...kernels.distances import typicality
from ..base import About, QueryState, check_budget
from ..clusters import cluster_pool, fewest_labels_first


@dataclass(frozen=True)
@hyperparameters
class TypiClust:
    """Hacohen, Dekel and Weinshall, Active Learning on a Budget (ICML 2022), section 3.

    Cluster the pool into labels + budget clusters of unit-length self-supervised embeddings; from those with the
    fewest labels, the largest first, take the most typical candidate: the one whose nearest neighbours in the
    cluster are nearest. Deviations are listed in docs/papers.md.

    max_clusters  upper bound of the number of clusters (500 in the paper)
    min_size      smaller clusters come last (6: the paper's code drops clusters of 5 and fewer)
    neighbours    at most so many neighbours count, and at most half of the cluster (20 in the paper)
    """

    max_clusters: Count = 500
    min_size: Count = 6
    neighbours: Count = 20
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Hacohen, Dekel, Weinshall: *Active Learning on a Budget: Opposite Strategies Suit High and Low "
        "Budgets*, ICML 2022, section 3",
        passes="0",
        time="N (L + b) D a turn of k-means, and the squares of the cluster sizes D",
        memory="N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, the one of the largest cluster without labels first."""
        check_budget(state, budget)
        count = len(state.labels.labeled) + budget
        clusters = cluster_pool(state, min(count, self.max_clusters), self.metric, rng)

        def most_typical_first(members: IntArray) -> IntArray:
            neighbours = min(self.neighbours, max(len(members) // 2, 1))
            return members[np.argsort(-typicality(clusters.vectors_of(members), neighbours), kind="stable")]

        picks = fewest_labels_first(clusters, budget, most_typical_first, min_size=self.min_size)
        return Query(
            clusters.samples[[p.row for p in picks]],
            reasons=tuple(f"most typical of {p.cluster}" for p in picks),
        )
