"""What the strategies share that ask for the best-scored candidates, redundant or not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import InputError
from ..scores import mid_ranks
from ..types import FloatArray, Query, Scores
from .base import QueryState, check_budget
from .batch import best_first
from .terms import standing


def top_scored(
    name: str,
    score: Callable[[FloatArray], FloatArray],
    state: QueryState,
    budget: int,
    rng: np.random.Generator,
    *,
    samples: int = 1,
    views: int = 1,
) -> Query:
    """The candidates whose probabilities (M, S, C) score highest, ties in random order; `score` gives (M,).

    Cost: samples * views passes over the M candidates, O(M S C) time and bytes, a sort.
    """
    check_budget(state, budget)
    values = state.scored(score, samples, views)
    ranks = {name: mid_ranks(values)}
    picks = best_first(values, rng)[:budget]
    return Query(
        state.candidates[picks],
        scores=Scores(state.candidates, values, ranks),
        reasons=tuple(standing(ranks, p) for p in picks),
    )


def check_passes(where: str, passes: int) -> None:
    """Refuse counts of passes that give no mean and cannot disagree."""
    if not isinstance(passes, int) or passes < 2:
        raise InputError(where, "a whole number of 2 or more", repr(passes))
