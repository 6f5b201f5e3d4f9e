"""Budgets in what answers cost: prices, how many picks they pay for, and when nothing is left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray, Need, Query, Round
from hybrid_al.errors import InputError
from hybrid_al.query.base import QueryState
from hybrid_al.query.spending import CostBudgets, LabelBudgets, spent_out
from hybrid_al.query.synthetic import make_state
from hybrid_al.recipe import parse

N = 45  # rows of the synthetic state


def row(index: int, labeled: int, **cost: float) -> Round:
    return Round(index, "x", 1, (), labeled, {f"cost/{name}": value for name, value in cost.items()}, 0, {})


@dataclass(frozen=True)
class Descending:
    """The last candidates first."""

    asked: list[int]
    needs: ClassVar[frozenset[Need]] = frozenset()

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        self.asked.append(budget)
        rng.random()
        return Query(
            state.candidates[::-1][:budget], reasons=tuple("abcdefghijklmnopqrstuvwxyzabcdefghijklmnopq"[:budget])
        )


def state(**scores: FloatArray) -> QueryState:
    def scorer(name: str, indices: IntArray, samples: int, views: int) -> FloatArray:
        return scores[name][indices]

    return replace(make_state(), scorer=scorer)


def test_pixels_are_known_before() -> None:
    sizes = np.arange(N) * 10
    here = state()
    found = CostBudgets("pixels", (5, 100)).prices(here, row(0, 5, pixels=1e6), sizes)
    assert found.tolist() == np.maximum(here.candidates * 10, 1).tolist()


@pytest.mark.parametrize("unit", ["foreground", "boundary", "clicks"])
def test_what_is_drawn_is_half_predicted_half_what_labels_cost_so_far(unit: str) -> None:
    rng = np.random.default_rng(0)
    area, outline, sizes = rng.random(N), rng.integers(0, 40, N).astype(float), rng.integers(1, 100, N)
    here = state(foreground=area, boundary=outline)
    last = row(1, 8, foreground=400.0, boundary=160.0, clicks=32.0)
    found = CostBudgets(unit, (5, 100)).prices(here, last, sizes)
    for price, i in zip(found, here.candidates, strict=True):
        predicted = {"foreground": area[i] * sizes[i], "boundary": outline[i], "clicks": outline[i] * 32 / 160}[unit]
        mean = {"foreground": 50, "boundary": 20, "clicks": 4}[unit]
        assert price == pytest.approx(max((predicted + mean) / 2, 1))


def test_less_than_masks_cost_what_they_did() -> None:
    here = state()
    less = CostBudgets("clicks", (5, 9), sized=False)
    assert set(less.prices(here, row(0, 5, clicks=30.0), None)) == {6.0}
    assert set(less.prices(here, row(0, 0, clicks=0.0), None)) == {1.0}
    assert not less.needs(1) and CostBudgets("clicks", (5, 9)).needs(1) and not CostBudgets("clicks", (5, 9)).needs(0)


@pytest.mark.parametrize("budget", [1, 37, 38, 400, 10**6])
def test_a_query_is_asked_as_far_as_the_budget_goes(budget: int) -> None:
    """Against one walk down the whole order of preference."""
    sizes, here, asked = np.arange(N) ** 2 % 41 + 1, state(), list[int]()
    rounds = [row(0, 6, pixels=100.0)]
    query = CostBudgets("pixels", (6, budget)).query(
        Descending(asked), here, rounds, sizes, lambda: np.random.default_rng(0)
    )
    slow, paid = list[int](), 0
    for i in here.candidates[::-1].tolist():
        paid += int(sizes[i])
        if slow and paid > budget:
            break
        slow.append(i)
    assert query.indices.tolist() == slow and query.reasons is not None and len(query.reasons) == len(slow)
    assert len(asked) <= 8


def test_what_was_answered_is_counted_and_the_rest_is_carried_on() -> None:
    spending = CostBudgets("foreground", (6, 100, 50, 50))
    first, under = row(0, 6, foreground=40.0), row(1, 9, foreground=110.0)
    assert spending.remaining([first]) == 100 and spending.remaining([first, under]) == 150 - 70
    over, out = row(2, 12, foreground=239.0), row(2, 12, foreground=240.0)
    assert spending.remaining([first, under, over]) == 1 and not spent_out(
        "foreground", spending.budgets, [first, under, over]
    )
    assert spent_out("foreground", spending.budgets, [first, under, out])
    assert not spent_out("foreground", spending.budgets, [first]) and not spent_out("labels", (1, 1), [first, out])


def test_an_overspent_round_asks_one_more() -> None:
    spending, here = CostBudgets("pixels", (6, 10, 90)), state()
    rounds = [row(0, 6, pixels=120.0), row(1, 8, pixels=250.0)]
    assert spending.remaining(rounds) == -30
    assert (
        len(spending.query(Descending([]), here, rounds, np.full(N, 20), lambda: np.random.default_rng(0)).indices) == 1
    )


def test_rounds_that_count_nothing_are_refused() -> None:
    with pytest.raises(InputError, match=r"round 0: expected what its labels cost \(cost/pixels\)"):
        CostBudgets("pixels", (6, 10)).remaining([row(0, 6)])


def test_a_recipe_without_a_unit_is_the_recipe_that_it_was() -> None:
    plain: dict[str, Any] = {"name": "a", "loop": {"budgets": [3, 2]}}
    old, new = parse(plain), parse({**plain, "loop": {"budgets": [3, 2], "unit": "pixels"}})
    assert "unit" not in old.identity()
    assert new.identity() == {**old.identity(), "unit": "pixels"}


def test_budgets_of_labels_are_spent_round_by_round() -> None:
    budgets, asked = LabelBudgets((6, 3, 2)), list[int]()
    query = budgets.query(Descending(asked), state(), [row(0, 6)], None, lambda: np.random.default_rng(0))
    assert len(query.indices) == 3 and asked == [3] and not budgets.needs(1)
    assert [budgets.next_budget(r) for r in range(3)] == [3, 2, None]
    assert budgets.least_picks(True) == 11 and budgets.least_picks(False) == 6
    assert not budgets.is_spent([row(0, 6)]) and budgets.is_spent([row(0, 6), row(1, 9), row(2, 11)])
    costs = CostBudgets("pixels", (6, 3, 2))
    assert costs.least_picks(True) == 6 and costs.next_budget(1) is None
    all_left = LabelBudgets((6, 10**6)).query(Descending([]), state(), [], None, lambda: np.random.default_rng(0))
    assert len(all_left.indices) == len(state().candidates)
