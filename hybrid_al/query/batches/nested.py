"""Batch makers that leave out some candidates before another batch maker chooses."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from ...core.registry import Count, Decay, hyperparameters
from ...core.types import FloatArray, Need
from ...kernels.triage import NOISY, triage
from ...scores.ranks import Fusion
from ..base import About, QueryState
from ..cache import with_cache
from ..dataset_map import map_of_labels
from ..terms import Weights, check_terms, fused_terms, term_needs
from .base import Batch, BatchMaker, BatchParams, best_first, fill_by_score, place_in_group


@dataclass(frozen=True)
@hyperparameters
class PerGroupBatch:
    """The `most` best-scored images of each group (patient, volume, slide), then another batch maker.

    Where these are fewer than the budget, the best of the others fill up. Cost: a sort, and that of `batch`.
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
        _inner(self)

    @property
    def needs(self) -> frozenset[Need]:
        """What the batch maker inside reads."""
        return _inner(self).needs

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the batch maker inside."""
        order = best_first(values_M, rng)
        group = state.groups[state.candidates[order]]
        subset = np.sort(order[place_in_group(group) < self.most])
        inner_state = replace(state, candidates=state.candidates[subset])
        batch = _inner(self).make(inner_state, values_M[subset], min(budget, len(subset)), rng)
        note = "; ".join(filter(None, (batch.note, f"at most {self.most} of a group")))
        return Batch(fill_by_score(values_M, subset[batch.picks], budget, rng), note)


@dataclass(frozen=True)
@hyperparameters
class WholeGroupsBatch:
    """All candidates of the best-scored groups (scans, patients, slides), group by group, until the budget is met.

    The score of a group is the mean of its `top` best-scored candidates, or of all where it has fewer. As Liu, Cao and
    Tian (MICCAI 2020) rank scans by what is predicted of their candidates.

    top  candidates that count; 1: a group is as its best candidate
    """

    top: Count = 5

    needs: ClassVar[frozenset[Need]] = frozenset()
    about: ClassVar[About] = About(
        paper="after Liu, Cao, Tian: *Deep Active Learning for Effective Pulmonary Nodule Detection*, MICCAI 2020",
        passes="0",
        time="M log M",
        memory="M",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """The best group first, the best of its candidates first; of the last group as many as the budget leaves."""
        order = best_first(values_M, rng)
        _, group = np.unique(state.groups[state.candidates[order]], return_inverse=True)
        counted = place_in_group(group) < self.top
        mean = np.bincount(group, values_M[order] * counted) / np.bincount(group, counted)
        turn = best_first(mean, rng).argsort()
        picks = order[np.argsort(turn[group], kind="stable")][:budget]
        return Batch(picks, f"of the groups with the largest mean of their {self.top} best")


@dataclass(frozen=True)
@hyperparameters
class TwoStageBatch:
    """The `keep` * budget best-scored candidates, scored anew by other terms, then another batch maker.

    As suggestive annotation, EADA and DUC filter. Cost: that of the terms and of `batch`.

    score   weight of each term (see `terms.TERMS`), fused by mid-ranks among these candidates
    fusion  mean | product | max, see `scores.ranks.fuse`
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
        _inner(self)

    @property
    def needs(self) -> frozenset[Need]:
        """What the terms and the batch maker inside read."""
        return _inner(self).needs | term_needs(self.score)

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the batch maker inside."""
        subset = np.sort(best_first(values_M, rng)[: self.keep * budget])
        inner_state = with_cache(replace(state, candidates=state.candidates[subset]))
        values, _ = fused_terms(inner_state, self.score, self.fusion)
        batch = _inner(self).make(inner_state, values, budget, rng)
        note = f"of the {len(subset)} best by {' and '.join(self.score).replace('_', ' ')}"
        return Batch(subset[batch.picks], "; ".join(filter(None, (batch.note, note))))


@dataclass(frozen=True)
@hyperparameters
class WithoutOutliersBatch:
    """Leave out the candidates that a training never learned, then another batch maker.

    Karamcheti et al., Mind Your Outliers! (ACL 2021), section 5: collectively hard samples are low in confidence and
    in variability on a dataset map. The candidates of the lowest product of the two are left out, but never so many
    that fewer than the budget remain. Cost: a sort, and that of `batch`.

    share  of the candidates to leave out (the paper tries 0.1 to 0.5)
    map    of which training: `stage0`, the pretraining; `labels`, that of a head on the labeled samples (see
           `dataset_map.map_of_labels`), where a candidate's class is that of the head at its end
    """

    share: Decay = 0.1
    map: Literal["stage0", "labels"] = "stage0"
    batch: BatchParams = field(default_factory=lambda: {"name": "topk"})

    about: ClassVar[About] = About(
        paper="Karamcheti et al.: *Mind Your Outliers! Investigating the Negative Impact of Outliers on Active "
        "Learning for Visual Question Answering*, ACL 2021, section 5",
        passes="those of batch",
        time="M log M, and that of batch; map=labels 30 (L + M) C D",
        memory="M; map=labels M D",
    )

    def __post_init__(self) -> None:
        """Refuse unknown batch makers."""
        _inner(self)

    @property
    def needs(self) -> frozenset[Need]:
        """The records of stage 0 or embeddings, and what the batch maker inside reads."""
        return _inner(self).needs | {"stage0" if self.map == "stage0" else "embeddings"}

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the batch maker inside."""
        if self.map == "labels":
            confidence, variability = map_of_labels(state)
        else:
            confidence, variability = (state.record(name, state.candidates) for name in ("confidence", "variability"))
        familiarity = confidence * variability
        outliers = min(int(self.share * len(familiarity)), len(familiarity) - budget)
        subset = np.sort(best_first(familiarity, rng)[: len(familiarity) - outliers])
        inner_state = replace(state, candidates=state.candidates[subset])
        batch = _inner(self).make(inner_state, values_M[subset], budget, rng)
        return Batch(subset[batch.picks], "; ".join(filter(None, (batch.note, f"{outliers} outliers left out"))))


@dataclass(frozen=True)
@hyperparameters
class CurriculumBatch:
    """Leave out the candidates that look noisy: the least dense of each predicted class, then another batch maker.

    Of the three levels of `kernels.triage`, on the embeddings. Where easy and hard ones are fewer than the budget, the
    best-scored noisy ones fill up. Li et al., PathAL (TMI 2022), ask about what is informative and clean.
    """

    batch: BatchParams = field(default_factory=lambda: {"name": "topk"})

    about: ClassVar[About] = About(
        paper="Li et al.: *PathAL: An Active Learning Framework for Histopathology Image Analysis*, IEEE TMI 2022; the "
        "levels by Guo et al.: *CurriculumNet: Weakly Supervised Learning from Large-Scale Web Images*, ECCV 2018, "
        "section 3.2",
        passes="1, and those of batch",
        time="1000 M D, and that of batch",
        memory="M D",
    )

    def __post_init__(self) -> None:
        """Refuse unknown batch makers."""
        _inner(self)

    @property
    def needs(self) -> frozenset[Need]:
        """Embeddings, predictions, and what the batch maker inside reads."""
        return _inner(self).needs | {"embeddings", "predictions"}

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the batch maker inside, noisy ones behind it."""
        predicted = state.probs().mean(axis=1).argmax(axis=1)
        clean = np.flatnonzero(triage(state.vectors(state.candidates, "cosine"), predicted) != NOISY)
        inner_state = replace(state, candidates=state.candidates[clean])
        batch = _inner(self).make(inner_state, values_M[clean], min(budget, len(clean)), rng)
        note = "; ".join(filter(None, (batch.note, f"{len(values_M) - len(clean)} noisy ones left out")))
        return Batch(fill_by_score(values_M, clean[batch.picks], budget, rng), note)


def _inner(maker: PerGroupBatch | TwoStageBatch | WithoutOutliersBatch | CurriculumBatch) -> BatchMaker:
    """The batch maker that chooses; imported here, as the registry imports this module."""
    from . import build_batch

    return build_batch(maker.batch, f"{type(maker).__name__}.batch")
