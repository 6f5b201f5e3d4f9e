"""k-medoids: the candidates that bring the pool nearest to labels and picks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import Count, hyperparameters
from ...core.types import Need, Query
from ...kernels.similarity import k_medoids
from ..base import About, QueryState, check_budget


@dataclass(frozen=True)
@hyperparameters
class KMedoids:
    """Park and Jun, A Simple and Fast Algorithm for K-Medoids Clustering (2009), with labeled samples as fixed medoids.

    A least sum of distances from the pool to labels and picks, by alternation from k-means++ seeds. Each of at most
    `iterations` turns takes O(P (labels + budget) D) and the sum of the squared cluster sizes times D; O(P D) bytes
    (see `covers.k_medoids`).
    """

    iterations: Count = 50
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Park, Jun: *A Simple and Fast Algorithm for K-Medoids Clustering*, Expert Systems with Applications "
        "2009, section 2",
        passes="0",
        time="iterations (N (L + b) D + the squares of the cluster sizes D) at most",
        memory="N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, those with the most samples around them first; others at random where rows repeat."""
        check_budget(state, budget)
        labeled = state.labels.labeled
        samples = np.concatenate([state.candidates, np.setdiff1d(labeled, state.candidates)])
        free = np.isin(samples, labeled, invert=True) | np.isin(samples, state.candidates)
        fixed = np.flatnonzero(np.isin(samples, labeled) & ~free)
        medoids, sizes = k_medoids(
            state.vectors(samples, self.metric), fixed, free, budget, rng, iterations=self.iterations
        )
        order = np.argsort(-sizes, kind="stable")
        others = rng.permutation(np.setdiff1d(np.flatnonzero(free), medoids))[: budget - len(medoids)]
        reasons = [f"in the middle of {sizes[c]} samples" for c in order]
        fill_reasons = ["a random one: the others are like samples labeled or picked"] * len(others)
        return Query(samples[np.concatenate([medoids[order], others])], reasons=(*reasons, *fill_reasons))
