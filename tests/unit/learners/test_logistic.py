"""The solved head: against slow references, and on the inputs that break logistic regressions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.learners.logistic import MIDDLE, STRENGTHS, Head, evidence, fitted, solve


def drawn(rows: int, features: int, classes: int, seed: int = 0) -> tuple[FloatArray, IntArray]:
    """Standard normal features (K, D), and classes (K,) that the first of them tell."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features))
    return x, (x[:, :classes] + rng.normal(size=(rows, classes))).argmax(axis=1).astype(np.int64)


def mean_loss(theta: FloatArray, x: FloatArray, y: IntArray, classes: int, balanced: bool) -> float:
    """Weighted mean cross-entropy of weights and biases in one vector."""
    weight, bias = theta[:-classes].reshape(classes, -1), theta[-classes:]
    logs = log_softmax(x @ weight.T + bias, axis=1)[np.arange(len(y)), y]
    counts = np.bincount(y, minlength=classes)
    weights = (len(y) / ((counts > 0).sum() * counts[y])) if balanced else np.ones(len(y))
    return float(-(weights * logs).mean())


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize(("rows", "features", "classes"), [(30, 5, 2), (12, 20, 2), (40, 6, 4), (15, 30, 3)])
def test_the_head_minimises_mean_loss_and_ridge(rows: int, features: int, classes: int, balanced: bool) -> None:
    x, y = drawn(rows, features, classes)
    head = solve(x, y, classes, 0.1, balanced=balanced)

    def objective(theta: FloatArray) -> float:
        return mean_loss(theta, x, y, classes, balanced) + head.ridge / 2 * float((theta[:-classes] ** 2).sum())

    best = minimize(objective, np.zeros(classes * (features + 1)), method="BFGS", options={"gtol": 1e-7})
    assert objective(np.concatenate([head.weight.ravel(), head.bias])) == pytest.approx(best.fun, abs=1e-6)
    assert np.allclose(head.weight, best.x[:-classes].reshape(classes, -1), atol=2e-3)


@pytest.mark.parametrize(("rows", "features", "classes"), [(9, 3, 2), (8, 3, 3), (7, 4, 4)])
def test_evidence_is_laplace_s_approximation(rows: int, features: int, classes: int) -> None:
    x, y = drawn(rows, features, classes, seed=3)
    present = np.unique(y)
    head = solve(x, y, classes, 0.2, balanced=True)
    prior = head.strength / 2 if len(present) == 2 else head.strength
    probs = np.exp(log_softmax(x @ head.weight[present].T + head.bias[present], axis=1))
    counts = np.bincount(y, minlength=classes)[present]
    weights = dict(zip(present, len(y) / (len(present) * counts), strict=True))
    hessian = np.zeros((len(present) * features,) * 2)
    for row, p, label in zip(x, probs, y, strict=True):
        hessian += weights[label] * np.kron(np.diag(p) - np.outer(p, p), np.outer(row, row))
    likelihood = sum(
        weights[label] * np.log(p[np.searchsorted(present, label)]) for p, label in zip(probs, y, strict=True)
    )
    shares = np.array([weights[label] for label in y]) / len(y)
    effective = 1 / (shares**2).sum() / len(y)
    expected = (
        effective * (likelihood - (head.weight**2).sum() / (2 * prior))
        - np.linalg.slogdet(np.eye(len(hessian)) + prior * hessian)[1] / 2
    )
    assert evidence(head, x, y, balanced=True) == pytest.approx(expected, rel=1e-9)


def test_several_labels_are_a_regression_each() -> None:
    x, _ = drawn(30, 6, 2)
    targets = (x[:, :3] > 0).astype(np.int64)
    head = solve(x, targets, 3, 0.05, balanced=False)
    for label in range(3):
        single = solve(x, targets[:, label], 2, 0.05, balanced=False)
        assert np.allclose(head.weight[label], single.weight[1] - single.weight[0])
        assert np.isclose(head.bias[label], single.bias[1] - single.bias[0])

    def objective(theta: FloatArray) -> float:
        weight, bias = theta[:-3].reshape(3, -1), theta[-3:]
        losses = np.logaddexp(0, np.where(targets == 1, -1, 1) * (x @ weight.T + bias))
        return float(losses.mean() + head.ridge / 2 * (weight**2).sum())

    best = minimize(objective, np.zeros(21), method="BFGS", options={"gtol": 1e-7})
    assert objective(np.concatenate([head.weight.ravel(), head.bias])) == pytest.approx(best.fun, abs=1e-6)


def test_noise_gets_a_weaker_fit_than_signal() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 30))
    noise, signal = rng.integers(2, size=400), (x[:, 0] > 0).astype(np.int64)
    assert fitted(x, noise, 2, balanced=True).strength < fitted(x, signal, 2, balanced=True).strength


def test_one_class_gives_no_weights_and_the_others_keep_a_chance() -> None:
    x, _ = drawn(20, 5, 2)
    head = fitted(x, np.ones(20, dtype=np.int64), 3, balanced=True)
    assert not head.weight.any()
    probs = np.exp(log_softmax(head.bias))
    assert probs[1] > 0.9
    assert probs[0] == probs[2] > 0


def test_separable_classes_and_constant_features_stay_finite() -> None:
    x = np.concatenate([np.full((10, 4), -1.0), np.full((10, 4), 1.0)])
    x[:, 3] = 0  # constant
    head = fitted(x, np.repeat([0, 1], 10), 2, balanced=True)
    assert head.strength <= max(STRENGTHS)
    assert np.abs(head.weight).max() < 1
    assert not head.weight[:, 3].any()
    assert np.isfinite(fitted(np.zeros((6, 4)), np.array([0, 1, 0, 1, 0, 1]), 2, balanced=True).weight).all()


def test_a_thousand_classes_of_one_or_two_labels() -> None:
    rng = np.random.default_rng(0)
    targets = np.concatenate([np.arange(1000), rng.integers(1000, size=500)])
    centres = rng.normal(size=(1000, 16))
    x = centres[targets] + 0.1 * rng.normal(size=(1500, 16))
    head = fitted(x, targets, 1000, balanced=True)
    assert head.strength == MIDDLE
    right = ((centres @ head.weight.T + head.bias).argmax(axis=1) == np.arange(1000)).mean()
    assert right > 0.3  # of chance 0.001


def test_many_labels_choose_by_what_is_held_out() -> None:
    x, y = drawn(3000, 8, 2)
    head = fitted(x, y, 2, balanced=True)
    assert isinstance(head, Head)
    assert head.strength in STRENGTHS


def test_rare_labels_that_weigh_much_count_as_few() -> None:
    rng = np.random.default_rng(0)
    strengths = []
    for rare in (0.5, 0.1):
        y = (np.arange(200) < 200 * rare).astype(np.int64)
        x = rng.normal(size=(200, 300)) + 0.15 * (2 * y - 1)[:, None]
        strengths.append(fitted(x, y, 2, balanced=True).strength)
    assert strengths[1] <= strengths[0]


def test_weights_of_labels_count_as_copies_would() -> None:
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(30, 4)), np.arange(30) % 3
    copies = rng.integers(1, 4, size=30)
    rows = np.repeat(np.arange(30), copies)
    for balanced in (False, True):
        weighted = solve(features, targets, 3, 0.1, balanced=balanced, weights=copies.astype(np.float64))
        copied = solve(features[rows], targets[rows], 3, 0.1, balanced=balanced)
        assert np.allclose(weighted.weight, copied.weight, atol=1e-4)
    plain, ones = (solve(features, targets, 3, 0.1, balanced=True, weights=w) for w in (None, np.ones(30)))
    assert np.allclose(plain.weight, ones.weight, atol=1e-5)
    scores = [evidence(plain, features, targets, balanced=True, weights=w) for w in (None, np.ones(30))]
    assert scores[0] == scores[1]
