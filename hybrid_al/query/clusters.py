"""Clusters of the pool, and the order in which strategies pick from them: fewest labels first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..core.embeddings import Metric
from ..core.types import BoolArray, FloatArray, IntArray
from ..kernels.distances import closest, squared_to
from ..kernels.kmeans import k_means
from .base import QueryState


@dataclass(frozen=True)
class Clusters:
    """k-means clusters of the pool's P samples: candidates and labeled ones together, no others.

    samples    (P,) positions in the manifest
    embed      positions -> their vectors
    cluster    (P,) in 0..K-1
    centroids  (K, D)
    labeled, candidate  (P,) flags
    """

    samples: IntArray
    embed: Callable[[IntArray], FloatArray]
    cluster: IntArray
    centroids: FloatArray
    labeled: BoolArray
    candidate: BoolArray

    @property
    def vectors(self) -> FloatArray:
        """A copy of the vectors of all samples (P, D); for a large pool see `vectors_of`."""
        return self.embed(self.samples)

    def vectors_of(self, rows: IntArray) -> FloatArray:
        """A copy of the vectors (K, D) of some rows."""
        return self.embed(self.samples[rows])


@dataclass(frozen=True)
class ClusterPick:
    """A row of `Clusters`, the size of its cluster, and how many `labels` and earlier picks the cluster has."""

    row: int
    size: int
    labels: int

    @property
    def cluster(self) -> str:
        """The cluster in words."""
        labels = f"{self.labels} labeled or picked" if self.labels else "no label yet"
        return f"a cluster of {self.size} with {labels}"


def cluster_pool(state: QueryState, k: int, metric: Metric, rng: np.random.Generator) -> Clusters:
    """The pool in at most k clusters, none empty. Memory: one copy of the pool's vectors, while it runs."""
    labeled = state.labels.labeled
    samples = np.union1d(state.candidates, labeled)
    embed = partial(state.vectors, metric=metric)
    centroids, cluster = k_means(embed(samples), k, rng, overwrite=True)
    return Clusters(samples, embed, cluster, centroids, np.isin(samples, labeled), np.isin(samples, state.candidates))


def fewest_labels_first(
    clusters: Clusters, budget: int, best_first: Callable[[IntArray], IntArray], *, min_size: int = 1
) -> list[ClusterPick]:
    """`budget` candidates, one by one: each the best left in the cluster with the fewest labels and picks.

    Of clusters with equally few, the largest comes first. `best_first` sorts the candidate rows of one cluster.
    Clusters below `min_size` are asked only when the others have no candidate left, so the budget is always met.
    """
    sizes = np.bincount(clusters.cluster)
    counts = np.bincount(clusters.cluster[clusters.labeled], minlength=len(sizes))
    members = np.split(np.argsort(clusters.cluster, kind="stable"), sizes.cumsum()[:-1])
    queue = [(size < min_size, int(counts[c]), -int(size), c) for c, size in enumerate(sizes)]
    heapq.heapify(queue)
    waiting: dict[int, Iterator[int]] = {}
    picks: list[ClusterPick] = []
    while len(picks) < budget:
        small, count, negative_size, c = heapq.heappop(queue)
        if c not in waiting:
            rows = members[c][clusters.candidate[members[c]]]
            waiting[c] = iter(best_first(rows).tolist() if len(rows) else [])
        row = next(waiting[c], None)
        if row is not None:
            picks.append(ClusterPick(row, -negative_size, count))
            heapq.heappush(queue, (small, count + 1, negative_size, c))
    return picks


def nearest_to_centres(rows_KD: FloatArray, k: int, rng: np.random.Generator) -> IntArray:
    """The row nearest to the centre of each of at most k k-means clusters, that of the largest cluster first."""
    centres, cluster = k_means(rows_KD, k, rng)
    squared = squared_to(rows_KD, centres[cluster])
    order = np.argsort(-np.bincount(cluster), kind="stable")
    return np.array([np.flatnonzero(cluster == c)[squared[cluster == c].argmin()] for c in order])


def agglomerative(vectors_PD: FloatArray, k: int, rows: int, rng: np.random.Generator) -> IntArray:
    """Average linkage of the rows into at most k clusters, none empty, 0 to K - 1 (P,).

    Of more than `rows` rows a random sample is clustered, and the others go with the nearest mean of a cluster.
    O(rows^2 D) time and O(rows^2) memory.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(vectors_PD) < 2:
        return np.zeros(len(vectors_PD), dtype=np.int64)
    sample = vectors_PD
    if len(sample) > rows:
        sample = vectors_PD[np.sort(rng.choice(len(vectors_PD), rows, replace=False))]
    cluster = fcluster(linkage(sample.astype(np.float64), "average"), k, "maxclust").astype(np.int64) - 1
    if len(sample) == len(vectors_PD):
        return cluster
    means = np.stack([sample[cluster == c].mean(axis=0, dtype=np.float64) for c in range(cluster.max() + 1)])
    return np.unique(closest(vectors_PD, means.astype(np.float32)), return_inverse=True)[1]
