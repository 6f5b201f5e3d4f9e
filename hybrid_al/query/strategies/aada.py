"""AADA: uncertain candidates that a domain discriminator finds unlike what is labeled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import scipy.special

from ...core.registry import Count, Positive, hyperparameters
from ...core.types import FloatArray, Need, Query
from ..base import About, QueryState, check_budget
from ..domains import Discriminator
from ..last_layer import probs_and_features
from ..linear_head import scaled_embeddings
from ..ranking import best_by_value

LARGEST = 10.0  # of the log of the importance weight: beyond it all are as unlike


@dataclass(frozen=True)
@hyperparameters
class AADA:
    """Su et al., Active Adversarial Domain Adaptation (WACV 2020), section 3.3.

    Largest entropy x importance weight (1 - D) / D, with D the probability, by a discriminator, that a candidate is of
    what is labeled (the source, and what was asked). Without labels by entropy alone. Its training is the objective
    `dann` with `known: labeled`.

    by     what the discriminator sees: "embeddings" of stage 0, or the "features" that the training made
    width  hidden units of the discriminator; `steps` of Adam at `rate`
    """

    by: Literal["embeddings", "features"] = "embeddings"
    width: Count = 128
    steps: Count = 200
    rate: Positive = 1e-3

    about: ClassVar[About] = About(
        paper="Su et al.: *Active Adversarial Domain Adaptation*, WACV 2020, section 3.3",
        passes="1; features 1 over the labels too",
        time="(256 steps + M) width D",
        memory="M D",
    )

    @property
    def needs(self) -> frozenset[Need]:
        """Predictions, and what the discriminator sees."""
        return frozenset({"features"} if self.by == "features" else {"embeddings", "predictions"})

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest product, ties in random order."""
        check_budget(state, budget)
        probs, labeled, others = self._sides(state)
        entropy = scipy.special.entr(probs).sum(axis=1)
        odds = Discriminator(self.width, self.steps, self.rate).log_odds(labeled, others, others, rng)
        values = entropy * np.exp(odds.clip(-LARGEST, LARGEST))
        return best_by_value("uncertain and unlike what is labeled", values, state, budget, rng)

    def _sides(self, state: QueryState) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Probabilities (M, C) of the candidates; the rows of labels (L, D) and candidates (M, D) to tell apart."""
        known = state.labels.labeled
        if self.by == "embeddings":
            probs = state.probs().mean(axis=1, dtype=np.float64)
            return probs, scaled_embeddings(state, known), scaled_embeddings(state, state.candidates)
        probs, others = probs_and_features(state)
        own = probs_and_features(replace(state, candidates=known))[1] if len(known) else others[:0]
        both = np.concatenate([own, others]).astype(np.float64)
        both = (both - both.mean(axis=0)) / np.maximum(both.std(axis=0), 1e-6)
        return probs, both[: len(own)], both[len(own) :]
