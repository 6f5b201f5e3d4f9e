"""Integer programs against all batches: the least Wasserstein distance, and the least radius with outliers."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import numpy as np
import pytest
from scipy.optimize import linprog

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.errors import InputError
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import KCenter, Wasserstein
from hybrid_al.query.synthetic import make_state
from hybrid_al.testing import check_strategy


def pool_of(state: QueryState) -> tuple[FloatArray, IntArray, IntArray]:
    """Distances between unit vectors of the pool, and the rows of candidates and of labeled samples."""
    pool = np.union1d(state.candidates, state.labels.labeled)
    rows = state.vectors(pool, "cosine").astype(np.float64)
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    return distances, np.searchsorted(pool, state.candidates), np.searchsorted(pool, state.labels.labeled)


def transported(costs_PS: FloatArray) -> float:
    """The Wasserstein distance of P samples to S others, all of the same weight, as a linear program."""
    samples, others = costs_PS.shape
    of_sample = np.kron(np.eye(samples), np.ones((1, others)))
    of_other = np.kron(np.ones((1, samples)), np.eye(others))
    goal = np.concatenate([np.full(samples, 1 / samples), np.full(others, 1 / others)])
    cost = linprog(costs_PS.ravel(), A_eq=np.concatenate([of_sample, of_other]), b_eq=goal).fun
    assert cost is not None
    return cost


@pytest.mark.parametrize("weights", ["free", "equal"])
@pytest.mark.parametrize("labeled", [0, 2])
def test_no_batch_is_nearer_to_the_pool(weights: Literal["free", "equal"], labeled: int) -> None:
    state = make_state(9, labeled=labeled, seed=3, dim=3)
    distances, candidates, known = pool_of(state)

    def value(batch: tuple[int, ...]) -> float:
        costs = distances[:, [*batch, *known]]
        return transported(costs) if weights == "equal" else float(costs.min(axis=1).mean())

    least = min(value(batch) for batch in combinations(candidates.tolist(), 3))
    query = Wasserstein(exact=9, weights=weights).select(state, 3, np.random.default_rng(0))
    picks = candidates[np.searchsorted(state.candidates, query.indices)]
    assert value(tuple(picks.tolist())) == pytest.approx(least, abs=1e-6)
    assert query.reasons is not None and all(r.endswith("one of the best batch") for r in query.reasons)


@pytest.mark.parametrize("outliers", [0.0, 0.1])
@pytest.mark.parametrize("labeled", [0, 3])
def test_no_batch_has_a_smaller_radius(outliers: float, labeled: int) -> None:
    state = make_state(20, labeled=labeled, seed=1, dim=3)
    distances, candidates, known = pool_of(state)

    def radius(batch: tuple[int, ...]) -> float:
        return float(np.sort(distances[:, [*batch, *known]].min(axis=1))[-1 - int(20 * outliers)])

    least = min(radius(batch) for batch in combinations(candidates.tolist(), 3))
    query = KCenter("cosine", exact=20, outliers=outliers).select(state, 3, np.random.default_rng(0))
    picks = candidates[np.searchsorted(state.candidates, query.indices)]
    assert radius(tuple(picks.tolist())) == pytest.approx(least, abs=1e-6)
    assert query.reasons is not None and query.reasons[0].endswith("no batch has a smaller radius")


def test_a_larger_pool_is_greedy_or_refused() -> None:
    state = make_state(40)
    for strategy in (Wasserstein(exact=39), KCenter(exact=39)):
        greedy = type(strategy)().select(state, 5, np.random.default_rng(0))
        query = strategy.select(state, 5, np.random.default_rng(0))
        assert (query.indices.tolist(), query.reasons) == (greedy.indices.tolist(), greedy.reasons)
    with pytest.raises(InputError, match=r"round 1: expected a pool of at most 39 samples .*, got 40"):
        Wasserstein(exact=39, weights="equal").select(state, 5, np.random.default_rng(0))


@pytest.mark.slow
def test_programs_keep_the_contract() -> None:
    check_strategy(KCenter(exact=100))
    check_strategy(Wasserstein(exact=100))
