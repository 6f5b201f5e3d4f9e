"""Scores of Dirichlet distributions against draws and loops, and the queries by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import scipy.special

from hybrid_al.core.types import FloatArray, IntArray, PredictionBatch
from hybrid_al.errors import HybridALError, InputError
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import DUC, Evidential
from hybrid_al.query.synthetic import make_state
from hybrid_al.scores.samples import bald, dirichlet_data, dirichlet_information, dissonance, entropy, vacuity

ALPHA = np.array([[1.0, 1, 1], [5, 2, 0.5], [30, 30, 30], [200, 1, 1], [0.2, 0.1, 0.05], [40, 35, 1]])


@pytest.mark.parametrize("classes", [2, 3])
def test_data_and_information_are_those_of_many_members(classes: int) -> None:
    rng = np.random.default_rng(0)
    for alpha in ALPHA[:, :classes]:
        draws = rng.dirichlet(alpha, size=200_000)[None]  # a committee whose members are draws
        mean_entropy = entropy(draws[0][:, None]).mean()
        assert dirichlet_data(alpha[None])[0] == pytest.approx(mean_entropy, abs=0.005)
        assert dirichlet_information(alpha[None])[0] == pytest.approx(bald(draws)[0], abs=0.005)


def test_vacuity_is_the_lack_of_evidence() -> None:
    np.testing.assert_allclose(vacuity(ALPHA), [1, 3 / 7.5, 1 / 30, 3 / 202, 3 / 0.35, 3 / 76])


def slow_dissonance(alpha: FloatArray) -> float:
    belief = [max(a - 1, 0) / alpha.sum() for a in alpha]
    total = 0.0
    for k, own in enumerate(belief):
        above = below = 0.0
        for j, other in enumerate(belief):
            if j != k:
                balance = 1 - abs(own - other) / (own + other) if own > 0 and other > 0 else 0.0
                above += other * balance
                below += other
        total += own * above / below if below > 0 else 0.0
    return total


def test_dissonance_is_the_sum_over_pairs() -> None:
    np.testing.assert_allclose(dissonance(ALPHA), [slow_dissonance(a) for a in ALPHA], atol=1e-12)
    assert dissonance(ALPHA)[[0, 3, 4]].tolist() == [0, 0, 0]  # nothing that could be at odds
    assert dissonance(ALPHA)[2] == pytest.approx(1 - vacuity(ALPHA)[2])  # all belief is in balance


def test_certain_and_scarce_evidence_is_safe() -> None:
    alpha = np.exp(np.array([[50.0, -50], [-50, -50], [50, 50]]))
    for score in (vacuity, dissonance, dirichlet_data, dirichlet_information):
        values = score(alpha)
        assert np.isfinite(values).all() and (values >= 0).all()
    assert dirichlet_data(alpha)[2] == pytest.approx(1) and dirichlet_information(alpha)[1] == pytest.approx(1)


@pytest.mark.parametrize("alpha", [np.zeros((1, 2)), np.full((1, 2), np.nan), np.ones((2, 1)), np.ones(3)])
def test_what_is_no_dirichlet_is_refused(alpha: FloatArray) -> None:
    for score in (vacuity, dissonance, dirichlet_data, dirichlet_information):
        with pytest.raises(InputError, match="alpha: expected shape"):
            score(alpha)


def with_logits(state: QueryState, logits_NC: FloatArray) -> QueryState:
    """The same state with a model that says these logits: features that are logits, and a head that passes them on."""

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        probs = scipy.special.softmax(logits_NC[indices], axis=1)[:, None]
        yield PredictionBatch(indices, probs, logits_NC[indices], (np.eye(3), np.full(3, 0.5)))

    return replace(state, predictor=predict)


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("vacuity", vacuity),
        ("dissonance", dissonance),
        ("information", dirichlet_information),
        ("data", dirichlet_data),
    ],
)
def test_the_most_uncertain_are_asked(name: str, score: object) -> None:
    state = make_state()
    logits = np.random.default_rng(3).normal(size=(45, 3), scale=2)
    assert callable(score)
    values = score(np.exp(logits[state.candidates] + 0.5))
    query = Evidential(name).select(with_logits(state, logits), 5, np.random.default_rng(0))  # type: ignore[arg-type]
    assert set(query.indices.tolist()) == set(state.candidates[np.argsort(-values)[:5]].tolist())
    assert query.reasons is not None and name in query.reasons[0]


def test_duc_keeps_by_distribution_and_picks_by_data() -> None:
    state = make_state()
    logits = np.random.default_rng(4).normal(size=(45, 3), scale=2)
    alpha = np.exp(logits[state.candidates] + 0.5)
    shortlist = np.argsort(-dirichlet_information(alpha))[:8]
    best = shortlist[np.argsort(-dirichlet_data(alpha)[shortlist])[:4]]
    query = DUC(keep=2).select(with_logits(state, logits), 4, np.random.default_rng(0))
    assert query.indices.tolist() == state.candidates[best].tolist()


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(HybridALError, match=r"Evidential\.score.*vacuum"):
        Evidential("vacuum")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"DUC\.keep: expected a whole number of 1 or more"):
        DUC(keep=0)
