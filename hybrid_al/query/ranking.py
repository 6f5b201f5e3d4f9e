"""Queries by score alone: the best candidates, redundant or not."""

from __future__ import annotations

import numpy as np

from ..core.types import FloatArray, Query, Scores
from ..scores.ranks import mid_ranks
from .base import QueryState, check_budget
from .batches.base import best_first
from .terms import TERMS, standing


def best_by_term(name: str, state: QueryState, budget: int, rng: np.random.Generator, **settings: int | float) -> Query:
    """The candidates of the largest values of a term, by the settings in the place of its own; ties in random order.

    Cost: what the term reads, and a sort.
    """
    check_budget(state, budget)
    return best_by_value(name, TERMS[name].score(state, **settings), state, budget, rng)


def best_by_value(name: str, values_M: FloatArray, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
    """The candidates of the largest values (M,), ties in random order; scores and reasons have `name`."""
    ranks = {name: mid_ranks(values_M)}
    picks = best_first(values_M, rng)[:budget]
    return Query(
        state.candidates[picks],
        scores=Scores(state.candidates, values_M, ranks),
        reasons=tuple(standing(ranks, p) for p in picks),
    )
