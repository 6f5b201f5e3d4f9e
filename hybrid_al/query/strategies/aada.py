"""AADA: uncertain candidates that a domain discriminator finds unlike what is labeled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.special

from ...core.registry import Count, Positive, hyperparameters
from ...core.types import Need, Query
from ..base import About, QueryState, check_budget
from ..domains import Discriminator
from ..linear_head import scaled_embeddings
from ..ranking import best_by_value

LARGEST = 10.0  # of the log of the importance weight: beyond it all are as unlike


@dataclass(frozen=True)
@hyperparameters
class AADA:
    """Su et al., Active Adversarial Domain Adaptation (WACV 2020), section 3.3.

    Largest entropy x importance weight (1 - D) / D, with D the probability, by a discriminator of the embeddings, that
    a candidate is of what is labeled (the source, and what was asked). Without labels by entropy alone.

    width  hidden units of the discriminator; `steps` of Adam at `rate`
    """

    width: Count = 128
    steps: Count = 200
    rate: Positive = 1e-3

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings", "predictions"})
    about: ClassVar[About] = About(
        paper="Su et al.: *Active Adversarial Domain Adaptation*, WACV 2020, section 3.3",
        passes="1",
        time="(256 steps + M) width D",
        memory="M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest product, ties in random order."""
        check_budget(state, budget)
        entropy = scipy.special.entr(state.probs().mean(axis=1, dtype=np.float64)).sum(axis=1)
        labeled, others = (scaled_embeddings(state, rows) for rows in (state.labels.labeled, state.candidates))
        odds = Discriminator(self.width, self.steps, self.rate).log_odds(labeled, others, others, rng)
        values = entropy * np.exp(odds.clip(-LARGEST, LARGEST))
        return best_by_value("uncertain and unlike what is labeled", values, state, budget, rng)
