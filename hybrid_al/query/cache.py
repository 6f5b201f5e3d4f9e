"""A state that asks its model for each kind of prediction once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np

from ..core.types import IntArray, PredictionBatch
from .base import QueryState


def with_cache(state: QueryState) -> QueryState:
    """The same state, with each kind of prediction computed at most once, for scores of several terms.

    Some of the candidates are looked up too; predictions for other samples are computed each time.
    """
    if state.predictor is None:
        return state
    uncached, candidates = state.predictor, state.candidates

    @cache
    def batches(samples: int, views: int) -> tuple[PredictionBatch, ...]:
        return tuple(uncached(candidates, samples, views))

    def predictor(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        if np.array_equal(indices, candidates):
            return iter(batches(samples, views))
        if np.isin(indices, candidates).all():
            return iter([_select(batches(samples, views), indices)])
        return uncached(indices, samples, views)

    return replace(state, predictor=predictor)


def _select(batches: tuple[PredictionBatch, ...], indices: IntArray) -> PredictionBatch:
    """The predictions for some samples of the batches, as one batch."""
    candidates = np.concatenate([batch.indices for batch in batches])
    order = np.argsort(candidates)
    rows = order[np.searchsorted(candidates, indices, sorter=order)]
    features = [batch.features for batch in batches if batch.features is not None]
    return PredictionBatch(
        indices,
        np.concatenate([batch.probs for batch in batches])[rows],
        np.concatenate(features)[rows] if len(features) == len(batches) else None,
        batches[0].head,
    )
