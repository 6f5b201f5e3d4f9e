"""USL: the densest candidate of each cluster, pushed away from the choices of the other clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import Amount, Count, Decay, Positive, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...kernels.distances import nearest, squared_to
from ..base import About, QueryState, check_budget
from ..clusters import Clusters, cluster_pool, fewest_labels_first


@dataclass(frozen=True)
@hyperparameters
class USL:
    """Wang, Lian and Yu, Unsupervised Selective Labeling (ECCV 2022), section 3: without training.

    Clusters and their order are as in TypiClust; of each cluster the candidate of the largest score. The score is the
    inverse mean squared distance to the neighbours in the pool, less `weight` times the crowding: a running mean, over
    `iterations` turns, of the sum of 1 / distance^(2 alpha) to the picks and labels of other clusters. Squares, in
    both, are those of the released code. O(P^2 D + P labels D + iterations P budget D) time, O(P D) bytes, with P
    samples in the pool.
    """

    neighbours: Count = 400
    weight: Amount = 0.5
    alpha: Positive = 0.5
    momentum: Decay = 0.9
    iterations: Count = 10
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Wang, Lian, Yu: *Unsupervised Selective Labeling for More Effective Semi-Supervised Learning*, ECCV "
        "2022, section 3",
        passes="0",
        time="N^2 D + N (L + iterations b) D",
        memory="N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, the one of the largest cluster without labels first."""
        check_budget(state, budget)
        clusters = cluster_pool(state, len(state.labels.labeled) + budget, self.metric, rng)
        density = inverse_mean_square(clusters.vectors, self.neighbours)
        labeled = np.flatnonzero(clusters.labeled & ~clusters.candidate)
        of_labels, crowding = crowd(clusters, labeled, self.alpha), np.zeros(len(density))
        for turn in range(self.iterations):
            score = density - self.weight * crowding

            def best_first(members: IntArray, score: FloatArray = score) -> IntArray:
                return members[np.argsort(-score[members], kind="stable")]

            picks = fewest_labels_first(clusters, budget, best_first)
            if turn + 1 < self.iterations:
                now = of_labels + crowd(clusters, np.asarray([p.row for p in picks]), self.alpha)
                crowding = self.momentum * crowding + (1 - self.momentum) * now
        return Query(
            clusters.samples[[p.row for p in picks]],
            reasons=tuple(f"dense, away from other choices, of {p.cluster}" for p in picks),
        )


def inverse_mean_square(vectors_PD: FloatArray, k: int) -> FloatArray:
    """Inverse mean squared distance to the k nearest other rows (P,), at most 1e12; of a single row 1e12."""
    k = min(k, len(vectors_PD) - 1)
    if k < 1:
        return np.full(len(vectors_PD), 1e12)
    squared, _ = nearest(vectors_PD, vectors_PD, k, exclude_self=True)
    density: FloatArray = 1 / np.maximum(squared.mean(axis=1, dtype=np.float64), 1e-12)
    return density


def crowd(clusters: Clusters, choices: IntArray, alpha: float) -> FloatArray:
    """Sum of 1 / distance^(2 alpha) from each row (P,) to the choices in other clusters."""
    vectors = clusters.vectors
    total = np.zeros(len(vectors))
    for row in choices.tolist():
        squared = squared_to(vectors, vectors[row]).astype(np.float64)
        total += (clusters.cluster != clusters.cluster[row]) / np.maximum(squared, 1e-12) ** alpha
    return total
