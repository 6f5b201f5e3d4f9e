"""Learning loss: the ranking loss against loops, the losses against heads, and what it then asks about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import torch

from hybrid_al.core.embeddings import Embeddings
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation, FloatArray, IntArray
from hybrid_al.errors import InputError
from hybrid_al.query.base import QueryState
from hybrid_al.query.linear_head import held_out_probs, scaled_embeddings
from hybrid_al.query.loss_head import LossHead
from hybrid_al.query.strategies import LearningLoss
from hybrid_al.query.synthetic import make_state
from hybrid_al.scores.losses import ranking_loss


def slow(outputs: list[float], losses: list[float], margin: float) -> float:
    total, pairs = 0.0, 0
    for i in range(len(outputs)):
        for j in range(i):
            if losses[i] != losses[j]:
                sign = 1 if losses[i] > losses[j] else -1
                total += max(0.0, margin - sign * (outputs[i] - outputs[j]))
                pairs += 1
    return total / max(pairs, 1)


def test_the_ranking_loss_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    outputs, losses = rng.normal(size=9), rng.integers(4, size=9).astype(float)
    for margin in (0.3, 1.0):
        value = ranking_loss(torch.from_numpy(outputs), torch.from_numpy(losses), margin).item()
        assert value == pytest.approx(slow(outputs.tolist(), losses.tolist(), margin))
    assert ranking_loss(torch.from_numpy(outputs), torch.zeros(9), 1.0).item() == 0
    assert ranking_loss(torch.tensor([0.0, 2, 5]), torch.tensor([1.0, 2, 3]), 1.0).item() == 0  # in order, and apart


def noisy(labeled: int, n: int = 100) -> QueryState:
    """A pool in two clouds on either side of x = 0; where y is above 0.7, labels are drawn at random."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(n, 4)).astype(np.float32)
    side = vectors[:, 0] > 0
    vectors[:, 0] += np.where(side, 2, -2)
    target = np.where(vectors[:, 1] > 0.7, rng.integers(2, size=n), side)
    state = make_state(n, labeled=labeled, held_out=0)
    annotations = (Annotation(i, "class", int(target[i]), "t", 0) for i in state.labels.labeled.tolist())
    return replace(state, embeddings=Embeddings(vectors, "e", "m"), labels=LabelStore(n, tuple(annotations)))


def slow_head(rows: FloatArray, targets: IntArray, classes: int, strength: float) -> tuple[FloatArray, FloatArray]:
    """Weights (C, D) and bias (C,) of the least penalised cross-entropy, found by a general optimiser."""

    def loss(flat: FloatArray) -> float:
        weight, bias = flat[:-classes].reshape(classes, -1), flat[-classes:]
        log_probs = scipy.special.log_softmax(rows @ weight.T + bias, axis=1)
        return float(-log_probs[np.arange(len(rows)), targets].sum() + np.square(weight).sum() / (2 * strength))

    start = np.zeros(classes * (rows.shape[1] + 1))
    fit = scipy.optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-5})
    return fit.x[:-classes].reshape(classes, -1), fit.x[-classes:]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_a_sample_is_answered_by_a_head_that_did_not_see_it(classes: int, strength: float) -> None:
    rng = np.random.default_rng(classes)
    targets = np.arange(12) % classes
    rows = rng.normal(size=(12, 3)) + 2 * rng.normal(size=(classes, 3))[targets]
    probs = held_out_probs(rows.astype(np.float32), targets, 20, strength, rng)
    for i in range(12):
        others = np.arange(12) != i
        weight, bias = slow_head(rows[others], targets[others], classes, strength)
        np.testing.assert_allclose(probs[i], scipy.special.softmax(weight @ rows[i] + bias), atol=1e-4)


def test_a_class_that_no_other_sample_has_gets_nothing() -> None:
    rows, rng = np.random.default_rng(0).normal(size=(5, 3)), np.random.default_rng(0)
    probs = held_out_probs(rows, np.asarray([0, 0, 1, 1, 2]), 5, 1.0, rng)
    assert probs[4, 2] == 0 and (probs[:4] > 0).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    alone = held_out_probs(rows[:3], np.asarray([0, 0, 1]), 3, 1.0, rng)
    np.testing.assert_array_equal(alone[2], [1, 0])


def test_losses_are_those_of_heads_that_did_not_see_the_sample() -> None:
    state, strategy = noisy(10), LearningLoss(folds=20)
    rows = scaled_embeddings(state, state.labels.labeled)
    pool = np.arange(100)
    vectors = state.vectors(pool).astype(np.float64)
    np.testing.assert_allclose(
        rows, ((vectors - vectors.mean(axis=0)) / vectors.std(axis=0))[state.labels.labeled], atol=1e-5
    )
    targets = state.labels.class_targets()
    losses = LossHead(folds=strategy.folds, strength=strategy.strength).losses(rows, state, np.random.default_rng(0))
    probs = held_out_probs(rows, targets, 20, 0.01, np.random.default_rng(0))
    np.testing.assert_allclose(losses, [-np.log(p[t]) for p, t in zip(probs, targets, strict=True)])


def test_it_asks_where_a_head_errs() -> None:
    state = noisy(150, 300)
    query = LearningLoss(strength=1.0).select(state, 8, np.random.default_rng(0))
    assert query.scores is not None and query.reasons is not None
    y = state.vectors(query.indices)[:, 1]
    assert (y > 0.7).sum() >= 7 and (state.vectors(state.candidates)[:, 1] > 0.7).mean() < 0.3
    assert "predicted loss in the top" in query.reasons[0]


def test_where_there_is_nothing_to_learn_it_is_random() -> None:
    for state in (make_state(labeled=0), make_state(labeled=1), make_state(one_class=True)):
        picks = {tuple(LearningLoss().select(state, 3, np.random.default_rng(s)).indices.tolist()) for s in range(6)}
        assert len(picks) == 6


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"width": 0}, "LearningLoss.width: expected a whole number of 1 or more"),
        ({"folds": 1}, "LearningLoss.folds: expected a whole number of 2 to 1000"),
        ({"margin": 0.0}, "LearningLoss.margin: expected a"),
        ({"rate": -1.0}, "LearningLoss.rate: expected a"),
    ],
)
def test_settings_that_learn_nothing_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        LearningLoss(**settings)  # type: ignore[arg-type]
