"""The strategy contract catches what it is there to catch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from hybrid_al.core.types import Need, Query
from hybrid_al.query.base import QueryState
from hybrid_al.query.synthetic import make_state
from hybrid_al.testing import check_strategy


@dataclass(frozen=True)
class First:
    """Takes the first candidates; each test below spoils it in one way."""

    needs: ClassVar[frozenset[Need]] = frozenset()

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        return Query(state.candidates[:budget])


class Short(First):
    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        return Query(state.candidates[: budget - 1])


class Repeats(First):
    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        return Query(np.repeat(state.candidates[:1], budget))


class PoolRelative(First):
    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        return Query(np.arange(budget))


class GlobalSeed(First):
    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        np.random.seed(0)  # noqa: NPY002
        return Query(state.candidates[:budget])


class OwnSeed(First):
    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        return Query(np.random.default_rng().permutation(state.candidates)[:budget])


class Undeclared(First):
    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        return Query(state.candidates[np.argsort(state.probs()[:, 0, 0])[:budget]])


class Passes(Undeclared):
    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        return Query(state.candidates[np.argsort(state.probs(samples=5)[:, 0, 0])[:budget]])


class Overdeclared(First):
    needs: ClassVar[frozenset[Need]] = frozenset({"consistency"})


class WholeManifest(First):
    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        state.vectors(np.arange(len(state.groups)))
        return Query(state.candidates[:budget])


class OtherGroups(First):
    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        others = np.delete(state.groups, state.candidates)
        return Query(np.roll(state.candidates, int(others.sum()))[:budget])


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (Short(), "picks"),
        (Repeats(), "distinct"),
        (PoolRelative(), "only candidates"),
        (GlobalSeed(), "global random state"),
        (OwnSeed(), "unlike picks"),
        (Undeclared(), "trained model"),
        (Passes(), "several passes"),
        (Overdeclared(), "selects without it"),
        (WholeManifest(), "finite numbers"),
        (OtherGroups(), "are of other groups"),
    ],
)
def test_a_broken_strategy_fails(strategy: First, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_strategy(strategy)


def test_a_sound_one_passes() -> None:
    check_strategy(First())


def test_the_state_is_read_only() -> None:
    state = make_state()
    with pytest.raises(ValueError, match="read-only"):
        state.candidates[0] = 1
