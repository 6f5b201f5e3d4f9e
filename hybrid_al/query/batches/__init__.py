"""Batch makers: from the scores of all candidates to one query that does not ask the same thing twice."""

from __future__ import annotations

from ...core.registry import from_spec
from .base import Batch, BatchMaker, BatchParams
from .clusters import ClusterMarginBatch
from .constrained import ClassBalancedBatch, KnapsackBatch
from .nested import CurriculumBatch, PerGroupBatch, TwoStageBatch, WholeGroupsBatch, WithoutOutliersBatch
from .shortlist import KCenterBatch, KMeansBatch, TopK
from .spread import CoverBatch, DPPBatch, KMeansPlusPlusBatch, WeightedKMeansBatch
from .stochastic import PowerBatch, SoftmaxBatch, SoftRankBatch, StochasticBatches

__all__ = ["BATCHES", "Batch", "BatchMaker", "BatchParams", "build_batch"]


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
    "whole_groups": WholeGroupsBatch,
    "two_stage": TwoStageBatch,
    "without_outliers": WithoutOutliersBatch,
    "curriculum": CurriculumBatch,
}


def build_batch(params: BatchParams, where: str = "batch") -> BatchMaker:
    """The batch maker of `{name: kmeans, shortlist: 5}`; errors name `where`."""
    return from_spec(BATCHES, where, params)
