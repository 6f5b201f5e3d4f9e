"""Batch makers that leave out some candidates, then let another batch maker choose."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ...core.registry import Count, Decay, hyperparameters
from ...core.types import FloatArray, Need
from ...scores.samples import Fusion
from ..base import About, QueryState
from ..terms import Weights, check_terms, fused_terms, predicted_once, term_needs
from .base import Batch, BatchMaker, BatchParams, best_first, place_in_group, rest_by_score


@dataclass(frozen=True)
@hyperparameters
class PerGroupBatch:
    """At most `most` images of a group (patient, volume, slide): the best-scored of each, then another batch maker.

    Where the groups hold fewer than the budget in all, the best of the rest fill up. Cost: a sort, and that of `batch`.
    """

    most: Count = 1
    batch: BatchParams = field(default_factory=lambda: {"name": "topk"})

    about: ClassVar[About] = About(
        paper="ours",
        passes="those of batch",
        time="M log M, and that of batch",
        memory="M",
    )

    def __post_init__(self) -> None:
        """Refuse unknown batch makers."""
        _inside(self)

    @property
    def needs(self) -> frozenset[Need]:
        """What the batch maker inside reads."""
        return _inside(self).needs

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the batch maker inside."""
        order = best_first(values_M, rng)
        group = state.groups[state.candidates[order]]
        kept = np.sort(order[place_in_group(group) < self.most])
        inside = replace(state, candidates=state.candidates[kept])
        made = _inside(self).make(inside, values_M[kept], min(budget, len(kept)), rng)
        note = "; ".join(filter(None, (made.note, f"at most {self.most} of a group")))
        return Batch(rest_by_score(values_M, kept[made.picks], budget, rng), note)


@dataclass(frozen=True)
@hyperparameters
class TwoStageBatch:
    """The `keep` * budget best-scored, ranked anew by other terms, then another batch maker.

    Suggestive annotation, EADA and DUC filter so. Cost: that of the terms and of `batch`.

    score   weight of each term (see `terms.TERMS`), fused by mid-ranks among those kept
    fusion  mean | product | max, see `scores.fuse`
    """

    keep: Count = 5
    score: Weights = field(default_factory=lambda: {"margin": 1.0})
    fusion: Fusion = "mean"
    batch: BatchParams = field(default_factory=lambda: {"name": "topk"})

    about: ClassVar[About] = About(
        paper="as suggestive annotation (MICCAI 2017), EADA (AAAI 2022) and DUC (ICLR 2023) filter",
        passes="those of the terms and of batch",
        time="M log M, and that of the terms and of batch",
        memory="M",
    )

    def __post_init__(self) -> None:
        """Refuse unknown terms and batch makers."""
        check_terms("TwoStageBatch.score", self.score)
        _inside(self)

    @property
    def needs(self) -> frozenset[Need]:
        """What the terms and the batch maker inside read."""
        return _inside(self).needs | term_needs(self.score)

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the batch maker inside."""
        kept = np.sort(best_first(values_M, rng)[: self.keep * budget])
        inside = predicted_once(replace(state, candidates=state.candidates[kept]))
        values, _ = fused_terms(inside, self.score, self.fusion)
        made = _inside(self).make(inside, values, budget, rng)
        note = f"of the {len(kept)} best by {' and '.join(self.score).replace('_', ' ')}"
        return Batch(kept[made.picks], "; ".join(filter(None, (made.note, note))))


@dataclass(frozen=True)
@hyperparameters
class WithoutOutliersBatch:
    """Leave out the candidates that pretraining never came to know, then another batch maker.

    Karamcheti et al., Mind Your Outliers! (ACL 2021), section 5: collectively hard samples lie low in confidence and
    in variability of a dataset map; here that of stage 0, as no labels of the candidates are known. Left out are those
    of the lowest product of the two; where too few remain, fewer. Cost: a sort, and that of `batch`.

    share  of the candidates that is left out (the paper tries 0.1 to 0.5)
    """

    share: Decay = 0.1
    batch: BatchParams = field(default_factory=lambda: {"name": "topk"})

    about: ClassVar[About] = About(
        paper="Karamcheti et al.: *Mind Your Outliers! Investigating the Negative Impact of Outliers on Active "
        "Learning for Visual Question Answering*, ACL 2021, section 5",
        passes="those of batch",
        time="M log M, and that of batch",
        memory="M",
    )

    def __post_init__(self) -> None:
        """Refuse unknown batch makers."""
        _inside(self)

    @property
    def needs(self) -> frozenset[Need]:
        """The records of stage 0, and what the batch maker inside reads."""
        return _inside(self).needs | {"stage0"}

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the batch maker inside."""
        known = state.record("confidence", state.candidates) * state.record("variability", state.candidates)
        out = min(int(self.share * len(known)), len(known) - budget)
        kept = np.sort(best_first(known, rng)[: len(known) - out])
        inside = replace(state, candidates=state.candidates[kept])
        made = _inside(self).make(inside, values_M[kept], budget, rng)
        return Batch(kept[made.picks], "; ".join(filter(None, (made.note, f"{out} outliers left out"))))


def _inside(maker: PerGroupBatch | TwoStageBatch | WithoutOutliersBatch) -> BatchMaker:
    """The batch maker that chooses from what is left; the registry names this module too, so it is read late."""
    from . import build_batch

    return build_batch(maker.batch, f"{type(maker).__name__}.batch")
