"""Calibration: scalings of probabilities, fitted on held-out labels, and measures of calibration.

Pure functions on logits (N, C) and classes (N,). Scalings must be fitted neither on the labels of the training nor on
those of the test split. Log-probabilities (see `logs`) may stand for logits, which are turned into them first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.special

from ..core.types import BoolArray, FloatArray, IntArray
from ..errors import InputError

Method = Literal["temperature", "vector", "dirichlet"]

_LOG_TEMPERATURES = (np.log(0.05), np.log(20.0))
BINS = 15  # of a calibration error


@dataclass(frozen=True)
class Calibration:
    """softmax(scale * log-probability + bias): scale (C,) class by class or (C, C) as a matrix, bias (C,).

    A temperature is the same scale for all classes, without bias. Where samples have L labels, each is a question of
    two classes with a calibration of its own: scale (L, 2, 2), bias (L, 2).
    """

    scale: FloatArray
    bias: FloatArray

    def probs(self, logits_NC: FloatArray) -> FloatArray:
        """Calibrated probabilities (..., C) of logits or log-probabilities (..., C); of several labels (..., 2, L)."""
        if self.scale.ndim == 3:
            by_label = zip(self.scale, self.bias, np.moveaxis(logits_NC, -1, 0), strict=True)
            return np.stack([Calibration(scale, bias).probs(logits) for scale, bias, logits in by_label], axis=-1)
        z = _log_probs(logits_NC)
        scaled = z * self.scale if self.scale.ndim == 1 else z @ self.scale.T
        probs: FloatArray = scipy.special.softmax(scaled + self.bias, axis=-1)
        return probs


@dataclass(frozen=True)
class CalibrationSettings:
    """How a run calibrates its classes; never fitted on labels of the test split.

    fit      "val": on the labels of the val split; "cross": on the labeled set, each label with a network that was
             trained without it, which takes `folds` more trainings a round
    method   from 100 labels on; with fewer, a temperature alone
    queries  whether strategies get calibrated probabilities
    """

    fit: Literal["val", "cross"] = "cross"
    method: Method = "vector"
    folds: int = 5
    queries: bool = False

    def __post_init__(self) -> None:
        """Refuse fewer than two folds."""
        if self.folds < 2:
            raise InputError("calibration.folds", "2 or more", str(self.folds))


def calibrate(
    logits_NC: FloatArray, targets_N: IntArray, method: Method = "vector", *, more_from: int = 100
) -> Calibration:
    """The scaling of `method`, fitted; with fewer than `more_from` held-out labels, a temperature.

    A temperature fits 1 number, vector scaling 2 C, Dirichlet calibration C (C + 1). Where samples have several labels,
    logits are (N, 2, L) and targets (N, L) are 0, 1 or -1 for unknown. Each label is then fitted alone, on the samples
    where it is known; a label that is known nowhere stays as it is.
    """
    if logits_NC.ndim == 3:
        return _calibrate_labels(logits_NC, targets_N, method, more_from)
    scalings = {"temperature": temperature_scaling, "vector": vector_scaling, "dirichlet": dirichlet_scaling}
    return scalings[method if len(targets_N) >= more_from else "temperature"](logits_NC, targets_N)


def _calibrate_labels(logits_N2L: FloatArray, targets_NL: IntArray, method: Method, more_from: int) -> Calibration:
    if targets_NL.shape != (len(logits_N2L), logits_N2L.shape[2]):
        raise InputError("calibration", "values (N, 2, L) and labels (N, L)", f"{logits_N2L.shape}, {targets_NL.shape}")
    scale, bias = np.tile(np.eye(2), (logits_N2L.shape[2], 1, 1)), np.zeros((logits_N2L.shape[2], 2))
    for k, targets in enumerate(targets_NL.T):
        if (labeled := targets >= 0).any():
            calibration = calibrate(logits_N2L[labeled, :, k], targets[labeled], method, more_from=more_from)
            scale[k] = calibration.scale if calibration.scale.ndim == 2 else np.diag(calibration.scale)
            bias[k] = calibration.bias
    return Calibration(scale, bias)


def temperature_scaling(logits_NC: FloatArray, targets_N: IntArray, *, prior: float = 1.0) -> Calibration:
    """The temperature in [0.05, 20] with the least negative log-likelihood; Guo et al. (ICML 2017), section 4.2.

    Departure: a standard normal prior on its logarithm, of weight `prior` against the N labels. Without it, a few
    labels that are all predicted right would make every probability certain; 0 is the published fit. The order of
    classes stays.
    """
    from scipy.optimize import minimize_scalar  # slow to import

    z, n = _check(logits_NC, targets_N)

    def loss(log_temperature: float) -> float:
        return _nll(z * np.exp(-log_temperature), targets_N) + prior * log_temperature**2 / (2 * n)

    # the likelihood is convex in 1 / temperature, so there is one minimum
    best = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-6})
    classes = z.shape[1]
    return Calibration(np.full(classes, np.exp(-float(best.x))), np.zeros(classes))


def vector_scaling(logits_NC: FloatArray, targets_N: IntArray, *, prior: float = 1.0) -> Calibration:
    """A scale and a bias for each class with the least negative log-likelihood; Guo et al. (ICML 2017), section 4.2.

    Departures: it takes log-probabilities in place of logits, as a common shift of logits would change the result. It
    has standard normal priors around scale 1 and bias 0, as in `temperature_scaling`: without them a class without
    held-out labels would never be predicted again. The class of the largest probability may change.
    """
    from scipy.optimize import minimize

    z, n = _check(logits_NC, targets_N)
    classes = z.shape[1]
    one_hot = np.eye(classes)[targets_N]
    identity = np.concatenate([np.ones(classes), np.zeros(classes)])

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        scores = z * values[:classes] + values[classes:]
        errors = (scipy.special.softmax(scores, axis=1) - one_hot) / n
        gradient = np.concatenate([(errors * z).sum(axis=0), errors.sum(axis=0)])
        offset = values - identity
        return _nll(scores, targets_N) + prior * float(offset @ offset) / (2 * n), gradient + prior * offset / n

    best = minimize(loss, identity, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    return Calibration(best.x[:classes], best.x[classes:])


def dirichlet_scaling(logits_NC: FloatArray, targets_N: IntArray, *, prior: float = 1.0) -> Calibration:
    """A matrix on the log-probabilities and a bias with the least negative log-likelihood: Dirichlet calibration.

    Kull et al. (NeurIPS 2019), section 3, the linear form. Departure: the prior of `vector_scaling`, around the
    identity. The paper instead penalises the entries off the diagonal and the biases, with weights by
    cross-validation; `prior` 0 is a fit without either.
    """
    from scipy.optimize import minimize

    z, n = _check(logits_NC, targets_N)
    classes = z.shape[1]
    one_hot = np.eye(classes)[targets_N]
    identity = np.concatenate([np.eye(classes).ravel(), np.zeros(classes)])

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        scores = z @ values[:-classes].reshape(classes, classes).T + values[-classes:]
        errors = (scipy.special.softmax(scores, axis=1) - one_hot) / n
        gradient = np.concatenate([(errors.T @ z).ravel(), errors.sum(axis=0)])
        offset = values - identity
        return _nll(scores, targets_N) + prior * float(offset @ offset) / (2 * n), gradient + prior * offset / n

    best = minimize(loss, identity, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    return Calibration(best.x[:-classes].reshape(classes, classes), best.x[-classes:])


def bins_of(values: FloatArray, bins: int) -> IntArray:
    """The bin, from 0 on, of each value in [0, 1], of `bins` equal bins (lo, hi]; the value 0 lies in the first."""
    return np.ceil(values * bins).clip(1, bins).astype(np.int64) - 1


def gaps_by_bin(probs_NK: FloatArray, right_NK: BoolArray, bins: int) -> FloatArray:
    """Sums (K, bins) of `right` (0 or 1) less the probability, by equal bins of the probability.

    All calibration errors here use this: with K = 1 for the largest probability, K = C for that of each class.
    """
    k = probs_NK.shape[1]
    cells = bins_of(probs_NK, bins) + np.arange(k) * bins
    gaps = np.bincount(cells.ravel(), (right_NK - probs_NK.astype(np.float64)).ravel(), k * bins)
    return gaps.reshape(k, bins)


def calibration_error(probs_NC: FloatArray, targets_N: IntArray) -> float:
    """Mean |accuracy - confidence| over equal bins (lo, hi] of the largest probability, weighted by their samples."""
    right = probs_NC.argmax(axis=1) == targets_N
    return float(np.abs(gaps_by_bin(probs_NC.max(axis=1)[:, None], right[:, None], BINS)).sum() / len(targets_N))


def classwise_error(probs_NC: FloatArray, targets_N: IntArray) -> float:
    """Class-wise expected calibration error in [0, 1]: Kull et al. (NeurIPS 2019), section 2.

    For each class, mean |share of the class - mean probability| over equal bins (lo, hi] of its probability, weighted
    by their samples; then the mean over classes. Unlike `calibration_error`, it takes all probabilities, not only the
    largest.
    """
    _check(probs_NC, targets_N)
    is_class = targets_N[:, None] == np.arange(probs_NC.shape[1])
    return float(np.abs(gaps_by_bin(probs_NC, is_class, BINS)).sum() / probs_NC.size)


def brier(probs_NC: FloatArray, targets_N: IntArray) -> float:
    """Brier (1950): mean over samples of the squared distance between probabilities and true class, in [0, 2]."""
    _check(probs_NC, targets_N)
    return float(np.square(probs_NC - np.eye(probs_NC.shape[1])[targets_N]).sum(axis=1).mean())


def logs(probs: FloatArray) -> FloatArray:
    """Logarithms of probabilities, cut at 1e-12, to stand for logits."""
    cut: FloatArray = np.log(np.maximum(np.asarray(probs, dtype=np.float64), 1e-12))
    return cut


def confidence_by_bin(probs_NC: FloatArray, targets_N: IntArray, bins: int) -> FloatArray:
    """Sums (3, bins) by equal bins of the largest probability: samples, that probability, and right predictions.

    In float64, so that the sums of two sets of samples add up.
    """
    confidence, right = probs_NC.max(axis=1).astype(np.float64), probs_NC.argmax(axis=1) == targets_N
    cells = bins_of(confidence, bins)
    return np.stack([np.bincount(cells, w, bins) for w in (np.ones_like(confidence), confidence, right)])


def diagram(sums_3B: FloatArray) -> FloatArray:
    """Reliability diagram (3, bins) from the sums of `confidence_by_bin`: samples, mean probability, accuracy.

    The means of empty bins are nan.
    """
    count, *totals = sums_3B
    filled = np.where(count > 0, count, np.nan)
    return np.stack([count, *(total / filled for total in totals)])


def reliability(probs_NC: FloatArray, targets_N: IntArray, bins: int = BINS) -> FloatArray:
    """Reliability diagram (3, bins): samples, mean largest probability and accuracy of each equal bin.

    Bins (lo, hi] are of the largest probability, as in `calibration_error`; the means of empty bins are nan.
    """
    _check(probs_NC, targets_N)
    return diagram(confidence_by_bin(probs_NC, targets_N, bins))


def _check(values_NC: FloatArray, targets_N: IntArray) -> tuple[FloatArray, int]:
    """Log-probabilities of logits, and the number of samples; InputError where shapes, values or classes are wrong."""
    if values_NC.ndim != 2 or values_NC.shape[1] < 2 or not len(values_NC) or targets_N.shape != (len(values_NC),):
        raise InputError("calibration", "values (N, C) and classes (N,)", f"{values_NC.shape}, {targets_N.shape}")
    if not np.isfinite(values_NC).all():
        raise InputError("calibration", "finite values", "nan or inf")
    if targets_N.min() < 0 or targets_N.max() >= values_NC.shape[1]:
        span = f"{targets_N.min()} to {targets_N.max()}"
        raise InputError("calibration", f"classes 0 to {values_NC.shape[1] - 1}", span)
    return _log_probs(values_NC), len(values_NC)


def _log_probs(logits_NC: FloatArray) -> FloatArray:
    log_probs: FloatArray = scipy.special.log_softmax(np.asarray(logits_NC, dtype=np.float64), axis=-1)
    return log_probs


def _nll(scores: FloatArray, targets: IntArray) -> float:
    return -float(scipy.special.log_softmax(scores, axis=1)[np.arange(len(targets)), targets].mean())
