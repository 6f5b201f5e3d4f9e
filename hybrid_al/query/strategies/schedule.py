"""From representativeness to uncertainty: the more of the pool has labels near it, the more uncertainty counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ...core.embeddings import Metric
from ...core.registry import hyperparameters
from ...core.types import Need, Query, Scores
from ..base import About, QueryState, check_budget
from ..batches import build_batch
from ..batches.base import BatchParams
from ..cache import with_cache
from ..cover import coverage
from ..terms import Weights, check_terms, fused_terms, standing, term_needs


@dataclass(frozen=True)
@hyperparameters
class Schedule:
    """`hybrid` with two fused scores, weighted 1 - coverage and coverage: ours, as D2ADA and others shift over time.

    The coverage is the share of the pool's samples that have a label within a radius. The radius is the quantile
    `share` of the distances between samples, so one label covers about that share of the pool.

    early, late  weights of terms (see `terms.TERMS`), each fused by mid-ranks
    batch        name and parameters of the batch maker (see `batch.BATCHES`)
    """

    early: Weights = field(default_factory=lambda: {"density": 1.0})
    late: Weights = field(default_factory=lambda: {"entropy": 1.0, "consistency": 1.0})
    batch: BatchParams = field(default_factory=lambda: {"name": "kmeans", "shortlist": 5})
    share: Annotated[float, Field(gt=0, lt=1)] = 0.02
    metric: Metric = "cosine"

    about: ClassVar[About] = About(
        paper="ours; the idea as in Wu et al.: *D2ADA*, ECCV 2022, section 3.3",
        passes="those of the terms",
        time="N L D + those of the terms and of the batch maker",
        memory="N D",
    )

    def __post_init__(self) -> None:
        """Refuse unknown terms and batch makers."""
        check_terms("Schedule.early", self.early)
        check_terms("Schedule.late", self.late)
        build_batch(self.batch, "Schedule.batch")

    @property
    def needs(self) -> frozenset[Need]:
        """What the terms and the batch maker read, and the embeddings."""
        return build_batch(self.batch).needs | term_needs(self.early) | term_needs(self.late) | {"embeddings"}

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the batch maker's order; scores hold the value and each term's mid-rank."""
        check_budget(state, budget)
        state = with_cache(state)
        labeled_share = coverage(state, self.share, self.metric, rng)
        early, ranks = fused_terms(state, self.early)
        late, late_ranks = fused_terms(state, self.late)
        values, ranks = (1 - labeled_share) * early + labeled_share * late, {**ranks, **late_ranks}
        batch = build_batch(self.batch).make(state, values, budget, rng)
        words = f"labels cover {100 * labeled_share:.0f} %"
        return Query(
            state.candidates[batch.picks],
            scores=Scores(state.candidates, values, ranks),
            reasons=tuple("; ".join(filter(None, (words, standing(ranks, p), batch.note))) for p in batch.picks),
        )
