"""Budgets in labels or in costs: how many picks of a strategy, best first, a round may ask."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..core.types import FloatArray, IntArray, Need, Query, Round
from ..errors import InputError
from .base import QueryState, QueryStrategy, check_query

ASKS = 8  # the most batch sizes that a strategy is asked for in one round


Draw = Callable[[], np.random.Generator]
"""Gives a random generator, each time in the same state."""


class Spending(Protocol):
    """How queries are paid for, round by round; the budget of the first round is always a number of labels."""

    def needs(self, round: int) -> frozenset[Need]:
        """What `query` reads of the state of a round."""
        ...

    def query(
        self, strategy: QueryStrategy, state: QueryState, rounds: Sequence[Round], sizes: IntArray | None, rng: Draw
    ) -> Query:
        """The picks of a strategy that the round can pay; `sizes` (N,): pixels of each sample or region."""
        ...

    def is_spent(self, rounds: Sequence[Round]) -> bool:
        """Whether the committed rounds have spent the whole budget."""
        ...

    def least_picks(self, fixed: bool) -> int:
        """The least number of picks of a run; `fixed`: the pool is the same in all rounds."""
        ...

    def next_budget(self, round: int) -> int | None:
        """Labels that the round after this one buys; None where that is not known."""
        ...


@dataclass(frozen=True)
class LabelBudgets:
    """Budgets of all rounds are numbers of labels."""

    budgets: tuple[int, ...]

    def needs(self, round: int) -> frozenset[Need]:
        """See `Spending.needs`: nothing."""
        return frozenset()

    def query(
        self, strategy: QueryStrategy, state: QueryState, rounds: Sequence[Round], sizes: IntArray | None, rng: Draw
    ) -> Query:
        """See `Spending.query`."""
        return _pick(strategy, state, self.budgets[state.round], rng)

    def is_spent(self, rounds: Sequence[Round]) -> bool:
        """See `Spending.is_spent`."""
        return len(rounds) >= len(self.budgets)

    def least_picks(self, fixed: bool) -> int:
        """See `Spending.least_picks`."""
        return sum(self.budgets) if fixed else self.budgets[0]

    def next_budget(self, round: int) -> int | None:
        """See `Spending.next_budget`; None after the last."""
        return next(iter(self.budgets[round + 1 : round + 2]), None)


@dataclass(frozen=True)
class CostBudgets:
    """Budgets of all rounds but the first are in `unit`, counted as the metric `cost/<unit>` of the rounds.

    A query is priced before it is answered, so picks are paid at estimates, never below 1. Pixels are priced at their
    number; other units at the mean of the cost that the last model predicts and the mean cost of a label so far. After
    the answers their true cost is counted, and later rounds may spend the difference more, or less. The first round
    has no model and no price, so its budget is a number of labels.

    sized  whether an answer is about all pixels of a sample or region; else each costs as a label on average so far
    """

    unit: str
    budgets: tuple[int, ...]
    sized: bool = True

    def needs(self, round: int) -> frozenset[Need]:
        """See `Spending.needs`: predictions, where an estimate reads them."""
        predicts = round > 0 and self.unit != "pixels" and self.sized
        return frozenset({"predictions"}) if predicts else frozenset()

    def is_spent(self, rounds: Sequence[Round]) -> bool:
        """See `Spending.is_spent`."""
        return len(rounds) >= len(self.budgets) or spent_out(self.unit, self.budgets, rounds)

    def least_picks(self, fixed: bool) -> int:
        """See `Spending.least_picks`: those of the first round, as later costs are not known before."""
        return self.budgets[0]

    def next_budget(self, round: int) -> int | None:
        """See `Spending.next_budget`: never known."""
        return None

    def remaining(self, rounds: Sequence[Round]) -> float:
        """What the round after these may spend; below 0 where they overspent."""
        return sum(self.budgets[1 : len(rounds) + 1]) - spent(self.unit, rounds)

    def prices(self, state: QueryState, last: Round, sizes: IntArray | None) -> FloatArray:
        """Estimated cost of an answer about each candidate (M,), 1 or more; `sizes` (N,): see `Spending.query`."""
        mean = _cost(self.unit, last) / max(last.labeled, 1)
        if not self.sized or sizes is None:
            return np.full(len(state.candidates), max(mean, 1.0))
        pixels = sizes[state.candidates].astype(np.float64)
        if self.unit == "pixels":
            return np.maximum(pixels, 1)
        assert state.scorer is not None
        name = "foreground" if self.unit == "foreground" else "boundary"
        predicted = state.scorer(name, state.candidates, 1, 1)
        if self.unit == "foreground":
            predicted = predicted * pixels
        elif self.unit == "clicks":
            outline = _cost("boundary", last)
            predicted = predicted * _cost("clicks", last) / outline if outline else np.full(len(pixels), mean)
        return np.maximum((predicted + mean) / 2, 1)

    def query(
        self, strategy: QueryStrategy, state: QueryState, rounds: Sequence[Round], sizes: IntArray | None, rng: Draw
    ) -> Query:
        """See `Spending.query`; one pick at least.

        A strategy is asked for a number of picks, and for larger numbers until they use up the budget, always from the
        same random state. Picks beyond the budget are cut off.
        """
        if state.round == 0:
            return _pick(strategy, state, self.budgets[0], rng)
        prices, budget, limit = self.prices(state, rounds[-1], sizes), self.remaining(rounds), len(state.candidates)
        count, state = int(np.clip(budget / prices.mean(), 1, limit)), _with_cache(state)
        for _ in range(ASKS):
            query = _pick(strategy, state, count, rng)
            totals = np.cumsum(prices[np.searchsorted(state.candidates, query.indices)])
            if totals[-1] >= budget or count == limit:
                break
            count = min(limit, max(count + 1, math.ceil(count * budget / totals[-1])))
        affordable = max(int(np.searchsorted(totals, budget, side="right")), 1)
        return query.only(np.arange(affordable))


def _pick(strategy: QueryStrategy, state: QueryState, budget: int, rng: Draw) -> Query:
    """The picks of a strategy, checked: all that are left, where these are fewer than the budget."""
    budget = min(budget, len(state.candidates))
    if budget == 0:
        return Query(np.empty(0, dtype=np.int64))
    return check_query(strategy.select(state, budget, rng()), state, budget)


def spent(unit: str, rounds: Sequence[Round]) -> float:
    """The cost of all rounds but the first."""
    return _cost(unit, rounds[-1]) - _cost(unit, rounds[0])


def spent_out(unit: str, budgets: Sequence[int], rounds: Sequence[Round]) -> bool:
    """Whether the budgets in a unit are used up; budgets of labels never are before their last round."""
    return unit != "labels" and len(rounds) > 1 and spent(unit, rounds) >= sum(budgets[1:])


def _cost(unit: str, row: Round) -> float:
    if (name := f"cost/{unit}") not in row.metrics:
        raise InputError(f"round {row.index}", f"what its labels cost ({name})", "nothing of it")
    return row.metrics[name]


def _with_cache(state: QueryState) -> QueryState:
    """The same state, whose scorer computes each score of all candidates once."""
    if (uncached := state.scorer) is None:
        return state
    cache: dict[tuple[str, int, int], FloatArray] = {}

    def scorer(name: str, indices: IntArray, samples: int, views: int) -> FloatArray:
        if not np.array_equal(indices, state.candidates):
            return uncached(name, indices, samples, views)
        if (name, samples, views) not in cache:
            cache[name, samples, views] = uncached(name, indices, samples, views)
        return cache[name, samples, views]

    return replace(state, scorer=scorer)
