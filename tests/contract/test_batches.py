"""Every batch maker, and one from outside: the right count of candidates, each once, drawn by the rng that is given."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.errors import HybridALError
from hybrid_al.query.base import QueryState
from hybrid_al.query.batches import BATCHES, BatchMaker, build_batch
from hybrid_al.query.synthetic import make_state, restrict
from hybrid_al.testing import corner_cases, unchanged_random_state
from tests.helpers.outside import HERE

makers = pytest.mark.parametrize("name", [*BATCHES, f"{HERE}:BatchMaker"])


def picks_of(maker: BatchMaker, state: QueryState, values: FloatArray, budget: int, seed: int = 0) -> IntArray:
    """The picks, once they are `budget` distinct places of candidates, by what the maker says that it reads."""
    before = values.copy()
    picks = maker.make(restrict(state, maker.needs), values, budget, np.random.default_rng(seed)).picks
    np.testing.assert_array_equal(values, before)
    assert picks.shape == (budget,) and np.issubdtype(picks.dtype, np.integer)
    assert len(np.unique(picks)) == budget and picks.min() >= 0 and picks.max() < len(state.candidates)
    return picks


def scores_of(m: int) -> dict[str, FloatArray]:
    """Scores (m,) that differ, are all the same, nothing but zeros, and zero but for one."""
    return {
        "random": np.random.default_rng(7).random(m),
        "constant": np.full(m, 0.5),
        "zeros": np.zeros(m),
        "one": np.eye(m)[m // 2],
    }


@makers
@pytest.mark.parametrize("case", corner_cases())
def test_the_budget_is_held_by_candidates_each_once(name: str, case: str) -> None:
    state, budget = corner_cases()[case]
    maker = build_batch({"name": name})
    with unchanged_random_state():
        for values in scores_of(len(state.candidates)).values():
            picks_of(maker, state, values, budget)


@makers
@pytest.mark.parametrize("n", [1, 499, 500, 501, 1003])
def test_the_whole_pool_is_asked(name: str, n: int) -> None:
    state = make_state(n, labeled=min(4, n - 1))
    m = len(state.candidates)
    picks = picks_of(build_batch({"name": name}), state, scores_of(m)["random"], m)
    assert np.sort(picks).tolist() == list(range(m))


@makers
def test_the_rng_alone_decides_and_the_order_is_by_preference(name: str) -> None:
    state, maker = make_state(60), build_batch({"name": name})
    values = scores_of(len(state.candidates))["random"]
    picks = [picks_of(maker, state, values, 9, seed).tolist() for seed in (0, 0)]
    whole = maker.make(state, values, 9, np.random.default_rng(0)).picks.tolist()
    assert picks[0] == picks[1] == whole  # what it does not say that it reads changes nothing


@makers
def test_scores_count(name: str) -> None:
    """Of many draws those of large scores are asked more often than those of small ones."""
    state, maker = make_state(300), build_batch({"name": name})
    values = scores_of(len(state.candidates))["random"]
    means = [values[picks_of(maker, state, values, 9, seed)].mean() for seed in range(30)]
    assert np.mean(means) > values.mean()


@makers
def test_a_need_that_is_not_met_is_an_error(name: str) -> None:
    state, maker = make_state(), build_batch({"name": name})
    for need in sorted(maker.needs):
        with pytest.raises(HybridALError):
            maker.make(
                restrict(state, maker.needs - {need}), np.ones(len(state.candidates)), 3, np.random.default_rng()
            )
