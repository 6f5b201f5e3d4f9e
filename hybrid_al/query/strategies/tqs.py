"""TQS: candidates on which a committee disagrees, with a small margin, that look like the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.special

from ...core.registry import Amount, Count, Positive, hyperparameters
from ...core.types import FloatArray, Need, Query, Scores
from ...scores.ranks import mid_ranks
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..domains import Discriminator, of_source
from ..linear_head import fitted_head, scaled_embeddings
from ..terms import standing


@dataclass(frozen=True)
@hyperparameters
class TQS:
    """Fu et al., Transferable Query Selection for Active Domain Adaptation (CVPR 2021), section 3.2.

    Sum of the committee's disagreement (standard deviation of the members' probabilities, mean over classes), of 1 -
    margin, and of `domainness` times the probability that a discriminator gives the target. Of the share of candidates
    that the model probably has wrong, the largest sums, as many as the budget are drawn at random.

    members     heads on embeddings, each fitted to a bootstrap of the labels; `strength` inverse of their penalty
    domainness  weight of the probability of the target
    width       hidden units of the discriminator; `steps` of Adam at `rate`
    """

    members: Count = 5
    strength: Positive = 0.01
    domainness: Amount = 1.0
    width: Count = 128
    steps: Count = 200
    rate: Positive = 1e-3

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings", "predictions", "domains"})
    about: ClassVar[About] = About(
        paper="Fu et al.: *Transferable Query Selection for Active Domain Adaptation*, CVPR 2021, section 3.2",
        passes="1",
        time="members (L D a step of a fit + M C D) + (256 steps + M) width D",
        memory="M (D + members C)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` of the candidates that are probably wrong, drawn at random."""
        check_budget(state, budget)
        probs = np.sort(state.probs().mean(axis=1, dtype=np.float64), axis=1)
        others = scaled_embeddings(state, state.candidates)
        values = 1 - (probs[:, -1] - probs[:, -2]) + self._disagreement(state, others, probs.shape[1], rng)
        if self.domainness:
            source = scaled_embeddings(state, state.labels.labeled[of_source(state)])
            odds = Discriminator(self.width, self.steps, self.rate).log_odds(source, others, others, rng)
            values = values + self.domainness * scipy.special.expit(odds)
        wrong = int(np.clip(round((1 - probs[:, -1].mean()) * len(probs)), budget, len(probs)))
        drawn = rng.permutation(best_first(values, rng)[:wrong])[:budget]
        ranks = {"disagreement, margin and domainness": mid_ranks(values)}
        reasons = tuple(standing(ranks, p) for p in drawn)
        return Query(state.candidates[drawn], scores=Scores(state.candidates, values, ranks), reasons=reasons)

    def _disagreement(
        self, state: QueryState, rows_MD: FloatArray, classes: int, rng: np.random.Generator
    ) -> FloatArray:
        """Deviation of the members' probabilities (M,), mean over classes; 0 where there is one class."""
        labeled = state.labels.labeled
        targets = state.labels.class_targets() if len(labeled) else np.empty(0, dtype=np.int64)
        if len(np.unique(targets)) < 2:
            return np.zeros(len(rows_MD))
        vectors = scaled_embeddings(state, labeled)
        probs = np.zeros((self.members, len(rows_MD), max(classes, int(targets.max()) + 1)))
        for member in probs:
            drawn = rng.integers(len(labeled), size=len(labeled))
            present = np.unique(targets[drawn])
            if len(present) < 2:
                member[:, present] = 1
                continue
            settings = {"C": self.strength, "class_weight": "balanced", "max_iter": 1_000}
            head = fitted_head(vectors[drawn], targets[drawn], **settings)
            member[:, present] = head.predict_proba(rows_MD)
        deviation: FloatArray = probs.std(axis=0).mean(axis=1)
        return deviation
