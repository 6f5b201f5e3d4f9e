"""Budgets, in labels or in what answers cost: how far down its order of preference a query is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..core.types import FloatArray, IntArray, Need, Query, Round
from ..errors import InputError
from .base import QueryState, QueryStrategy, check_query

ASKS = 8  # times that a strategy is asked for a batch of another size, at most


Draw = Callable[[], np.random.Generator]
"""A generator of random numbers, each time from the same state."""


class Spending(Protocol):
    """How queries are paid for, round by round; the first round's budget is always a number of labels."""

    def needs(self, round: int) -> frozenset[Need]:
        """What it reads of the state of a round."""
        ...

    def query(
        self, strategy: QueryStrategy, state: QueryState, rounds: Sequence[Round], sizes: IntArray | None, rng: Draw
    ) -> Query:
        """The picks of a strategy that the round may pay for; `sizes` are the pixels of all that may be asked about."""
        ...

    def over(self, rounds: Sequence[Round]) -> bool:
        """Whether the committed rounds have spent all there was."""
        ...

    def sure(self, fixed: bool) -> int:
        """How many picks there will be in any case, where the pool is the same in all rounds (`fixed`) or not."""
        ...

    def ahead(self, round: int) -> int | None:
        """How many labels the round after some round buys; None where that is not known."""
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
        return _picked(strategy, state, self.budgets[state.round], rng)

    def over(self, rounds: Sequence[Round]) -> bool:
        """See `Spending.over`."""
        return len(rounds) >= len(self.budgets)

    def sure(self, fixed: bool) -> int:
        """See `Spending.sure`."""
        return sum(self.budgets) if fixed else self.budgets[0]

    def ahead(self, round: int) -> int | None:
        """See `Spending.ahead`; None after the last."""
        return next(iter(self.budgets[round + 1 : round + 2]), None)


@dataclass(frozen=True)
class CostBudgets:
    """Budgets of all rounds but the first are in `unit`, as `cost/<unit>` of the rounds counts it.

    A query has to be priced before it is answered, so picks are paid with estimates: of pixels, their number; else half
    of what the last model predicts of the sample or part, half of what a label has cost so far; never below 1. What was
    answered is counted, and the difference is what a later round may spend more, or less. The first round has no model
    and no price, so its budget is a number of labels.

    sized  whether an answer is about all pixels of what is asked; else it is less, and is estimated as a label so far
    """

    unit: str
    budgets: tuple[int, ...]
    sized: bool = True

    def needs(self, round: int) -> frozenset[Need]:
        """See `Spending.needs`: what an estimate reads."""
        read = round > 0 and self.unit != "pixels" and self.sized
        return frozenset({"predictions"}) if read else frozenset()

    def over(self, rounds: Sequence[Round]) -> bool:
        """See `Spending.over`."""
        return len(rounds) >= len(self.budgets) or spent_out(self.unit, self.budgets, rounds)

    def sure(self, fixed: bool) -> int:
        """See `Spending.sure`: what later rounds cost is not known before."""
        return self.budgets[0]

    def ahead(self, round: int) -> int | None:
        """See `Spending.ahead`: never known."""
        return None

    def left(self, rounds: Sequence[Round]) -> float:
        """What the round after some may spend; below 0 where they overspent."""
        return sum(self.budgets[1 : len(rounds) + 1]) - spent(self.unit, rounds)

    def prices(self, state: QueryState, last: Round, sizes: IntArray | None) -> FloatArray:
        """What an answer about each candidate may cost (M,), 1 or more; `sizes` (N,) are the pixels of each."""
        mean = _counted(self.unit, last) / max(last.labeled, 1)
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
            outline = _counted("boundary", last)
            predicted = predicted * _counted("clicks", last) / outline if outline else np.full(len(pixels), mean)
        return np.maximum((predicted + mean) / 2, 1)

    def query(
        self, strategy: QueryStrategy, state: QueryState, rounds: Sequence[Round], sizes: IntArray | None, rng: Draw
    ) -> Query:
        """See `Spending.query`; one pick at least.

        A strategy is asked for a number of picks, so for larger ones until they cost enough, from the same random
        state; the rest is cut off.
        """
        if state.round == 0:
            return _picked(strategy, state, self.budgets[0], rng)
        prices, left, most = self.prices(state, rounds[-1], sizes), self.left(rounds), len(state.candidates)
        count, state = int(np.clip(left / prices.mean(), 1, most)), _remembering(state)
        for _ in range(ASKS):
            query = _picked(strategy, state, count, rng)
            paid = np.cumsum(prices[np.searchsorted(state.candidates, query.indices)])
            if paid[-1] >= left or count == most:
                break
            count = min(most, max(count + 1, math.ceil(count * left / paid[-1])))
        kept = max(int(np.searchsorted(paid, left, side="right")), 1)
        return query.only(np.arange(kept))


def _picked(strategy: QueryStrategy, state: QueryState, budget: int, rng: Draw) -> Query:
    """What a strategy picks, checked."""
    if budget > len(state.candidates):
        where = f"budget of round {state.round}"
        raise InputError(where, f"at most {len(state.candidates)} candidates left", str(budget))
    return check_query(strategy.select(state, budget, rng()), state, budget)


def spent(unit: str, rounds: Sequence[Round]) -> float:
    """What all rounds but the first have cost."""
    return _counted(unit, rounds[-1]) - _counted(unit, rounds[0])


def spent_out(unit: str, budgets: Sequence[int], rounds: Sequence[Round]) -> bool:
    """Whether nothing of the budgets in a unit is left; budgets of labels never are before their last round."""
    return unit != "labels" and len(rounds) > 1 and spent(unit, rounds) >= sum(budgets[1:])


def _counted(unit: str, row: Round) -> float:
    if (name := f"cost/{unit}") not in row.metrics:
        raise InputError(f"round {row.index}", f"what its labels cost ({name})", "nothing of it")
    return row.metrics[name]


def _remembering(state: QueryState) -> QueryState:
    """The same state, whose scorer makes each score of all candidates once."""
    if (ask := state.scorer) is None:
        return state
    known: dict[tuple[str, int, int], FloatArray] = {}

    def scorer(name: str, indices: IntArray, samples: int, views: int) -> FloatArray:
        if not np.array_equal(indices, state.candidates):
            return ask(name, indices, samples, views)
        if (name, samples, views) not in known:
            known[name, samples, views] = ask(name, indices, samples, views)
        return known[name, samples, views]

    return replace(state, scorer=scorer)
