"""CSVAL: from every cluster the candidates that were hard to tell from others in contrastive pretraining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import Count, hyperparameters
from ...core.types import IntArray, Need, Query
from ...scores.ranks import mid_ranks
from ..base import About, QueryState, check_budget
from ..clusters import cluster_pool, fewest_labels_first

By = Literal["both", "confidence", "variability"]


@dataclass(frozen=True)
@hyperparameters
class CSVAL:
    """Cluster-balanced and hard to contrast: of each cluster the candidate that stage 0 was least sure of.

    The axes are those of a dataset map: mean (confidence) and spread (variability), over the epochs of pretraining, of
    the probability of the right answer. Clusters and their order as in TypiClust.

    by        what is low for the hardest: confidence, variability, or both (the mean of their mid-ranks in the pool)
    clusters  number of clusters; None: labels + budget
    """

    by: By = "both"
    clusters: Count | None = None
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings", "stage0"})
    about: ClassVar[About] = About(
        paper="Chen et al.: *Making Your First Choice: To Address Cold Start Problem in Vision Active Learning*, "
        "MIDL 2023, section 3",
        passes="0",
        time="N (L + b) D a turn of k-means",
        memory="N D",
    )

    @property
    def records(self) -> tuple[str, ...]:
        """What it reads of the records of stage 0."""
        return ("confidence", "variability") if self.by == "both" else (self.by,)

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, the one of the largest cluster without labels first, ties in random order."""
        check_budget(state, budget)
        clusters = cluster_pool(state, self.clusters or len(state.labels.labeled) + budget, self.metric, rng)
        ease = sum((mid_ranks(state.record(axis, clusters.samples)) for axis in self.records), start=np.zeros(1))
        order = np.lexsort((rng.random(len(clusters.samples)), ease))
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))

        def hardest_first(members: IntArray) -> IntArray:
            return members[np.argsort(place[members])]

        picks = fewest_labels_first(clusters, budget, hardest_first)
        return Query(
            clusters.samples[[p.row for p in picks]],
            reasons=tuple(f"hardest to contrast ({' and '.join(self.records)}) of {p.cluster}" for p in picks),
        )
