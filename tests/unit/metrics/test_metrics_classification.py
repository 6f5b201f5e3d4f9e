"""Classification metrics and the area under the budget curve against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.errors import InputError
from hybrid_al.metrics.calibration import calibration_error
from hybrid_al.metrics.classification import aubc, classification


def case(n: int = 60, c: int = 4, seed: int = 0) -> tuple[FloatArray, IntArray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(c), size=n), rng.integers(c, size=n)


def pairs_auroc(positive: FloatArray, negative: FloatArray) -> float:
    """Share of (positive, negative) pairs in the right order, ties half."""
    return float(np.mean([(p > q) + 0.5 * (p == q) for p in positive for q in negative]))


def test_binary_auroc_is_of_class_one() -> None:
    probs, targets = case(c=2)
    probs = np.round(probs, 1)
    expected = pairs_auroc(probs[targets == 1, 1], probs[targets == 0, 1])
    assert classification(probs, targets)["auroc"] == pytest.approx(expected)
    assert classification(probs[:, ::-1], targets)["auroc"] == pytest.approx(
        1 - expected
    )  # never folded to the better side


def test_auroc_averages_over_the_classes_present() -> None:
    probs, targets = case()
    targets[targets == 2] = 0
    areas = [pairs_auroc(probs[targets == c, c], probs[targets != c, c]) for c in (0, 1, 3)]
    assert classification(probs, targets)["auroc"] == pytest.approx(np.mean(areas))


@pytest.mark.parametrize("c", [2, 3])
def test_one_class_has_no_auroc_and_all_else(c: int) -> None:
    probs, _ = case(c=c)
    metrics = classification(probs, np.zeros(60, dtype=np.int64))
    assert "auroc" not in metrics
    assert metrics["balanced_accuracy"] == metrics["accuracy"] == pytest.approx(np.mean(probs.argmax(axis=1) == 0))
    assert all(math.isfinite(v) for v in metrics.values())


def test_rates_against_a_loop() -> None:
    probs, targets = case()
    targets[targets == 2] = 0  # class 2 is predicted and never true
    predicted = probs.argmax(axis=1)
    recalls, f1 = [], []
    for c in (0, 1, 3):
        hit = sum(1 for t, p in zip(targets, predicted, strict=True) if t == p == c)
        true, predicted_count = int((targets == c).sum()), int((predicted == c).sum())
        recalls.append(hit / true)
        f1.append(2 * hit / (true + predicted_count))
    metrics = classification(probs, targets)
    assert metrics["accuracy"] == pytest.approx(np.mean(predicted == targets))
    assert metrics["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert metrics["macro_f1"] == pytest.approx(np.mean(f1))
    nll = -np.mean([math.log(probs[i, t]) for i, t in enumerate(targets)])
    assert metrics["nll"] == pytest.approx(nll)


def test_nll_of_a_wrong_certainty_is_finite() -> None:
    assert classification(np.array([[1.0, 0], [1, 0]]), np.array([0, 1]))["nll"] == pytest.approx(-math.log(1e-12) / 2)


def test_ece_against_a_loop() -> None:
    probs, targets = case(200, 3)
    confidence, correct = probs.max(axis=1), probs.argmax(axis=1) == targets
    expected = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert calibration_error(probs, targets) == pytest.approx(expected)


def test_ece_bins_hold_their_upper_edge() -> None:
    probs = np.array([[0.6, 0.4], [0.59, 0.41]])  # both in (8/15, 9/15]
    assert calibration_error(probs, np.array([0, 1])) == pytest.approx(abs(0.5 - 0.595))


def test_perfect_predictions() -> None:
    metrics = classification(np.eye(3)[[0, 1, 2, 1]], np.array([0, 1, 2, 1]))
    right = dict.fromkeys(("auroc", "accuracy", "balanced_accuracy", "macro_f1"), 1)
    assert metrics == right | dict.fromkeys(("nll", "ece", "classwise_ece", "brier"), 0)


@pytest.mark.parametrize(
    ("probs", "targets"),
    [
        (np.ones((3, 2)) / 2, np.zeros(2, np.int64)),
        (np.ones((0, 2)), np.zeros(0, np.int64)),
        (np.ones((2, 2)) / 2, np.array([0, 2])),
        (np.full((2, 2), np.nan), np.array([0, 1])),
    ],
)
def test_refuses_what_does_not_fit(probs: FloatArray, targets: IntArray) -> None:
    with pytest.raises(InputError, match="metrics"):
        classification(probs, targets)


def test_aubc_by_hand() -> None:
    assert aubc([20, 40, 80], [0.5, 0.7, 0.9]) == pytest.approx((20 * 0.6 + 40 * 0.8) / 60)
    assert aubc([20, 40, 80], [0.5, 0.7, 0.9], log2=True) == pytest.approx((0.6 + 0.8) / 2)
    assert aubc([20], [0.6]) == aubc([20], [0.6], log2=True) == 0.6


@pytest.mark.parametrize(
    ("labels", "values"), [([], []), ([1, 2], [0.5]), ([20, 20], [0, 1]), ([0, 1], [0, 1]), ([1, 2], [0, np.nan])]
)
def test_aubc_refuses_no_curve(labels: list[float], values: list[float]) -> None:
    with pytest.raises(InputError, match="aubc"):
        aubc(labels, values)
