"""Batch makers: how the scores of all candidates become one query that does not ask the same thing twice."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ..core.embeddings import Metric
from ..core.types import FloatArray, Need
from ..errors import InputError, UnknownName
from ..kernels.distances import k_center
from ..kernels.kmeans import k_means
from ..scores.samples import Fusion
from .base import About, QueryState
from .batch_base import Batch, BatchMaker, best_first, check_metric, check_whole, place_in_group, rest_by_score
from .batch_clusters import ClusterMarginBatch
from .batch_constrained import ClassBalancedBatch, KnapsackBatch
from .batch_spread import CoverBatch, DPPBatch, KMeansPlusPlusBatch, WeightedKMeansBatch
from .batch_stochastic import PowerBatch, SoftmaxBatch, SoftRankBatch, StochasticBatches
from .terms import check_terms, fused_terms, predicted_once, term_needs

__all__ = ["BATCHES", "Batch", "BatchMaker", "BatchParams", "best_first", "build_batch"]

BatchParams = Mapping[str, object]
"""A batch maker in a recipe: `{name: kmeans, shortlist: 5}`; one that wraps another has it as `batch`."""


@dataclass(frozen=True)
class TopK:
    """The best-scored candidates, redundant or not."""

    needs: ClassVar[frozenset[Need]] = frozenset()
    about: ClassVar[About] = About(
        paper="-",
        passes="0",
        time="M log M",
        memory="M",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """Largest score first, ties in random order."""
        return Batch(best_first(values_M, rng)[:budget])


@dataclass(frozen=True)
class KMeansBatch:
    """Cluster the shortlist (the best shortlist * budget candidates) into `budget` clusters; the best of each."""

    shortlist: int = 5
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="-",
        passes="0",
        time="M log M + shortlist b^2 D a turn of k-means",
        memory="shortlist b D",
    )

    def __post_init__(self) -> None:
        """Refuse values that no shortlist can have."""
        check_whole("batch.shortlist", self.shortlist)
        check_metric(self.metric)

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """Best-scored first; where rows repeat and clusters are too few, the best of the rest fill up."""
        shortlist = best_first(values_M, rng)[: self.shortlist * budget]
        _, cluster = k_means(state.vectors(state.candidates[shortlist], self.metric), budget, rng)
        found, leaders = np.unique(cluster, return_index=True)  # the first of a cluster is its best-scored
        rest = np.setdiff1d(np.arange(len(shortlist)), leaders)[: budget - len(leaders)]
        return Batch(shortlist[np.sort(np.concatenate([leaders, rest]))], f"one of {len(found)} clusters")


@dataclass(frozen=True)
class KCenterBatch:
    """From the shortlist (the best shortlist * budget candidates) always the one farthest from all labeled and picked.

    The first pick is the best-scored.
    """

    shortlist: int = 5
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="-",
        passes="0",
        time="M log M + shortlist b (L + b) D",
        memory="(shortlist b + L) D",
    )

    def __post_init__(self) -> None:
        """Refuse values that no shortlist can have."""
        check_whole("batch.shortlist", self.shortlist)
        check_metric(self.metric)

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order in which they were found."""
        shortlist = best_first(values_M, rng)[: self.shortlist * budget]
        samples = np.concatenate([state.candidates[shortlist], state.labels.labeled])
        covered = np.arange(len(shortlist), len(samples))
        picks, _ = k_center(state.vectors(samples, self.metric), covered, budget, first=0)
        return Batch(shortlist[picks], "far from all labeled and picked")


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
        build_batch(self.batch)

    @property
    def needs(self) -> frozenset[Need]:
        """What the batch maker inside reads."""
        return build_batch(self.batch).needs

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the batch maker inside."""
        order = best_first(values_M, rng)
        group = state.groups[state.candidates[order]]
        kept = np.sort(order[place_in_group(group) < self.most])
        inside = replace(state, candidates=state.candidates[kept])
        made = build_batch(self.batch).make(inside, values_M[kept], min(budget, len(kept)), rng)
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
        build_batch(self.batch)

    @property
    def needs(self) -> frozenset[Need]:
        """What the terms and the batch maker inside read."""
        return build_batch(self.batch).needs | term_needs(self.score)

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the batch maker inside."""
        kept = np.sort(best_first(values_M, rng)[: self.keep * budget])
        inside = predicted_once(replace(state, candidates=state.candidates[kept]))
        values, _ = fused_terms(inside, self.score, self.fusion)
        made = build_batch(self.batch).make(inside, values, budget, rng)
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
        build_batch(self.batch)

    @property
    def needs(self) -> frozenset[Need]:
        """The records of stage 0, and what the batch maker inside reads."""
        return build_batch(self.batch).needs | {"stage0"}

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the batch maker inside."""
        known = state.record("confidence", state.candidates) * state.record("variability", state.candidates)
        out = min(int(self.share * len(known)), len(known) - budget)
        kept = np.sort(best_first(known, rng)[: len(known) - out])
        inside = replace(state, candidates=state.candidates[kept])
        made = build_batch(self.batch).make(inside, values_M[kept], budget, rng)
        return Batch(kept[made.picks], "; ".join(filter(None, (made.note, f"{out} outliers left out"))))


BATCHES: dict[str, type[BatchMaker]] = {
    "topk": TopK,
    "kmeans": KMeansBatch,
    "kcenter": KCenterBatch,
    "power": PowerBatch,
    "softmax": SoftmaxBatch,
    "softrank": SoftRankBatch,
    "stochastic": StochasticBatches,
    "kmeanspp": KMeansPlusPlusBatch,
    "weighted_kmeans": WeightedKMeansBatch,
    "cover": CoverBatch,
    "dpp": DPPBatch,
    "cluster_margin": ClusterMarginBatch,
    "class_balanced": ClassBalancedBatch,
    "knapsack": KnapsackBatch,
    "per_group": PerGroupBatch,
    "two_stage": TwoStageBatch,
    "without_outliers": WithoutOutliersBatch,
}


def build_batch(params: BatchParams) -> BatchMaker:
    """The batch maker of a recipe: `{name: kmeans, shortlist: 5}`; an unknown name or parameter is an error."""
    name = str(params.get("name", ""))
    if name not in BATCHES:
        raise UnknownName("batch.name", name, BATCHES)
    settings = {key: value for key, value in params.items() if key != "name"}
    known = inspect.signature(BATCHES[name]).parameters
    for key in settings.keys() - known:
        raise UnknownName(f"batch {name}", key, known)
    return BATCHES[name](**settings)
