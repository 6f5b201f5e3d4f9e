"""The contract that every query strategy keeps, and the synthetic state it is checked on; for outside authors too.

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
import scipy.special

from .core.consistency import Consistency
from .core.embeddings import Embeddings
from .core.labels import LabelStore
from .core.types import Annotation, FloatArray, IntArray, Need, PredictionBatch, Query
from .errors import HybridALError, InputError
from .query.base import EXTRAS, Predictor, QueryState, QueryStrategy, check_query
from .scores.recorder import ConsistencyRecorder

BLOCK = 8  # samples per prediction batch of the synthetic state
PREDICTING: frozenset[Need] = frozenset({"predictions", "features", "samples", "views"})


def make_state(
    n: int = 40,
    *,
    labeled: int = 6,
    classes: int = 3,
    dim: int = 8,
    seed: int = 0,
    round: int = 1,
    held_out: int = 5,
    one_class: bool = False,
    constant: bool = False,
    certain: bool = False,
    rare: int | None = None,
) -> QueryState:
    """A state in which every need is met: a pool of n samples, of which `labeled` have a label.

    The manifest has `held_out` more rows strewn in between, which are neither candidates nor labeled and whose
    embeddings are nan: reading them is an error. `one_class`: all labels are class 0; `constant`: all embeddings
    are equal; `certain`: all probabilities are 0 or 1; `rare`: so many samples of the pool are of the last class, the
    others share the rest. Extras of rows outside the pool are nan too. Arrays are read-only.
    """
    if not 0 <= labeled < n:
        raise InputError("make_state", f"0 to {n - 1} labeled", str(labeled))
    rng = np.random.default_rng(seed)
    total = n + held_out
    pool = np.sort(rng.permutation(total)[:n])
    truth = rng.integers(classes, size=total)
    if rare is not None:
        truth %= classes - 1
        truth[rng.permutation(pool)[:rare]] = classes - 1
    known = rng.permutation(pool)[:labeled]
    vectors = np.full((total, dim), np.nan, dtype=np.float32)
    vectors[pool] = 1 if constant else 3 * rng.normal(size=(classes, dim))[truth[pool]] + rng.normal(size=(n, dim))
    state = QueryState(
        round=round,
        labels=_labels(total, known, np.zeros_like(truth) if one_class else truth),
        candidates=np.setdiff1d(pool, known),
        groups=rng.integers(max(n // 4, 1), size=total),
        embeddings=Embeddings(vectors, encoder="synthetic", manifest="synthetic"),
        predictor=_predictor(2 * np.eye(classes)[truth], dim, seed, certain),
        consistency=_consistency(total, pool, classes, rng),
        extras=_extras(total, pool, classes, dim, rng),
    )
    for array in (state.candidates, state.groups, vectors, *state.extras.values()):
        np.asarray(array).setflags(write=False)
    return state


def _extras(total: int, pool: IntArray, classes: int, dim: int, rng: np.random.Generator) -> dict[str, FloatArray]:
    extras: dict[str, FloatArray] = {
        "previous_probs": rng.dirichlet(np.ones(classes), size=total),
        **dict(zip(EXTRAS["stage0"], rng.random((3, total)), strict=True)),
        "gradients": rng.normal(size=(total, dim)),
        "cost": rng.uniform(0.5, 2, total),
        "tissue": rng.random(total),
    }
    for values in extras.values():
        values[np.setdiff1d(np.arange(total), pool)] = np.nan
    if len(pool) > 3:
        extras["pretext_loss"][pool[1]] = extras["confidence"][pool[2]] = np.nan  # never seen by pretraining
    return extras


def _labels(total: int, known: IntArray, truth: IntArray) -> LabelStore:
    return LabelStore(total, tuple(Annotation(int(i), "class", int(truth[i]), "synthetic", 0) for i in known))


def _predictor(logits_NC: FloatArray, dim: int, seed: int, certain: bool) -> Predictor:
    """A model whose passes differ per sample and pass, and depend on nothing else."""
    sharpness = 1e4 if certain else 1.0
    classes = logits_NC.shape[1]
    weight = np.random.default_rng(seed).normal(size=(classes, dim))

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        for start in range(0, len(indices), BLOCK):
            rows = indices[start : start + BLOCK]
            noise = [np.random.default_rng((seed, int(i))).normal(size=(samples * views, classes)) for i in rows]
            probs = scipy.special.softmax(sharpness * (logits_NC[rows][:, None] + np.stack(noise)), axis=2)
            yield PredictionBatch(rows, probs, logits_NC[rows] @ weight, (weight, np.zeros(classes)))

    return predict


def _consistency(total: int, pool: IntArray, classes: int, rng: np.random.Generator) -> Consistency:
    recorder = ConsistencyRecorder(total)
    for visited in (pool, rng.permutation(pool)[: len(pool) // 2 + 1], rng.permutation(pool)[: len(pool) // 2 + 1]):
        weak, strong = rng.dirichlet(np.ones(classes), size=(2, len(visited)))
        recorder.update(visited, weak, strong)
    return recorder.record()


def restrict(state: QueryState, needs: frozenset[Need]) -> QueryState:
    """The state as a strategy with these needs gets it from the loop: nothing that was not asked for."""
    hidden = {name for need, names in EXTRAS.items() if need not in needs for name in names}
    return replace(
        state,
        embeddings=state.embeddings if "embeddings" in needs else None,
        consistency=state.consistency if "consistency" in needs else None,
        predictor=_restricted(state.predictor, needs) if state.predictor and needs & PREDICTING else None,
        extras={name: values for name, values in state.extras.items() if name not in hidden},
    )


def _restricted(predictor: Predictor, needs: frozenset[Need]) -> Predictor:
    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        if samples > 1 and "samples" not in needs:
            raise InputError("needs", "'samples' for several passes", str(sorted(needs)))
        if views > 1 and "views" not in needs:
            raise InputError("needs", "'views' for several views", str(sorted(needs)))
        for batch in predictor(indices, samples, views):
            yield batch if "features" in needs else replace(batch, features=None, head=None)

    return predict


def check_strategy(strategy: QueryStrategy) -> None:
    """Run the whole contract on one strategy; AssertionError or the strategy's own error where it does not hold.

    The right count of distinct candidates in every corner (see `corner_cases`), the same picks for the same seed,
    global random state left alone, no need read that is not declared, and a clear error for a need that is missing.
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


def _select(strategy: QueryStrategy, state: QueryState, budget: int, seed: int = 0) -> Query:
    query = check_query(strategy.select(state, budget, np.random.default_rng(seed)), state, budget)
    for name in ("regions", "reasons"):
        extra = getattr(query, name)
        assert extra is None or len(extra) == budget, f"{len(extra)} {name} for {budget} picks"
    if query.scores is not None:
        assert np.isin(query.indices, query.scores.indices).all(), "picks without a score"
    return query


def _check_repeatable(strategy: QueryStrategy) -> None:
    state = restrict(make_state(60, labeled=0), strategy.needs)
    picks = [_select(strategy, state, 12).indices.tolist() for _ in range(2)]
    assert picks[0] == picks[1], f"unlike picks for the same seed: {picks[0]} and {picks[1]}"


def _check_missing_needs(strategy: QueryStrategy) -> None:
    for need in sorted(strategy.needs):
        try:
            _select(strategy, restrict(make_state(), strategy.needs - {need}), 3)
        except HybridALError:
            continue
        raise AssertionError(f"declares the need {need!r} and selects without it")


@contextmanager
def unchanged_random_state() -> Iterator[None]:
    """Assert that the block leaves the global generators of random, NumPy and torch as they were."""
    import torch

    def look() -> tuple[object, ...]:
        name, keys, *rest = np.random.get_state()  # noqa: NPY002 (the global state is what is looked at)
        return random.getstate(), name, np.asarray(keys).tobytes(), *rest, torch.get_rng_state().numpy().tobytes()

    saved = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.random(), np.random.random(), torch.rand(1)  # noqa: NPY002 (a step aside, or seeding anew could go unseen)
    try:
        before = look()
        yield
        assert look() == before, "a global random state was touched; use the rng that is passed in"
    finally:
        random.setstate(saved[0])
        np.random.set_state(saved[1])  # noqa: NPY002
        torch.set_rng_state(saved[2])
