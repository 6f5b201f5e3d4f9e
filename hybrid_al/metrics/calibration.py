"""Making probabilities honest: scalings fitted on held-out labels, and how far off probabilities are.

Pure functions on logits (N, C) and classes (N,). The labels they are fitted on must be neither those of the training
nor the test split. Logarithms of probabilities, cut above zero, do as logits: logits are turned into them first.
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
    """softmax(scale * log-probability + bias): scale (C,) number by number or (C, C) as a matrix, bias (C,).

    A temperature is the same scale for all, without bias. Where samples have L labels, each a question of two classes,
    each is calibrated alone: scale (L, 2, 2), bias (L, 2).
    """

    scale: FloatArray
    bias: FloatArray

    def probs(self, logits_NC: FloatArray) -> FloatArray:
        """Calibrated probabilities (..., C) of logits or log-probabilities (..., C); of several labels (..., 2, L)."""
        if self.scale.ndim == 3:
            each = zip(self.scale, self.bias, np.moveaxis(logits_NC, -1, 0), strict=True)
            return np.stack([Calibration(scale, bias).probs(logits) for scale, bias, logits in each], axis=-1)
        z = _log_probs(logits_NC)
        scaled = z * self.scale if self.scale.ndim == 1 else z @ self.scale.T
        probs: FloatArray = scipy.special.softmax(scaled + self.bias, axis=-1)
        return probs


@dataclass(frozen=True)
class Calibrating:
    """How a run calibrates its classes; the labels of the test split are never among those that it is fitted on.

    fit      "val": on the labels of the val split; "cross": on the labeled set, each label against a network that was
             trained without it, which takes `folds` more trainings a round
    method   from 100 labels on; below, a temperature alone
    queries  whether strategies see calibrated probabilities
    """

    fit: Literal["val", "cross"] = "cross"
    method: Method = "vector"
    folds: int = 5
    queries: bool = False

    def __post_init__(self) -> None:
        """Refuse a number of folds that holds nothing out."""
        if self.folds < 2:
            raise InputError("calibration.folds", "2 or more", str(self.folds))


def calibrate(
    logits_NC: FloatArray, targets_N: IntArray, method: Method = "vector", *, more_from: int = 100
) -> Calibration:
    """The scaling that `method` names, which has 1, 2 C or C (C + 1) numbers to fit; below `more_from` held-out labels
    a temperature, which has one.

    Where samples have several labels, logits (N, 2, L) and 0, 1 or -1 for unknown (N, L), each label by what is known
    of it; one of which nothing is known stays as it is.
    """
    if logits_NC.ndim == 3:
        return _each_label(logits_NC, targets_N, method, more_from)
    scalings = {"temperature": temperature_scaling, "vector": vector_scaling, "dirichlet": dirichlet_scaling}
    return scalings[method if len(targets_N) >= more_from else "temperature"](logits_NC, targets_N)


def _each_label(logits_N2L: FloatArray, targets_NL: IntArray, method: Method, more_from: int) -> Calibration:
    if targets_NL.shape != (len(logits_N2L), logits_N2L.shape[2]):
        raise InputError("calibration", "values (N, 2, L) and labels (N, L)", f"{logits_N2L.shape}, {targets_NL.shape}")
    scale, bias = np.tile(np.eye(2), (logits_N2L.shape[2], 1, 1)), np.zeros((logits_N2L.shape[2], 2))
    for k, targets in enumerate(targets_NL.T):
        if (known := targets >= 0).any():
            own = calibrate(logits_N2L[known, :, k], targets[known], method, more_from=more_from)
            scale[k], bias[k] = own.scale if own.scale.ndim == 2 else np.diag(own.scale), own.bias
    return Calibration(scale, bias)


def temperature_scaling(logits_NC: FloatArray, targets_N: IntArray, *, prior: float = 1.0) -> Calibration:
    """The temperature in [0.05, 20] with the least negative log-likelihood; Guo et al. (ICML 2017), section 4.2.

    Departure: a standard normal prior on its logarithm, of weight `prior` against the N labels, because of a few labels
    that are all right already the likelihood makes a certainty; 0 is the published fit. The order of classes stays.
    """
    from scipy.optimize import minimize_scalar  # slow to import

    z, n = _checked(logits_NC, targets_N)

    def loss(log_temperature: float) -> float:
        return _nll(z * np.exp(-log_temperature), targets_N) + prior * log_temperature**2 / (2 * n)

    # the likelihood is convex in 1 / temperature, so there is one minimum
    best = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-6})
    classes = z.shape[1]
    return Calibration(np.full(classes, np.exp(-float(best.x))), np.zeros(classes))


def vector_scaling(logits_NC: FloatArray, targets_N: IntArray, *, prior: float = 1.0) -> Calibration:
    """A scale and a bias for each class with the least negative log-likelihood; Guo et al. (ICML 2017), section 4.2.

    Departures: on log-probabilities in the place of logits, whose common shift would change the result; and standard
    normal priors around scale 1 and bias 0, as in `temperature_scaling`: without them a class that has no held-out
    label is given none ever again. It may change which class is largest.
    """
    from scipy.optimize import minimize

    z, n = _checked(logits_NC, targets_N)
    classes = z.shape[1]
    own = np.eye(classes)[targets_N]
    identity = np.concatenate([np.ones(classes), np.zeros(classes)])

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        scores = z * values[:classes] + values[classes:]
        wrong = (scipy.special.softmax(scores, axis=1) - own) / n
        gradient = np.concatenate([(wrong * z).sum(axis=0), wrong.sum(axis=0)])
        away = values - identity
        return _nll(scores, targets_N) + prior * float(away @ away) / (2 * n), gradient + prior * away / n

    best = minimize(loss, identity, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    return Calibration(best.x[:classes], best.x[classes:])


def dirichlet_scaling(logits_NC: FloatArray, targets_N: IntArray, *, prior: float = 1.0) -> Calibration:
    """A matrix on the log-probabilities and a bias with the least negative log-likelihood: Dirichlet calibration.

    Kull et al. (NeurIPS 2019), section 3, the linear form. Departure: the prior of `vector_scaling`, around the
    identity, in the place of the paper's penalties on what lies off the diagonal and on the biases, whose weights it
    chooses by cross-validation; 0 is a fit without any.
    """
    from scipy.optimize import minimize

    z, n = _checked(logits_NC, targets_N)
    classes = z.shape[1]
    own = np.eye(classes)[targets_N]
    identity = np.concatenate([np.eye(classes).ravel(), np.zeros(classes)])

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        scores = z @ values[:-classes].reshape(classes, classes).T + values[-classes:]
        wrong = (scipy.special.softmax(scores, axis=1) - own) / n
        gradient = np.concatenate([(wrong.T @ z).ravel(), wrong.sum(axis=0)])
        away = values - identity
        return _nll(scores, targets_N) + prior * float(away @ away) / (2 * n), gradient + prior * away / n

    best = minimize(loss, identity, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    return Calibration(best.x[:-classes].reshape(classes, classes), best.x[-classes:])


def bins_of(values: FloatArray, bins: int) -> IntArray:
    """Which of so many equal bins (lo, hi] each value in [0, 1] lies in, from 0 on; 0 itself lies in the first."""
    return np.ceil(values * bins).clip(1, bins).astype(np.int64) - 1


def gaps_by_bin(probs_NK: FloatArray, right_NK: BoolArray, bins: int) -> FloatArray:
    """Sums (K, bins) of [what was said is right] less its probability, by the equal bins of the probability.

    The binning of every calibration error here: of the largest probability K is 1, of each class's K is C.
    """
    k = probs_NK.shape[1]
    which = bins_of(probs_NK, bins) + np.arange(k) * bins
    gaps = np.bincount(which.ravel(), (right_NK - probs_NK.astype(np.float64)).ravel(), k * bins)
    return gaps.reshape(k, bins)


def calibration_error(probs_NC: FloatArray, targets_N: IntArray) -> float:
    """Mean |accuracy - confidence| over equal bins (lo, hi] of the largest probability, weighted by their samples."""
    right = probs_NC.argmax(axis=1) == targets_N
    return float(np.abs(gaps_by_bin(probs_NC.max(axis=1)[:, None], right[:, None], BINS)).sum() / len(targets_N))


def classwise_error(probs_NC: FloatArray, targets_N: IntArray) -> float:
    """Class-wise expected calibration error in [0, 1]: Kull et al. (NeurIPS 2019), section 2.

    For each class, mean |share of that class - mean probability| over equal bins (lo, hi] of its probability, weighted
    by their samples; then the mean over classes. Unlike `calibration_error` it sees more than the largest one.
    """
    _checked(probs_NC, targets_N)
    own = targets_N[:, None] == np.arange(probs_NC.shape[1])
    return float(np.abs(gaps_by_bin(probs_NC, own, BINS)).sum() / probs_NC.size)


def brier(probs_NC: FloatArray, targets_N: IntArray) -> float:
    """Brier (1950): mean squared distance of probabilities and the true class, summed over classes, in [0, 2]."""
    _checked(probs_NC, targets_N)
    return float(np.square(probs_NC - np.eye(probs_NC.shape[1])[targets_N]).sum(axis=1).mean())


def logs(probs: FloatArray) -> FloatArray:
    """Log-probabilities, cut at 1e-12, which do as logits."""
    cut: FloatArray = np.log(np.maximum(np.asarray(probs, dtype=np.float64), 1e-12))
    return cut


def confidence_by_bin(probs_NC: FloatArray, targets_N: IntArray, bins: int) -> FloatArray:
    """Sums (3, bins) by the equal bins of the largest probability: samples, that probability, and how many are right.

    All in float64, so what is said of two sets of samples adds up.
    """
    confidence, right = probs_NC.max(axis=1).astype(np.float64), probs_NC.argmax(axis=1) == targets_N
    which = bins_of(confidence, bins)
    return np.stack([np.bincount(which, w, bins) for w in (np.ones_like(confidence), confidence, right)])


def diagram(sums_3B: FloatArray) -> FloatArray:
    """What a reliability diagram shows (3, bins), of the sums of `confidence_by_bin`: samples, and means of the rest.

    Empty bins hold nan but for the count.
    """
    count, *totals = sums_3B
    filled = np.where(count > 0, count, np.nan)
    return np.stack([count, *(total / filled for total in totals)])


def reliability(probs_NC: FloatArray, targets_N: IntArray, bins: int = BINS) -> FloatArray:
    """What a reliability diagram shows (3, bins): samples, mean largest probability and accuracy in each equal bin.

    Bins (lo, hi] of the largest probability, as in `calibration_error`; empty ones hold nan but for the count.
    """
    _checked(probs_NC, targets_N)
    return diagram(confidence_by_bin(probs_NC, targets_N, bins))


def _checked(values_NC: FloatArray, targets_N: IntArray) -> tuple[FloatArray, int]:
    """Log-probabilities of logits, and the number of samples."""
    if values_NC.ndim != 2 or values_NC.shape[1] < 2 or not len(values_NC) or targets_N.shape != (len(values_NC),):
        raise InputError("calibration", "values (N, C) and classes (N,)", f"{values_NC.shape}, {targets_N.shape}")
    if not np.isfinite(values_NC).all():
        raise InputError("calibration", "finite values", "nan or inf")
    if targets_N.min() < 0 or targets_N.max() >= values_NC.shape[1]:
        shown = f"{targets_N.min()} to {targets_N.max()}"
        raise InputError("calibration", f"classes 0 to {values_NC.shape[1] - 1}", shown)
    return _log_probs(values_NC), len(values_NC)


def _log_probs(logits_NC: FloatArray) -> FloatArray:
    log_probs: FloatArray = scipy.special.log_softmax(np.asarray(logits_NC, dtype=np.float64), axis=-1)
    return log_probs


def _nll(scores: FloatArray, targets: IntArray) -> float:
    return -float(scipy.special.log_softmax(scores, axis=1)[np.arange(len(targets)), targets].mean())
