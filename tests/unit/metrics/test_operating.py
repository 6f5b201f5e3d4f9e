"""Confusion, sensitivity and specificity, against counts one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix

from hybrid_al.errors import InputError
from hybrid_al.metrics.operating import (
    Share,
    at_threshold,
    best_threshold,
    confusion,
    dice_of,
    of_confusion,
)
from hybrid_al.metrics.segmentation import dice

RNG = np.random.default_rng(0)


def test_confusion_and_each_class_against_the_rest() -> None:
    truth, predicted = RNG.integers(0, 4, 200), RNG.integers(0, 4, 200)
    counts = confusion(truth, predicted, 5)
    np.testing.assert_array_equal(counts, confusion_matrix(truth, predicted, labels=range(5)))
    for c, each in enumerate(of_confusion(counts)):
        there = [p == c for t, p in zip(truth, predicted, strict=True) if t == c]
        elsewhere = [p != c for t, p in zip(truth, predicted, strict=True) if t != c]
        assert (each.sensitivity.hits, each.sensitivity.n) == (sum(there), len(there))
        assert (each.specificity.hits, each.specificity.n) == (sum(elsewhere), len(elsewhere))
    for wrong in ([0, 5], [-1, 0]):
        with pytest.raises(InputError, match="confusion"):
            confusion(np.asarray([0, 1]), np.asarray(wrong), 5)


def test_the_interval_of_a_share_is_wilsons() -> None:
    for hits, n in ((0, 7), (7, 7), (3, 9), (181, 200)):
        low, high = Share(hits, n).limits
        expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert Share(0, 0).limits == (0.0, 1.0) and math.isnan(Share(0, 0).value)


def test_the_threshold_has_the_largest_sum_of_sensitivity_and_specificity() -> None:
    for k in range(50):
        rng = np.random.default_rng(k)
        probs, there = rng.integers(0, 12, 30) / 12, rng.random(30) < 0.4
        threshold = best_threshold(probs, there)
        assert threshold is not None
        each = at_threshold(probs, there, threshold)
        sums = [
            np.mean(probs[there] >= t) + np.mean(probs[~there] < t) for t in np.linspace(0, 1.01, 400) if there.any()
        ]
        assert each.sensitivity.value + each.specificity.value == pytest.approx(max(sums))
    assert best_threshold(np.asarray([0.2, 0.9]), np.asarray([True, True])) is None
    assert best_threshold(np.asarray([0.1, 0.4, 0.9]), np.asarray([False, False, True])) == pytest.approx(0.65)


def test_dice_of_confusions_is_dice() -> None:
    truth, predicted = RNG.integers(0, 3, (6, 40)), RNG.integers(0, 3, (6, 40))
    truth[0], predicted[0] = 0, 0
    values = dice_of(np.stack([confusion(t, p, 3) for t, p in zip(truth, predicted, strict=True)]))
    expected = [[dice(p == c, t == c) for c in (1, 2)] for t, p in zip(truth, predicted, strict=True)]
    np.testing.assert_allclose(values, expected)
