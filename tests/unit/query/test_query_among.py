"""`among`: only samples that show tissue, few of a group, in the order of the strategy that chooses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.errors import HybridALError, InputError
from hybrid_al.query.base import COLD, QueryState, check_query
from hybrid_al.query.strategies import STRATEGIES, Among
from hybrid_al.query.synthetic import make_state, restrict
from hybrid_al.recipe import parse

CHOOSERS: list[Any] = ["random", "typiclust", {"name": "kcenter", "metric": "cosine"}, "entropy", {"name": "hybrid"}]


def picks(strategy: Among, state: QueryState, budget: int, seed: int = 0) -> IntArray:
    state = restrict(state, strategy.needs)
    return check_query(strategy.select(state, budget, np.random.default_rng(seed)), state, budget).indices


def shares(state: QueryState) -> FloatArray:
    tissue: FloatArray = state.extras["tissue"]
    return tissue


@pytest.mark.parametrize("chooser", CHOOSERS)
def test_only_what_shows_tissue_is_chosen_and_the_strategy_chooses_it(chooser: Any) -> None:
    state = make_state(60)
    strategy = Among(chooser, tissue=0.4)
    indices = picks(strategy, state, 9)
    assert (shares(state)[indices] >= 0.4).all()
    few = replace(state, candidates=state.candidates[shares(state)[state.candidates] >= 0.4])
    read = restrict(few, strategy.inner.needs)
    np.testing.assert_array_equal(indices, strategy.inner.select(read, 9, np.random.default_rng(0)).indices)


def test_where_too_few_show_it_those_that_show_most_are_all_there_is() -> None:
    state = make_state(60)
    order = state.candidates[np.argsort(-shares(state)[state.candidates])]
    least = float(shares(state)[order[4]])  # five show so much
    assert set(picks(Among("random", tissue=least), state, 5).tolist()) == set(order[:5].tolist())
    assert set(picks(Among("random", tissue=least), state, 12).tolist()) == set(order[:12].tolist())
    empty = replace(state, extras={**state.extras, "tissue": np.zeros(state.labels.n)})
    assert len({tuple(picks(Among("random"), empty, 5, seed)) for seed in range(5)}) == 5  # none shows any: by chance


def slow_few(order: list[int], groups: IntArray, most: int, budget: int) -> list[int]:
    """The first picks of an order that keep to the cap, then the others."""
    counts: Counter[int] = Counter()
    within_cap: list[int] = []
    others: list[int] = []
    for i in order:
        full = counts[int(groups[i])] >= most
        (others if full else within_cap).append(i)
        counts[int(groups[i])] += not full
    return (within_cap + others)[:budget]


@pytest.mark.parametrize(("groups", "most", "budget"), [(20, 1, 12), (4, 2, 6), (4, 2, 11), (1, 3, 9), (60, 1, 54)])
def test_few_of_a_group(groups: int, most: int, budget: int) -> None:
    state = make_state(60)
    state = replace(state, groups=np.random.default_rng(3).integers(groups, size=state.labels.n))
    for chooser in CHOOSERS:
        indices = picks(Among(chooser, tissue=0, most=most), state, budget)
        count = Counter(state.groups[indices].tolist())
        room = sum(min(most, c) for c in Counter(state.groups[state.candidates].tolist()).values())
        if budget <= room:
            assert max(count.values()) <= most
        else:  # no group is left that could give one more within the cap
            assert sum(min(most, c) for c in count.values()) == room


@pytest.mark.parametrize("most", [1, 2])
def test_the_order_is_that_of_the_strategy(most: int) -> None:
    """Scores give one order, however many are asked for: its first picks within the cap, with their reasons."""
    state = make_state(60)
    state = replace(state, groups=state.groups % 7)
    inner = STRATEGIES["entropy"]()
    strategy = Among("entropy", tissue=0, most=most)
    for budget in (1, 6, 7, 13, 20):
        query = strategy.select(state, budget, np.random.default_rng(0))
        whole = inner.select(state, len(state.candidates), np.random.default_rng(0))
        assert query.indices.tolist() == slow_few(whole.indices.tolist(), state.groups, most, budget)
        assert whole.reasons is not None and query.reasons is not None
        reasons = dict(zip(whole.indices.tolist(), whole.reasons, strict=True))
        assert list(query.reasons) == [reasons[i] for i in query.indices.tolist()]


def test_tissue_goes_before_the_cap() -> None:
    state = make_state(60)
    state = replace(state, groups=state.groups % 3)
    indices = picks(Among("random", tissue=0.5, most=1), state, 8)
    assert (shares(state)[indices] >= 0.5).all()
    assert len(set(state.groups[indices[:3]].tolist())) == 3


def test_what_it_needs_is_what_the_strategy_needs_and_tissue() -> None:
    assert Among().needs == {"embeddings", "tissue"} and Among().needs <= COLD
    assert Among("random", tissue=0, most=1).needs == frozenset()
    assert Among("foreground_random").needs == {"predictions", "tissue"}
    with pytest.raises(InputError, match="tissue of every sample"):
        Among("random").select(restrict(make_state(), frozenset()), 3, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tissue": 1.5}, r"cold_start\.tissue: expected a number of 0 to 1, got 1\.5"),
        ({"most": 0}, r"cold_start\.most: expected a whole number of 1 or more"),
        ({"strategy": "typicluster"}, r"cold_start\.strategy\.name: .*typiclust"),
        (
            {"strategy": {"name": "typiclust", "metrik": "l2"}},
            r"cold_start\.strategy \(typiclust\): .*did you mean 'metric'",
        ),
        ({"strategy": "entropy"}, "cold_start: expected a strategy that needs embeddings alone"),
        ({"tisue": 0.2}, r"cold_start \(among\): .*did you mean 'tissue'"),
    ],
)
def test_settings_that_are_wrong(settings: dict[str, Any], words: str) -> None:
    from hybrid_al.components import check_components

    with pytest.raises(HybridALError, match=words) as caught:
        check_components(parse({"name": "x", "cold_start": {"name": "among", **settings}}, "test"))
    assert "\n" not in str(caught.value)
