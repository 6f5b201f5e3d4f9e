"""Batch makers that leave out some candidates, then let another batch maker choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ...core.types import FloatArray, Need
from ...errors import InputError
from ...scores.samples import Fusion
from ..base import About, QueryState
from ..terms import check_terms, fused_terms, predicted_once, term_needs
from .base import Batch, BatchMaker, BatchParams, best_first, check_whole, place_in_group, rest_by_score


@dataclass(frozen=True)
class PerGroupBatch:
    """At most `most` images of a group (patient, volume, slide): the best-scored of each, then another batch maker.

    Where the groups hold fewer than the budget in all, the best of the rest fill up. Cost: a sort, and that of `batch`.
    """

    most: int = 1
    batch: BatchParams = field(default_factory=lambda: {"name": "topk"})

    about: ClassVar[About] = About(
        paper="ours",
        passes="those of batch",
        time="M log M, and that of batch",
        memory="M",
    )

    def __post_init__(self) -> None:
        """Refuse caps of nothing and unknown batch makers."""
        check_whole("batch.most", self.most)
        _inside(self.batch)

    @property
    def needs(self) -> frozenset[Need]:
        """What the batch maker inside reads."""
        return _inside(self.batch).needs

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the batch maker inside."""
        order = best_first(values_M, rng)
        group = state.groups[state.candidates[order]]
        kept = np.sort(order[place_in_group(group) < self.most])
        inside = replace(state, candidates=state.candidates[kept])
        made = _inside(self.batch).make(inside, values_M[kept], min(budget, len(kept)), rng)
        note = "; ".join(filter(None, (made.note, f"at most {self.most} of a group")))
        return Batch(rest_by_score(values_M, kept[made.picks], budget, rng), note)


@dataclass(frozen=True)
class TwoStageBatch:
    """The `keep` * budget best-scored, ranked anew by other terms, then another batch maker.

    Suggestive annotation, EADA and DUC filter so. Cost: that of the terms and of `batch`.

    score   weight of each term (see `terms.TERMS`), fused by mid-ranks among those kept
    fusion  mean | product | max, see `scores.fuse`
    """

    keep: int = 5
    score: Mapping[str, float] = field(default_factory=lambda: {"margin": 1.0})
    fusion: Fusion = "mean"
    batch: BatchParams = field(default_factory=lambda: {"name": "topk"})

    about: ClassVar[About] = About(
        paper="as suggestive annotation (MICCAI 2017), EADA (AAAI 2022) and DUC (ICLR 2023) filter",
        passes="those of the terms and of batch",
        time="M log M, and that of the terms and of batch",
        memory="M",
    )

    def __post_init__(self) -> None:
        """Refuse to keep nothing, unknown terms and unknown batch makers."""
        check_whole("batch.keep", self.keep)
        check_terms("batch.score", self.score, self.fusion)
        _inside(self.batch)

    @property
    def needs(self) -> frozenset[Need]:
        """What the terms and the batch maker inside read."""
        return _inside(self.batch).needs | term_needs(self.score)

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the batch maker inside."""
        kept = np.sort(best_first(values_M, rng)[: self.keep * budget])
        inside = predicted_once(replace(state, candidates=state.candidates[kept]))
        values, _ = fused_terms(inside, self.score, self.fusion)
        made = _inside(self.batch).make(inside, values, budget, rng)
        note = f"of the {len(kept)} best by {' and '.join(self.score).replace('_', ' ')}"
        return Batch(kept[made.picks], "; ".join(filter(None, (made.note, note))))


@dataclass(frozen=True)
class WithoutOutliersBatch:
    """Leave out the candidates that pretraining never came to know, then another batch maker.

    Karamcheti et al., Mind Your Outliers! (ACL 2021), section 5: collectively hard samples lie low in confidence and
    in variability of a dataset map; here that of stage 0, as no labels of the candidates are known. Left out are those
    of the lowest product of the two; where too few remain, fewer. Cost: a sort, and that of `batch`.

    share  of the candidates that is left out (the paper tries 0.1 to 0.5)
    """

    share: float = 0.1
    batch: BatchParams = field(default_factory=lambda: {"name": "topk"})

    about: ClassVar[About] = About(
        paper="Karamcheti et al.: *Mind Your Outliers! Investigating the Negative Impact of Outliers on Active "
        "Learning for Visual Question Answering*, ACL 2021, section 5",
        passes="those of batch",
        time="M log M, and that of batch",
        memory="M",
    )

    def __post_init__(self) -> None:
        """Refuse shares that leave nothing, and unknown batch makers."""
        if not 0 <= self.share < 1:
            raise InputError("batch.share", "a share in [0, 1)", repr(self.share))
        _inside(self.batch)

    @property
    def needs(self) -> frozenset[Need]:
        """The records of stage 0, and what the batch maker inside reads."""
        return _inside(self.batch).needs | {"stage0"}

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the batch maker inside."""
        known = state.record("confidence", state.candidates) * state.record("variability", state.candidates)
        out = min(int(self.share * len(known)), len(known) - budget)
        kept = np.sort(best_first(known, rng)[: len(known) - out])
        inside = replace(state, candidates=state.candidates[kept])
        made = _inside(self.batch).make(inside, values_M[kept], budget, rng)
        return Batch(kept[made.picks], "; ".join(filter(None, (made.note, f"{out} outliers left out"))))


def _inside(params: BatchParams) -> BatchMaker:
    """The batch maker that chooses from what is left; the registry names this module too, so it is read late."""
    from . import build_batch

    return build_batch(params)
