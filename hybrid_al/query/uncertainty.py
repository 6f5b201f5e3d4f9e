"""Uncertainty sampling: the candidates with the largest entropy, smallest margin or least confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..scores import mid_ranks
from ..types import Need, Query, Scores
from .base import QueryState, check_budget
from .batch import best_first
from .terms import TERMS, standing


@dataclass(frozen=True)
class Entropy:
    """Largest predictive entropy. Settles, Active Learning Literature Survey (2009), section 3.1."""

    needs: ClassVar[frozenset[Need]] = TERMS["entropy"].needs

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` most uncertain candidates, ties in random order."""
        return _top("entropy", state, budget, rng)


@dataclass(frozen=True)
class Margin:
    """Smallest gap between the two most probable classes. Settles (2009), section 3.1."""

    needs: ClassVar[frozenset[Need]] = TERMS["margin"].needs

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` most uncertain candidates, ties in random order."""
        return _top("margin", state, budget, rng)


@dataclass(frozen=True)
class LeastConfidence:
    """Smallest probability of the most probable class. Settles (2009), section 3.1."""

    needs: ClassVar[frozenset[Need]] = TERMS["least_confidence"].needs

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` most uncertain candidates, ties in random order."""
        return _top("least_confidence", state, budget, rng)


def _top(term: str, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
    check_budget(state, budget)
    values = TERMS[term].score(state)
    ranks = {term: mid_ranks(values)}
    picks = best_first(values, rng)[:budget]
    return Query(
        state.candidates[picks],
        scores=Scores(state.candidates, values, ranks),
        reasons=tuple(standing(ranks, p) for p in picks),
    )
