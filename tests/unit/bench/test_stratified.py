"""The class-stratified baseline: counts of classes, what it does where a class runs out, and the contract."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from hybrid_al.bench.stratified import ClassStratified
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation, IntArray, Need, Query
from hybrid_al.errors import InputError
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import STRATEGIES
from hybrid_al.query.synthetic import make_state, restrict
from hybrid_al.testing import check_strategy


def pool(truth: IntArray, labeled: list[int]) -> QueryState:
    """Every row is in the pool; those labeled have their true class, or 0 where that is not known."""
    labels = LabelStore(len(truth), tuple(Annotation(i, "class", max(int(truth[i]), 0), "test", 0) for i in labeled))
    state = restrict(make_state(), frozenset())
    return replace(
        state,
        labels=labels,
        candidates=np.setdiff1d(np.arange(len(truth)), labeled),
        groups=np.arange(len(truth)),
    )


def picks(truth: IntArray, labeled: list[int], budget: int, seed: int = 0) -> IntArray:
    return ClassStratified(truth).select(pool(truth, labeled), budget, np.random.default_rng(seed)).indices


def classes_of(counts: dict[int, int]) -> IntArray:
    """Rows in an order without order: so many of each class."""
    return np.random.default_rng(9).permutation(np.repeat(list(counts), list(counts.values())))


@pytest.mark.parametrize("budget", [1, 2, 9, 10, 20])
def test_a_rare_class_gets_half(budget: int) -> None:
    truth = classes_of({0: 90, 1: 10})
    for seed in range(5):
        counts = np.bincount(truth[picks(truth, [], budget, seed)], minlength=2)
        assert counts.sum() == budget and abs(int(counts[0] - counts[1])) == budget % 2


def test_every_prefix_is_as_even_as_it_can_be() -> None:
    truth = classes_of({0: 50, 1: 20, 2: 8})
    classes = truth[picks(truth, [], 24)]
    for b in range(1, 25):
        assert np.ptp(np.bincount(classes[:b], minlength=3)) == (b % 3 > 0)


def test_labels_count() -> None:
    truth = classes_of({0: 90, 1: 10})
    labeled = [*np.flatnonzero(truth == 0)[:5].tolist(), *np.flatnonzero(truth == 1)[:1].tolist()]
    assert truth[picks(truth, labeled, 4)].tolist() == [1, 1, 1, 1]
    assert np.bincount(truth[picks(truth, labeled, 10)]).tolist() == [3, 7]


def test_a_class_that_runs_out_leaves_its_turns_to_the_others() -> None:
    truth = classes_of({0: 40, 1: 3, 2: 40})
    assert np.bincount(truth[picks(truth, [], 23)]).tolist() == [10, 3, 10]
    assert sorted(picks(truth, [], 83).tolist()) == list(range(83))


def test_rows_of_unknown_class_come_last() -> None:
    truth = classes_of({-1: 30, 0: 6, 1: 2})
    labeled = np.flatnonzero(truth == -1)[:4].tolist()
    classes = truth[picks(truth, labeled, 12)]
    assert np.bincount(classes[:8]).tolist() == [6, 2] and (classes[8:] == -1).all()
    assert len(np.unique(picks(np.full(9, -1), [2], 8))) == 8


def test_ties_between_classes_and_rows_of_a_class_are_random_and_depend_on_the_rng_alone() -> None:
    truth = classes_of({0: 50, 1: 50, 2: 50})
    first = [int(picks(truth, [], 1, seed)[0]) for seed in range(300)]
    share = np.bincount(truth[first]) / 300
    np.testing.assert_allclose(share, 1 / 3, atol=0.1)
    assert len(set(first)) > 100
    np.testing.assert_array_equal(picks(truth, [3, 4], 9, seed=5), picks(truth, [3, 4], 9, seed=5))


@dataclass(frozen=True)
class OfAnyState:
    """The strategy with a truth as long as the state's manifest, as the contract's states differ in length."""

    needs: ClassVar[frozenset[Need]] = ClassStratified.needs

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        truth = np.random.default_rng(1).integers(-1, 3, size=len(state.groups))
        return ClassStratified(truth).select(state, budget, rng)


def test_it_keeps_the_contract() -> None:
    check_strategy(OfAnyState())


def test_it_is_not_among_the_strategies() -> None:
    assert not any(issubclass(strategy, ClassStratified) for strategy in STRATEGIES.values())
    assert "class_stratified" not in STRATEGIES


@pytest.mark.parametrize("truth", [np.zeros((3, 2), np.int64), np.array([0, -2]), np.array([0.0, 1.0])])
def test_refuses_what_is_no_class_of_each_row(truth: IntArray) -> None:
    with pytest.raises(InputError, match="whole numbers"):
        ClassStratified(truth)


def test_refuses_the_truth_of_another_manifest_and_a_budget_that_does_not_fit() -> None:
    with pytest.raises(InputError, match="9 rows"):
        ClassStratified(np.zeros(8, np.int64)).select(pool(np.zeros(9, np.int64), []), 2, np.random.default_rng(0))
    with pytest.raises(InputError, match="1 to 9 candidates"):
        picks(np.zeros(9, np.int64), [], 10)
