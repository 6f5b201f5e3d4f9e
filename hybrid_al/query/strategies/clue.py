"""CLUE: clusters of what the model is unsure of, in its own features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.special

from ...core.registry import Count, Positive, hyperparameters
from ...core.types import FloatArray, Need, Query, Scores
from ...kernels.distances import mean_row, squared_to
from ...kernels.weighted_kmeans import representatives, weighted_k_means
from ...scores.ranks import mid_ranks
from ..base import About, QueryState, check_budget
from ..batches.base import fill_by_score, weights_of
from ..last_layer import probs_and_features
from ..terms import standing


@dataclass(frozen=True)
@hyperparameters
class CLUE:
    """The candidate nearest to each centre of a k-means of the model's features, weighted by the entropy in nats.

    Prabhu, Chandrasekaran, Saenko and Hoffman, Active Domain Adaptation via Clustering Uncertainty-Weighted Embeddings
    (ICCV 2021), section 3.2. The features are those that the last layer sees, Euclidean and not scaled. Labeled samples
    take no part, as published; they do in the batch maker `weighted_kmeans`.

    temperature  of the softmax whose entropy weighs: below 1 the unsure count for more (1 in the published code)
    starts       runs of k-means, each from other seeds, of which that of the least weighted inertia counts (10 is the
                 default of scikit-learn at its time, which the published code takes)
    iterations   of a run at most
    """

    temperature: Positive = 1.0
    starts: Count = 10
    iterations: Count = 100

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Prabhu et al.: *Active Domain Adaptation via Clustering Uncertainty-Weighted Embeddings*, ICCV 2021, "
        "section 3.2",
        passes="1",
        time="starts iterations M b D",
        memory="M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, that of the cluster of the largest sum of entropies first; the most unsure fill up."""
        check_budget(state, budget)
        probs, features = probs_and_features(state)
        values = tempered_entropy(probs, self.temperature)
        weights, rows = weights_of("clue", values), np.subtract(features, mean_row(features), dtype=np.float32)
        runs = (weighted_k_means(rows, weights, budget, rng, self.iterations) for _ in range(self.starts))
        centres, cluster = min(runs, key=lambda run: float(weights @ squared_to(rows, run[0][run[1]])))
        picks = fill_by_score(values, representatives(rows, weights, centres, cluster), budget, rng)
        ranks = {"entropy": mid_ranks(values)}
        return Query(
            state.candidates[picks],
            scores=Scores(state.candidates, values, ranks),
            reasons=tuple(f"{standing(ranks, p)}; one of {len(centres)} clusters" for p in picks),
        )


def tempered_entropy(probs_MC: FloatArray, temperature: float) -> FloatArray:
    """Entropy in nats (M,) of the softmax of the logits divided by `temperature`, from the probabilities at 1."""
    with np.errstate(divide="ignore"):
        logits = np.log(probs_MC) / temperature
    entropy: FloatArray = scipy.special.entr(scipy.special.softmax(logits, axis=1)).sum(axis=1)
    return entropy
