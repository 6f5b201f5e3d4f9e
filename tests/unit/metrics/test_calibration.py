"""Calibration: planted miscalibration is found and undone, and its measures equal slow references."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.errors import InputError
from hybrid_al.metrics.calibration import (
    Calibration,
    CalibrationSettings,
    Method,
    brier,
    calibrate,
    calibration_error,
    classwise_error,
    dirichlet_scaling,
    logs,
    reliability,
    temperature_scaling,
    vector_scaling,
)


def honest(n: int, c: int, seed: int = 0) -> tuple[FloatArray, IntArray]:
    """Probabilities, and classes drawn from them."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(c, 0.8), size=n).clip(1e-9)
    probs /= probs.sum(axis=1, keepdims=True)
    targets = (rng.random((n, 1)) > probs.cumsum(axis=1)).sum(axis=1).clip(0, c - 1)
    return probs, targets.astype(np.int64)


def nll(probs: FloatArray, targets: IntArray) -> float:
    return -sum(math.log(probs[i, t]) for i, t in enumerate(targets.tolist())) / len(targets)


@pytest.mark.parametrize("c", [2, 3, 9])
@pytest.mark.parametrize("planted", [0.4, 1.0, 3.0])
def test_a_planted_temperature_is_found_and_undone(c: int, planted: float) -> None:
    probs, targets = honest(20_000, c)
    shift = np.random.default_rng(1).normal(size=(20_000, 1))
    logits = np.log(probs) * planted + shift
    calibration = temperature_scaling(logits, targets)
    assert 1 / calibration.scale[0] == pytest.approx(planted, rel=0.04)
    assert np.ptp(calibration.scale) == 0 and not calibration.bias.any()
    fresh, labels = honest(20_000, c, seed=2)
    raw_probs = Calibration(np.ones(c), np.zeros(c)).probs(np.log(fresh) * planted)
    calibrated = calibration.probs(np.log(fresh) * planted)
    assert np.allclose(calibrated.sum(axis=1), 1) and np.array_equal(
        calibrated.argmax(axis=1), raw_probs.argmax(axis=1)
    )
    assert calibration_error(calibrated, labels) < 0.02 and classwise_error(calibrated, labels) < 0.015
    if planted != 1:
        assert calibration_error(raw_probs, labels) > 0.07 and classwise_error(raw_probs, labels) > 0.02
        assert brier(calibrated, labels) < brier(raw_probs, labels)


@pytest.mark.parametrize("prior", [0.0, 1.0])
def test_temperature_equals_a_search_through_all(prior: float) -> None:
    probs, targets = honest(60, 3)
    logits = np.log(probs) * 1.7
    losses = {}
    for step in range(-300, 300):
        t = math.exp(step / 100)
        scaled = np.exp(logits / t) / np.exp(logits / t).sum(axis=1, keepdims=True)
        losses[step / 100] = nll(scaled, targets) + prior * (step / 100) ** 2 / 120
    best = min(losses, key=lambda k: losses[k])
    calibration = temperature_scaling(logits, targets, prior=prior)
    assert -math.log(calibration.scale[0]) == pytest.approx(best, abs=0.0051)


def test_planted_scales_and_biases_are_found_where_a_temperature_cannot_help() -> None:
    scale, bias = np.asarray([0.5, 1.0, 2.0]), np.asarray([0.8, -0.5, -0.3])
    raw, _ = honest(40_000, 3)
    truth = Calibration(scale, bias).probs(np.log(raw))
    rng = np.random.default_rng(3)
    targets = (rng.random((40_000, 1)) > truth.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    calibration = vector_scaling(np.log(raw)[:30_000], targets[:30_000])
    np.testing.assert_allclose(calibration.scale, scale, atol=0.1)
    np.testing.assert_allclose(calibration.bias - calibration.bias.mean(), bias - bias.mean(), atol=0.1)
    one = temperature_scaling(np.log(raw)[:30_000], targets[:30_000])
    apart, labels = np.log(raw)[30_000:], targets[30_000:]
    assert classwise_error(calibration.probs(apart), labels) < 0.02
    assert classwise_error(one.probs(apart), labels) > 0.03
    assert nll(calibration.probs(apart), labels) < nll(one.probs(apart), labels)


def test_vector_scaling_is_at_a_minimum_and_knows_no_common_shift() -> None:
    probs, targets = honest(80, 3)
    logits = np.log(probs) * 2

    def loss(values: FloatArray) -> float:
        away = values - np.asarray([1, 1, 1, 0, 0, 0])
        return nll(Calibration(values[:3], values[3:]).probs(logits), targets) + float(away @ away) / 160

    calibration = vector_scaling(logits, targets)
    best = np.concatenate([calibration.scale, calibration.bias])
    for k in range(6):
        for step in (-0.01, 0.01):
            assert loss(best + step * np.eye(6)[k]) > loss(best)
    shifted = vector_scaling(logits + np.arange(80)[:, None], targets)
    np.testing.assert_allclose(shifted.scale, calibration.scale, atol=1e-3)


def test_a_planted_mixture_of_classes_is_found_where_no_scale_and_bias_can_help() -> None:
    """Class 0 and 1 trade places in part: what lies off the diagonal."""
    matrix, bias = np.asarray([[1.0, 0.6, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]]), np.asarray([0.3, -0.3, 0.0])
    raw, _ = honest(12_000, 3)
    truth = Calibration(matrix, bias).probs(np.log(raw))
    assert truth[0] == pytest.approx(
        np.exp(np.log(raw[0]) @ matrix.T + bias) / np.exp(np.log(raw[0]) @ matrix.T + bias).sum()
    )
    targets = (np.random.default_rng(4).random((12_000, 1)) > truth.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    calibration = dirichlet_scaling(np.log(raw)[:10_000], targets[:10_000])
    raw_probs, apart = calibration.probs(np.log(raw)[10_000:]), truth[10_000:]
    diagonal = vector_scaling(np.log(raw)[:10_000], targets[:10_000]).probs(np.log(raw)[10_000:])
    assert abs(raw_probs - apart).mean() < 0.01 and abs(diagonal - apart).mean() > 0.02


def test_dirichlet_scaling_is_at_a_minimum_and_is_vector_scaling_on_the_diagonal() -> None:
    probs, targets = honest(80, 3)
    logits = np.log(probs) * 2
    identity = np.concatenate([np.eye(3).ravel(), np.zeros(3)])

    def loss(values: FloatArray) -> float:
        away = values - identity
        calibrated = Calibration(values[:9].reshape(3, 3), values[9:]).probs(logits)
        return nll(calibrated, targets) + float(away @ away) / 160

    calibration = dirichlet_scaling(logits, targets)
    best = np.concatenate([calibration.scale.ravel(), calibration.bias])
    for k in range(12):
        for step in (-0.01, 0.01):
            assert loss(best + step * np.eye(12)[k]) > loss(best)
    vector = Calibration(np.asarray([0.5, 1.0, 2.0]), np.asarray([0.1, 0.0, -0.1]))
    np.testing.assert_allclose(Calibration(np.diag(vector.scale), vector.bias).probs(logits), vector.probs(logits))
    stacked = vector.probs(np.stack([logits, logits + 5], axis=1))  # passes (N, S, C)
    np.testing.assert_allclose(stacked, np.stack([vector.probs(logits)] * 2, axis=1))


@pytest.mark.parametrize("scaling", [temperature_scaling, vector_scaling, dirichlet_scaling])
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("c", [2, 9])
def test_few_labels_of_one_class_all_right_do_not_make_a_certainty(
    scaling: Callable[[FloatArray, IntArray], Calibration], n: int, c: int
) -> None:
    logits = np.zeros((n, c))
    logits[:, 0] = 2.0
    calibration = scaling(logits, np.zeros(n, dtype=np.int64))
    probs = calibration.probs(logits)
    assert np.isfinite(calibration.scale).all() and np.isfinite(calibration.bias).all()
    assert probs[0, 0] > np.exp(2) / (np.exp(2) + c - 1) and probs[0, 0] < 0.995


def test_without_its_prior_a_temperature_stops_at_its_bounds() -> None:
    logits = np.asarray([[3.0, 0.0], [0.0, 3.0]])
    right = temperature_scaling(logits, np.asarray([0, 1]), prior=0.0)
    wrong = temperature_scaling(logits, np.asarray([1, 0]), prior=0.0)
    assert 1 / right.scale[0] <= 1.0 and 1 / wrong.scale[0] == pytest.approx(20, rel=1e-3)
    assert 1 / temperature_scaling(logits, np.asarray([0, 0]), prior=0.0).scale[0] == pytest.approx(20, rel=1e-3)


@pytest.mark.parametrize(
    ("method", "shape", "biased"), [("temperature", (3,), False), ("vector", (3,), True), ("dirichlet", (3, 3), True)]
)
def test_below_a_hundred_labels_a_temperature_alone_is_fitted(
    method: Method, shape: tuple[int, ...], biased: bool
) -> None:
    probs, targets = honest(100, 3)
    few = calibrate(np.log(probs[:99]), targets[:99], method)
    assert not few.bias.any() and few.scale.shape == (3,) and np.ptp(few.scale) == 0
    many = calibrate(np.log(probs), targets, method)
    assert many.bias.any() == biased and many.scale.shape == shape


def test_the_reliability_diagram_holds_what_the_calibration_error_sums() -> None:
    probs, targets = honest(200, 4)
    for bins, (count, confidence, right) in enumerate(reliability(probs, targets).T):
        inside = [i for i in range(200) if bins / 15 < probs[i].max() <= (bins + 1) / 15]
        assert count == len(inside)
        if inside:
            assert confidence == pytest.approx(np.mean([probs[i].max() for i in inside]))
            assert right == pytest.approx(np.mean([probs[i].argmax() == targets[i] for i in inside]))
        else:
            assert np.isnan(confidence) and np.isnan(right)
    count, confidence, right = np.nan_to_num(reliability(probs, targets))
    assert calibration_error(probs, targets) == pytest.approx((count * abs(confidence - right)).sum() / 200)


def test_logs_are_finite_and_folds_hold_something_out() -> None:
    assert logs(np.asarray([0.0, 1.0])).tolist() == [math.log(1e-12), 0.0]
    with pytest.raises(InputError, match=r"calibration\.folds: expected 2 or more, got 1"):
        CalibrationSettings(folds=1)


def test_classwise_error_and_brier_against_loops() -> None:
    probs, targets = honest(200, 4)
    total = 0.0
    for c in range(4):
        for b in range(15):
            inside = [i for i in range(200) if b / 15 < probs[i, c] <= (b + 1) / 15]
            if inside:
                share = sum(targets[i] == c for i in inside) / len(inside)
                total += len(inside) / 200 * abs(share - sum(probs[i, c] for i in inside) / len(inside))
    assert classwise_error(probs, targets) == pytest.approx(total / 4)
    squares = sum((probs[i, c] - (targets[i] == c)) ** 2 for i in range(200) for c in range(4))
    assert brier(probs, targets) == pytest.approx(squares / 200)


def test_measures_by_hand() -> None:
    right = np.eye(3)[[0, 1, 2]]
    assert classwise_error(right, np.arange(3)) == brier(right, np.arange(3)) == 0
    assert brier(right, np.asarray([1, 2, 0])) == 2
    assert classwise_error(right, np.asarray([1, 2, 0])) == pytest.approx(2 / 3)
    half = np.full((4, 2), 0.5)
    assert classwise_error(half, np.asarray([0, 0, 1, 1])) == 0 and classwise_error(half, np.zeros(4, np.int64)) == 0.5
    assert brier(half, np.zeros(4, np.int64)) == 0.5


@pytest.mark.parametrize(
    ("values", "targets"),
    [
        (np.ones((3, 2)), np.zeros(2, np.int64)),
        (np.ones((0, 2)), np.zeros(0, np.int64)),
        (np.ones((2, 1)), np.zeros(2, np.int64)),
        (np.ones((2, 2)), np.asarray([0, 2])),
        (np.log(np.asarray([[1.0, 0.5], [0.5, 0.5]])) - np.asarray([[np.inf], [0]]), np.asarray([0, 1])),
    ],
)
def test_refuses_what_does_not_fit(values: FloatArray, targets: IntArray) -> None:
    for function in (temperature_scaling, vector_scaling, dirichlet_scaling, classwise_error, brier, reliability):
        with pytest.raises(InputError, match="calibration"):
            function(values, targets)


@pytest.mark.parametrize("method", ["temperature", "vector", "dirichlet"])
def test_each_of_several_labels_is_calibrated_alone(method: Method) -> None:
    rng = np.random.default_rng(0)
    yes = rng.random((120, 4)).clip(0.01, 0.99)
    targets = (rng.random((120, 4)) < yes**2).astype(np.int64)
    targets[:30, 1] = -1  # 90 are known: a temperature
    targets[:, 2] = -1
    raw_probs = np.stack([1 - yes, yes], axis=1)
    calibration = calibrate(logs(raw_probs), targets, method)
    calibrated = calibration.probs(logs(raw_probs[:, None].repeat(3, axis=1)))  # every pass
    assert calibrated.shape == (120, 3, 2, 4) and np.array_equal(calibrated[:, 0], calibrated[:, 2])
    for k in range(4):
        labeled = targets[:, k] >= 0
        expected = raw_probs[:, :, k]
        if k != 2:
            alone = calibrate(logs(raw_probs[labeled, :, k]), targets[labeled, k], method)
            expected = alone.probs(logs(raw_probs[:, :, k]))
            assert (alone.scale.ndim == 2) == (method == "dirichlet" and k != 1)
            assert np.abs(expected - raw_probs[:, :, k]).max() > 1e-5
        np.testing.assert_allclose(calibrated[:, 0, :, k], expected, rtol=1e-6)


def test_labels_of_another_shape_cannot_be_calibrated_by() -> None:
    with pytest.raises(InputError, match=r"values \(N, 2, L\) and labels \(N, L\), got \(3, 2, 4\), \(3, 2\)"):
        calibrate(np.zeros((3, 2, 4)), np.zeros((3, 2), dtype=np.int64))
