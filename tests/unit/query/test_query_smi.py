"""Mutual information with exemplars against its definition, f(A) + f(Q) - f(A and Q), batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hybrid_al.core.embeddings import Embeddings
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation, FloatArray
from hybrid_al.errors import InputError
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import SubmodularMutualInformation
from hybrid_al.query.strategies.smi import Measure
from hybrid_al.query.synthetic import make_state
from hybrid_al.testing import check_strategy

MEASURES: tuple[Measure, ...] = ("flqmi", "flvmi", "gcmi", "logdetmi")


def kernel(a: FloatArray, b: FloatArray) -> FloatArray:
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    alike: FloatArray = (1 + a64 @ b64.T) / 2
    return alike


def information(measure: str, batch: FloatArray, query: FloatArray, pool: FloatArray, eta: float) -> float:
    """By its definition, for unit vectors."""
    if measure == "flqmi":
        s = kernel(batch, query)
        return float(s.max(axis=0).sum() + eta * s.max(axis=1).sum())
    if measure == "flvmi":
        return float(np.minimum(kernel(batch, pool).max(axis=0), eta * kernel(query, pool).max(axis=0)).sum())
    if measure == "gcmi":
        return float(2 * eta * kernel(batch, query).sum())
    alone, exemplars = (
        kernel(batch, batch) + 0.01 * np.eye(len(batch)),
        kernel(query, query) + 0.01 * np.eye(len(query)),
    )
    across = kernel(batch, query)
    less = alone - eta**2 * across @ np.linalg.inv(exemplars) @ across.T
    return float(np.linalg.slogdet(alone)[1] - np.linalg.slogdet(less)[1])


def rare(state: QueryState) -> list[int]:
    targets = state.labels.class_targets().tolist()
    least = min(targets.count(c) for c in set(targets))
    return [i for i, c in zip(state.labels.labeled.tolist(), targets, strict=True) if targets.count(c) == least]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("eta", [1.0, 0.4])
def test_each_pick_adds_most(measure: Measure, eta: float) -> None:
    state = make_state(50, labeled=9)
    query = state.vectors(np.asarray(rare(state)), "cosine")
    pool = state.vectors(np.union1d(state.candidates, state.labels.labeled), "cosine")
    result = SubmodularMutualInformation(measure, eta=eta).select(state, 7, np.random.default_rng(0))
    batch, before = list[int](), 0.0
    assert result.reasons is not None
    for pick, reason in zip(result.indices.tolist(), result.reasons, strict=True):
        others = [i for i in state.candidates.tolist() if i not in batch]
        values = [
            information(measure, state.vectors(np.asarray([*batch, i]), "cosine"), query, pool, eta) for i in others
        ]
        assert values[others.index(pick)] == pytest.approx(max(values), abs=1e-4)
        assert float(reason.split()[1]) == pytest.approx(max(values) - before, rel=0.01, abs=1e-3)
        batch.append(pick)
        before = max(values)


def unlike(measure: str, a: FloatArray, q: FloatArray, p: FloatArray, pool: FloatArray) -> float:
    """Of a batch, exemplars and private samples, with eta 1.1 and nu 0.9."""
    if measure == "logdetcg":
        given = np.linalg.inv(kernel(p, p) + 0.01 * np.eye(len(p)))
        less = kernel(a, a) + 0.01 * np.eye(len(a)) - 0.81 * kernel(a, p) @ given @ kernel(p, a)
        return float(np.linalg.slogdet(less)[1])
    cap = 1.1 * kernel(q, pool).max(axis=0) if measure == "flcmi" else 1.0
    return float((np.minimum(kernel(a, pool).max(axis=0), cap) - 0.9 * kernel(p, pool).max(axis=0)).clip(0).sum())


UNLIKE: tuple[Measure, ...] = ("flcg", "logdetcg", "flcmi")


@pytest.mark.parametrize("measure", UNLIKE)
def test_each_pick_adds_most_of_what_is_unlike_the_private_samples(measure: Measure) -> None:
    state = make_state(40, labeled=9)
    labeled, exemplars = state.labels.labeled, np.asarray(rare(state))
    private = labeled if measure != "flcmi" else np.setdiff1d(labeled, exemplars)
    rest = np.union1d(state.candidates, labeled)
    q, p, pool = (state.vectors(rows, "cosine") for rows in (exemplars, private, rest))
    strategy = SubmodularMutualInformation(measure, eta=1.1, nu=0.9)
    batch = list[int]()
    for pick in strategy.select(state, 5, np.random.default_rng(0)).indices.tolist():
        others = [i for i in state.candidates.tolist() if i not in batch]
        values = [unlike(measure, state.vectors(np.asarray([*batch, i]), "cosine"), q, p, pool) for i in others]
        assert values[others.index(pick)] == pytest.approx(max(values), abs=1e-3)
        batch.append(pick)


def test_conditional_gain_is_f_of_both_minus_f_of_the_private() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    a, p = rows[:4], rows[4:7]
    both = np.concatenate([a, p])
    gain = float((kernel(a, rows).max(axis=0) - kernel(p, rows).max(axis=0)).clip(0).sum())
    assert gain == pytest.approx(facility(rows)(both) - facility(rows)(p))


def test_private_classes_may_be_named() -> None:
    state = make_state(60, labeled=12)
    for seed, measure in enumerate(UNLIKE):
        check_strategy(SubmodularMutualInformation(measure))
        unseen = SubmodularMutualInformation(measure, private=(9,)).select(state, 4, np.random.default_rng(seed))
        assert unseen.reasons is not None
        assert measure == "flcmi" or "nothing to be unlike" in unseen.reasons[0]
    with pytest.raises(InputError, match="nu: expected at most 1 for logdetcg"):
        SubmodularMutualInformation("logdetcg", nu=1.5)


def facility(cover: FloatArray) -> Callable[[FloatArray], float]:
    return lambda rows: float(kernel(rows, cover).max(axis=0).sum())


def log_det(rows: FloatArray) -> float:
    return float(np.linalg.slogdet(kernel(rows, rows) + 0.01 * np.eye(len(rows)))[1])


def test_the_measures_are_f_a_plus_f_q_minus_f_of_both() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    a, q, pool = rows[:4], rows[4:7], rows
    both = np.concatenate([a, q])
    f = facility(pool)
    assert information("flvmi", a, q, pool, 1.0) == pytest.approx(f(a) + f(q) - f(both))

    def cut(part: FloatArray) -> float:
        return float(kernel(pool, part).sum() - 0.3 * kernel(part, part).sum())

    assert information("gcmi", a, q, pool, 0.3) == pytest.approx(cut(a) + cut(q) - cut(both))
    assert information("logdetmi", a, q, pool, 1.0) == pytest.approx(log_det(a) + log_det(q) - log_det(both))


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_keeps_the_contract(measure: Measure) -> None:
    check_strategy(SubmodularMutualInformation(measure))


def test_exemplars_may_be_named() -> None:
    state = make_state(60, labeled=12)
    targets = state.labels.class_targets()
    for classes in ((0,), (2, 1)):
        wanted = state.labels.labeled[np.isin(targets, classes)]
        found = SubmodularMutualInformation("gcmi", classes=classes).select(state, 3, np.random.default_rng(0))
        scores = kernel(state.vectors(state.candidates, "cosine"), state.vectors(wanted, "cosine")).sum(axis=1)
        assert set(found.indices.tolist()) == set(state.candidates[np.argsort(-scores)[:3]].tolist())
    unseen = [SubmodularMutualInformation(classes=(9,)).select(state, 4, np.random.default_rng(s)) for s in range(6)]
    assert len({tuple(query.indices.tolist()) for query in unseen}) == 6
    assert unseen[0].reasons is not None and "no exemplar" in unseen[0].reasons[0]


def test_rare_classes_are_found_in_a_long_tailed_pool() -> None:
    """One label of the rare class among five of the other: the batch begins with the rare class."""
    tail = make_tail()
    for measure, most in {"flqmi": 4, "gcmi": 4, "flvmi": 1, "logdetmi": 1}.items():  # the last two spread out
        picks = SubmodularMutualInformation(measure).select(tail, 4, np.random.default_rng(0)).indices  # type: ignore[arg-type]
        assert (picks[:most] >= 90).all() and (picks >= 90).sum() >= 2, measure


def make_tail() -> QueryState:
    """90 samples of class 0 around one axis, 10 of class 1 around another; one label of class 1, five of class 0."""
    rng = np.random.default_rng(0)
    vectors = 0.1 * rng.normal(size=(100, 8)).astype(np.float32)
    vectors[:90, 0] += 1
    vectors[90:, 1] += 1
    known = [*range(5), 95]
    labels = LabelStore(100, tuple(Annotation(i, "class", int(i >= 90), "test", 0) for i in known))
    return replace(
        make_state(),
        labels=labels,
        candidates=np.setdiff1d(np.arange(100), known),
        groups=np.arange(100),
        embeddings=Embeddings(vectors, "e", "m"),
    )


@pytest.mark.parametrize("eta", [1.0, 0.6])
def test_of_picks_that_add_as_much_to_flvmi_the_one_that_serves_the_pool_best(eta: float) -> None:
    """After a few picks all is shared and no pick adds anything, and yet the order of the candidates is moot."""
    state = make_state(50, labeled=9)
    query = state.vectors(np.asarray(rare(state)), "cosine")
    pool = state.vectors(np.union1d(state.candidates, state.labels.labeled), "cosine")
    results = [
        SubmodularMutualInformation("flvmi", eta=eta).select(state, 20, np.random.default_rng(s)) for s in (0, 1)
    ]
    picks = results[0].indices.tolist()
    assert picks == results[1].indices.tolist()
    assert results[0].reasons is not None
    gains = [float(reason.split()[1]) for reason in results[0].reasons]
    assert 0 < gains.index(0) < 8 and not any(gains[gains.index(0) :])
    cap = eta * kernel(query, pool).max(axis=0)
    for k, pick in enumerate(picks):
        shared, served = np.zeros(len(pool)), np.zeros(len(pool))
        for earlier in picks[:k]:
            served = np.maximum(served, kernel(state.vectors(np.asarray([earlier]), "cosine"), pool)[0])
        shared = np.minimum(served, cap)
        worth = dict[int, float]()
        for i in np.setdiff1d(state.candidates, picks[:k]).tolist():
            s = kernel(state.vectors(np.asarray([i]), "cosine"), pool)[0]
            worth[i] = (np.minimum(s, cap) - shared).clip(0).sum() + 1e-4 * float(cap @ (s - served).clip(0))
        assert worth[pick] == pytest.approx(max(worth.values()), rel=1e-4, abs=1e-6)


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(InputError, match="did you mean 'flqmi'"):
        SubmodularMutualInformation("flqm")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"SubmodularMutualInformation\.eta: expected at most 1"):
        SubmodularMutualInformation("logdetmi", eta=1.5)
    for wrong in ({"eta": 0}, {"noise": -1}, {"rows": 0}):
        with pytest.raises(InputError, match=f"SubmodularMutualInformation.{next(iter(wrong))}"):
            SubmodularMutualInformation(**wrong)  # type: ignore[arg-type]
