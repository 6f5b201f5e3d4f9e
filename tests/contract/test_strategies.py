"""Every strategy, and `hybrid` with every batch maker: the contract, pools about the size of a block, bad input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from hybrid_al.core.embeddings import Embeddings
from hybrid_al.core.types import FloatArray, IntArray, Need, PredictionBatch
from hybrid_al.errors import InputError
from hybrid_al.query.base import EXTRAS, QueryState, QueryStrategy, check_query
from hybrid_al.query.batches import BATCHES
from hybrid_al.query.strategies import STRATEGIES, Hybrid
from hybrid_al.query.synthetic import PREDICTING, make_state, restrict
from hybrid_al.testing import check_strategy

SIZES = (1, 499, 501, 1003)
ALL: dict[str, Callable[..., QueryStrategy]] = {
    **STRATEGIES,
    **{f"hybrid, {batch}": partial(Hybrid, batch={"name": batch}) for batch in BATCHES},
}
LEAN: dict[str, dict[str, int]] = {
    "batchbald": {"samples": 2, "configurations": 4},
    "activeft": {"iterations": 20},
    "vaal": {"steps": 5},
    "waal": {"steps": 5},
    "gcn": {"steps": 5},
    "uslt": {"steps": 5},
    "feal": {"steps": 5},
    "aada": {"steps": 5},
    "tqs": {"steps": 5, "members": 2},
    "s3vaada": {"rows": 50},
    "bsq": {"samples": 2, "steps": 5, "rows": 20},
    "policy": {"games": 2, "picks": 2},
}
"""Settings with which a strategy that is slow then is asked often, or for a whole pool."""

strategies = pytest.mark.parametrize("name", ALL)


def lean(name: str) -> QueryStrategy:
    return ALL[name](**LEAN.get(name, {}))


def ask(strategy: QueryStrategy, state: QueryState, budget: int, seed: int = 0) -> IntArray:
    state = restrict(state, strategy.needs)
    return check_query(strategy.select(state, budget, np.random.default_rng(seed)), state, budget).indices


@strategies
def test_strategy(name: str) -> None:
    check_strategy(lean(name))


@strategies
@pytest.mark.parametrize("n", SIZES)
def test_a_whole_pool_is_asked(name: str, n: int) -> None:
    state = make_state(n, labeled=min(4, n - 1))
    picks = ask(lean(name), state, len(state.candidates))
    assert np.sort(picks).tolist() == state.candidates.tolist()


@strategies
def test_every_row_is_reached_those_of_a_rare_class_too(name: str) -> None:
    """Of 505 samples, three of the last class, nine tenths are asked, of other pools again, until each row once was."""
    unpicked = np.arange(505)
    for seed in range(20):
        state = make_state(505, labeled=0, held_out=0, rare=3, seed=seed)
        unpicked = np.setdiff1d(unpicked, ask(lean(name), state, 450, seed))
        if not unpicked.size:
            return
    raise AssertionError(f"rows that are never asked: {unpicked.tolist()}")


@strategies
@pytest.mark.parametrize("budget", [0, -1, 35])
def test_budgets_that_no_pool_can_pay_are_refused(name: str, budget: int) -> None:
    state = make_state(40, labeled=6)
    _refuses(ALL[name](), state, budget, rf"budget of round 1: expected 1 to 34 candidates, got {budget}")


@strategies
def test_without_candidates_nothing_can_be_asked(name: str) -> None:
    state = replace(make_state(), candidates=np.empty(0, dtype=np.int64))
    _refuses(ALL[name](), state, 1, "budget of round 1: expected 1 to 0 candidates")


@strategies
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_not_finite_are_refused(name: str, bad: float) -> None:
    state, strategy = make_state(), ALL[name]()
    assert state.embeddings is not None
    vectors = state.embeddings.vectors.copy()
    vectors[state.candidates, 3] = bad
    broken_state = replace(state, embeddings=replace(state.embeddings, vectors=vectors))
    _refuses_where_it_reads(strategy, "embeddings", broken_state, "embedding of sample .*: expected finite numbers")


@strategies
def test_embeddings_of_another_manifest_are_refused(name: str) -> None:
    state = make_state()
    other = replace(state, embeddings=Embeddings(np.zeros((44, 8), dtype=np.float32), "synthetic", "other"))
    _refuses_where_it_reads(ALL[name](), "embeddings", other, "expected embeddings of this manifest, 45 rows")


@strategies
@pytest.mark.parametrize(
    "spoil",
    [lambda p: p * np.nan, lambda p: p + np.inf, lambda p: 0.9 * p, lambda p: p - [2, -2, 0], lambda p: p * 0],
    ids=["nan", "infinite", "too little", "negative", "zero"],
)
def test_probabilities_that_are_none_are_refused(name: str, spoil: Callable[[FloatArray], FloatArray]) -> None:
    state, strategy = make_state(), ALL[name]()
    last = state.candidates[-1]

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        assert state.predictor is not None
        for batch in state.predictor(indices, samples, views):
            hit = (batch.indices == last)[:, None, None]
            yield replace(batch, probs=np.where(hit, spoil(batch.probs), batch.probs))

    words = rf"predictions of (round 1, )?sample {last}: expected (finite probabilities|probabilities that sum to one)"
    _refuses_where_it_reads(strategy, "predictions", replace(state, predictor=predict), words)


@strategies
def test_records_that_are_not_finite_are_refused(name: str) -> None:
    state, strategy = make_state(), ALL[name]()
    assert state.consistency is not None
    record: dict[str, Any] = {
        k: v * np.nan if v.dtype.kind == "f" else v for k, v in state.consistency.arrays().items()
    }
    extras = {k: np.full_like(v, np.nan) for k, v in state.extras.items()}
    broken_state = replace(state, consistency=replace(state.consistency, **record), extras=extras)
    for need in strategy.needs:
        if need == "consistency" or need in EXTRAS:
            _refuses(strategy, broken_state, 4, "expected (a )?finite numbers?")


def _refuses_where_it_reads(strategy: QueryStrategy, need: Need, state: QueryState, words: str) -> None:
    reads = strategy.needs & (PREDICTING if need == "predictions" else {need})
    if reads:
        _refuses(strategy, state, 4, words)
    else:
        assert len(ask(strategy, state, 4)) == 4


def _refuses(strategy: QueryStrategy, state: QueryState, budget: int, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        strategy.select(restrict(state, strategy.needs), budget, np.random.default_rng(0))
    assert "\n" not in str(caught.value)
