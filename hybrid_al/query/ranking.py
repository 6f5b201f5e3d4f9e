"""Queries by score alone: the best candidates, redundant or not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..core.types import FloatArray, Query, Scores
from ..scores.samples import mid_ranks
from .base import QueryState, check_budget
from .batches.base import best_first
from .terms import standing


def best_by_score(
    name: str,
    score: Callable[[FloatArray], FloatArray],
    state: QueryState,
    budget: int,
    rng: np.random.Generator,
    *,
    samples: int = 1,
    views: int = 1,
) -> Query:
    """The candidates of the highest `score`, probabilities (M, S, C) -> (M,); ties in random order.

    Cost: samples * views passes over the M candidates, O(M S C) time and bytes, a sort.
    """
    check_budget(state, budget)
    return best_by_value(name, state.score(score, samples, views), state, budget, rng)


def best_by_value(name: str, values_M: FloatArray, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
    """The candidates of the largest values (M,), ties in random order; scores and reasons have `name`."""
    ranks = {name: mid_ranks(values_M)}
    picks = best_first(values_M, rng)[:budget]
    return Query(
        state.candidates[picks],
        scores=Scores(state.candidates, values_M, ranks),
        reasons=tuple(standing(ranks, p) for p in picks),
    )
