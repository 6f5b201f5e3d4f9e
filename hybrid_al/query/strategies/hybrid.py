"""The hybrid strategy: a rank-fused score of named terms, and a batch maker. The hybrid link ends here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ...core.registry import hyperparameters
from ...core.types import Need, Query, Scores
from ...scores.ranks import Fusion
from ..base import About, QueryState, check_budget
from ..batches import build_batch
from ..batches.base import BatchParams
from ..cache import with_cache
from ..terms import Weights, check_terms, fused_terms, standing, term_needs


@dataclass(frozen=True)
@hyperparameters
class Hybrid:
    """Ask where the model is uncertain and its pseudo-labels were unsteady in training, spread in embedding space.

    score  weight of each term (see `terms.TERMS`); terms are fused by mid-ranks, so their scales do not matter
    batch  name and parameters of the batch maker (see `batch.BATCHES`)
    fusion mean | product | max of the mid-ranks, see `scores.ranks.fuse`
    """

    score: Weights = field(default_factory=lambda: {"entropy": 1.0, "consistency": 1.0})
    batch: BatchParams = field(default_factory=lambda: {"name": "kmeanspp", "power": 4.0})
    fusion: Fusion = "mean"

    about: ClassVar[About] = About(
        paper="ours",
        passes="those of the terms",
        time="that of the terms and of the batch maker",
        memory="that of the terms and of the batch maker",
    )

    def __post_init__(self) -> None:
        """Refuse unknown terms, weights that are all 0, and unknown batch makers."""
        check_terms("Hybrid.score", self.score)
        build_batch(self.batch, "Hybrid.batch")

    @property
    def needs(self) -> frozenset[Need]:
        """What the terms and the batch maker read."""
        return build_batch(self.batch).needs | term_needs(self.score)

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the batch maker's order; scores hold the fused value and each term's mid-rank."""
        check_budget(state, budget)
        state = with_cache(state)
        values, ranks = fused_terms(state, self.score, self.fusion)
        batch = build_batch(self.batch).make(state, values, budget, rng)
        return Query(
            state.candidates[batch.picks],
            scores=Scores(state.candidates, values, ranks),
            reasons=tuple("; ".join(filter(None, (standing(ranks, p), batch.note))) for p in batch.picks),
        )
