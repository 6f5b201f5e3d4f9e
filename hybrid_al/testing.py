"""The contract that every query strategy keeps, checked on the synthetic state; for outside authors too.

from hybrid_al.testing import check_strategy
def test_mine() -> None:
    check_strategy(Mine())
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from .core.types import IntArray, PredictionBatch, Query
from .errors import HybridALError
from .query.base import QueryState, QueryStrategy, check_query
from .query.synthetic import BLOCK, PREDICTING, make_state, restrict


def check_strategy(strategy: QueryStrategy) -> None:
    """Run the whole contract on one strategy; AssertionError or the strategy's own error where it does not hold.

    The right count of distinct candidates in every corner (see `corner_cases`), the same picks for the same seed,
    whoever is held out, global random state left alone, no need read that is not declared, and a clear error for a
    need that is missing.
    """
    with unchanged_random_state():
        for case, (state, budget) in corner_cases().items():
            try:
                _select(strategy, restrict(state, strategy.needs), budget)
            except HybridALError as error:
                raise AssertionError(f"{case}: {error}") from error
        _check_repeatable(strategy)
        _check_missing_needs(strategy)


def corner_cases() -> dict[str, tuple[QueryState, int]]:
    """Name -> (state, budget): the states on which strategies tend to break."""
    cases = {
        "a usual round": (make_state(), 7),
        "a single pick": (make_state(), 1),
        "no labels": (make_state(labeled=0, round=0), 5),
        "one class only": (make_state(one_class=True), 5),
        "two classes": (make_state(classes=2), 5),
        "one sample": (make_state(1, labeled=0), 1),
        "one candidate left": (make_state(12, labeled=11), 1),
        "all candidates": (make_state(30), 24),
        "all candidates, no labels": (make_state(11, labeled=0), 11),
        "constant embeddings": (make_state(constant=True), 9),
        "constant embeddings, all candidates": (make_state(9, labeled=2, constant=True), 7),
        "more labels than candidates": (make_state(40, labeled=30), 6),
        "one-hot probabilities": (make_state(certain=True), 7),
        "a rare class": (make_state(rare=1), 7),
        "all rows alike": (_alike(make_state(constant=True)), 9),
    }
    edges = {f"{m} candidates": (make_state(m + 3, labeled=3), 4) for m in (BLOCK - 1, BLOCK, BLOCK + 1)}
    return cases | edges


def _alike(state: QueryState) -> QueryState:
    """The same state with a model that says the same of every sample, extras and consistency alike too."""
    ask = state.predictor
    assert ask is not None and state.consistency is not None

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        for batch in ask(np.zeros_like(indices), samples, views):
            yield replace(batch, indices=indices[:BLOCK])
            indices = indices[BLOCK:]

    first = state.candidates[0]
    extras = {name: np.broadcast_to(values[first], values.shape) for name, values in state.extras.items()}
    record: dict[str, Any] = {
        name: np.full_like(values, values[first]) for name, values in state.consistency.arrays().items()
    }
    return replace(state, predictor=predict, extras=extras, consistency=replace(state.consistency, **record))


def _select(strategy: QueryStrategy, state: QueryState, budget: int) -> Query:
    query = check_query(strategy.select(state, budget, np.random.default_rng(0)), state, budget)
    for name in ("regions", "reasons"):
        extra = getattr(query, name)
        assert extra is None or len(extra) == budget, f"{len(extra)} {name} for {budget} picks"
    if query.scores is not None:
        assert np.isin(query.indices, query.scores.indices).all(), "picks without a score"
    return query


def _check_repeatable(strategy: QueryStrategy) -> None:
    state = restrict(make_state(60, labeled=0), strategy.needs)
    groups = state.groups.copy()
    groups[np.setdiff1d(np.arange(len(groups)), state.candidates)] = groups.max()
    others = replace(state, groups=groups)
    picks = [_select(strategy, one, 12).indices.tolist() for one in (state, others)]
    if picks[0] != picks[1] and picks[0] == _select(strategy, state, 12).indices.tolist():
        raise AssertionError(f"picks {picks[0]} and {picks[1]}, as images that are no candidates are of other groups")
    assert picks[0] == picks[1], (
        f"unlike picks for the same seed: {picks[0]} and {picks[1]}; is anything drawn from elsewhere than the rng, as "
        "the weights of torch's layers are?"
    )


def _check_missing_needs(strategy: QueryStrategy) -> None:
    implied = {"predictions"} if strategy.needs & (PREDICTING - {"predictions"}) else set()  # as features bring them
    for need in sorted(strategy.needs - implied):
        try:
            _select(strategy, restrict(make_state(), strategy.needs - {need}), 3)
        except HybridALError:
            continue
        raise AssertionError(f"declares the need {need!r} and selects without it")


@contextmanager
def unchanged_random_state() -> Iterator[None]:
    """Assert that the block leaves the global generators of random, NumPy and torch as they were."""
    import sklearn.linear_model  # noqa: F401 (to import it for the first time draws from `random`)
    import torch

    def look() -> tuple[object, ...]:
        name, keys, *counters = np.random.get_state()  # noqa: NPY002 (the global state is what is looked at)
        return random.getstate(), name, np.asarray(keys).tobytes(), *counters, torch.get_rng_state().numpy().tobytes()

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.random(), np.random.random(), torch.rand(1)  # noqa: NPY002 (else seeding anew could go unseen)
    try:
        before = look()
        yield
        assert look() == before, "a global random state was touched; use the rng that is passed in"
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
