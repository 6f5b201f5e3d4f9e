"""Batch makers that ask clusters in turns: those that the best-scored form, and those of the pool without a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..embeddings import Metric
from ..types import FloatArray, IntArray, Need
from .base import About, QueryState
from .batch_base import Batch, best_first, check_metric, check_whole, weights_of
from .clusters import cluster_pool, fewest_labels_first


@dataclass(frozen=True)
class ClusterMarginBatch:
    """Agglomerative clusters (average linkage) of the best shortlist * budget candidates; one of each in turns.

    A turn goes from the smallest cluster to the largest; within a cluster the order is random, as published.

    size  mean number of candidates in a cluster
    """

    shortlist: int = 10
    size: int = 10
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Citovsky et al.: *Batch Active Learning at Scale*, NeurIPS 2021, algorithm 1",
        passes="0",
        time="(shortlist b)^2 (D + log)",
        memory="(shortlist b)^2 / 2",
    )

    def __post_init__(self) -> None:
        """Refuse values that no shortlist and no cluster can have."""
        check_whole("batch.shortlist", self.shortlist)
        check_whole("batch.size", self.size)
        check_metric(self.metric)

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the turns."""
        from scipy.cluster.hierarchy import fcluster, linkage

        shortlist = rng.permutation(best_first(values_M, rng)[: self.shortlist * budget])
        cluster = np.zeros(len(shortlist), dtype=np.int64)
        if len(shortlist) > 1:
            vectors = state.vectors(state.candidates[shortlist], self.metric).astype(np.float64)
            found = fcluster(linkage(vectors, "average"), -(-len(shortlist) // self.size), "maxclust")
            cluster = found.astype(np.int64) - 1
        sizes = np.bincount(cluster)
        together = np.argsort(cluster, kind="stable")
        turn = np.empty(len(cluster), dtype=np.int64)  # of each in its cluster
        turn[together] = np.arange(len(cluster)) - np.searchsorted(cluster[together], cluster[together])
        order = np.lexsort((cluster, sizes[cluster], turn))
        return Batch(shortlist[order[:budget]], f"in turns from {len(sizes)} clusters")


@dataclass(frozen=True)
class UncoveredBatch:
    """The pool in labels + budget clusters; of those with the fewest labels, the largest sum of scores first, the best.

    TypiClust with the scores in the place of size and typicality: where the model is unsure of much that is unlike all
    labels.

    max_clusters  upper bound of the number of clusters
    min_size      smaller clusters are asked last
    """

    max_clusters: int = 500
    min_size: int = 6
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="ours; clusters as in Hacohen, Dekel, Weinshall: *Active Learning on a Budget*, ICML 2022, section 3",
        passes="0",
        time="N (L + b) D a turn of k-means",
        memory="N D",
    )

    def __post_init__(self) -> None:
        """Refuse values that no cluster can have."""
        check_whole("batch.max_clusters", self.max_clusters)
        check_whole("batch.min_size", self.min_size)
        check_metric(self.metric)

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """The cluster of the largest sum of scores first; ties within a cluster in random order."""
        wanted = min(len(state.labels.labeled) + budget, self.max_clusters)
        clusters = cluster_pool(state, wanted, self.metric, rng)
        order = np.argsort(state.candidates)
        place = np.full(len(clusters.samples), -1)
        place[clusters.candidate] = order[
            np.searchsorted(state.candidates[order], clusters.samples[clusters.candidate])
        ]
        weights = np.where(clusters.candidate, weights_of("uncovered", values_M)[place], 0.0)
        rank = np.empty(len(values_M), dtype=np.int64)
        rank[best_first(values_M, rng)] = np.arange(len(values_M))

        def best_of(members: IntArray) -> IntArray:
            return members[np.argsort(rank[place[members]])]

        picks = fewest_labels_first(clusters, budget, best_of, min_size=self.min_size, weights=weights)
        return Batch(place[[p.row for p in picks]], f"one of {len(clusters.centroids)} clusters of the pool")
