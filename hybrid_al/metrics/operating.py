"""What a model gets right at one operating point: confusion matrix, sensitivity, specificity, and their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..core.types import BoolArray, FloatArray, IntArray
from ..errors import InputError

HALF = 0.5
Z = 1.959963984540054  # of a two-sided 95 % interval


@dataclass(frozen=True)
class Share:
    """`hits` of `n` cases, and the 95 % interval of their share (Wilson, JASA 1927); nan and [0, 1] of none.

    independent  whether the cases are, which the interval takes for granted: pixels of an image are not
    """

    hits: int
    n: int
    independent: bool = True

    @property
    def value(self) -> float:
        """The share itself."""
        return self.hits / self.n if self.n else math.nan

    @property
    def limits(self) -> tuple[float, float]:
        """Lower and upper limit."""
        if not self.n:
            return 0.0, 1.0
        shrink, middle = 1 + Z**2 / self.n, self.value + Z**2 / (2 * self.n)
        half = Z * math.sqrt(self.value * (1 - self.value) / self.n + Z**2 / (4 * self.n**2))
        return max(0.0, (middle - half) / shrink), min(1.0, (middle + half) / shrink)


@dataclass(frozen=True)
class Operating:
    """One class against the rest: what share of its samples is recognised, and of the others left alone."""

    sensitivity: Share
    specificity: Share


def confusion(truth_K: IntArray, predicted_K: IntArray, classes: int) -> IntArray:
    """Counts (C, C) of true (rows) by predicted (columns) classes; InputError where one is not in 0 to C - 1."""
    truth, predicted = np.asarray(truth_K, dtype=np.int64), np.asarray(predicted_K, dtype=np.int64)
    if truth.shape != predicted.shape or (len(truth) and not min(truth.min(), predicted.min()) >= 0):
        raise InputError(
            "confusion", "two rows of classes of one length, from 0 on", f"{truth.shape}, {predicted.shape}"
        )
    counts = np.bincount(truth * classes + predicted, minlength=classes**2)
    if len(counts) > classes**2 or (predicted >= classes).any():
        raise InputError("confusion", f"classes below {classes}", str(max(truth.max(), predicted.max())))
    return counts.reshape(classes, classes).astype(np.int64)


def dice_of(confusions_KCC: IntArray) -> FloatArray:
    """Dice (K, C - 1) of each class but the first by confusion matrices; nan where none is there or predicted."""
    both = np.diagonal(confusions_KCC, axis1=1, axis2=2)[:, 1:]
    total = (confusions_KCC.sum(axis=1) + confusions_KCC.sum(axis=2))[:, 1:]
    values: FloatArray = np.divide(2.0 * both, total, out=np.full(both.shape, np.nan), where=total > 0)
    return values


def of_confusion(counts_CC: IntArray, *, independent: bool = True) -> list[Operating]:
    """Each class against the rest where the most probable class is taken; independent: see `Share`."""
    total, rows, columns = int(counts_CC.sum()), counts_CC.sum(axis=1), counts_CC.sum(axis=0)
    operatings = []
    for c in range(len(counts_CC)):
        hits, others = int(counts_CC[c, c]), total - int(rows[c])
        left = others - int(columns[c]) + hits
        operatings.append(Operating(Share(hits, int(rows[c]), independent), Share(left, others, independent)))
    return operatings


def at_threshold(probs_K: FloatArray, is_there_K: BoolArray, threshold: float) -> Operating:
    """A class whose probability is at least the threshold is taken for there."""
    said = probs_K >= threshold
    hits, left = int((said & is_there_K).sum()), int((~said & ~is_there_K).sum())
    n = int(is_there_K.sum())
    return Operating(Share(hits, n), Share(left, len(is_there_K) - n))


def best_threshold(probs_K: FloatArray, is_there_K: BoolArray) -> float | None:
    """The threshold of the largest sum of sensitivity and specificity (Youden, Cancer 1950); None without both kinds.

    It lies halfway between two neighbouring probabilities, the nearest to 0.5 of equally good ones.
    """
    n = int(is_there_K.sum())
    if not 0 < n < len(is_there_K):
        return None
    order = np.argsort(probs_K, kind="stable")
    values, there = probs_K[order].astype(np.float64), is_there_K[order]
    missed = np.concatenate([[0], np.cumsum(there)])
    left = np.concatenate([[0], np.cumsum(~there)])
    sums = (n - missed) / n + left / (len(there) - n)
    edges = np.concatenate([[0.0], (values[:-1] + values[1:]) / 2, [1.0]])
    possible = np.concatenate([[True], values[:-1] < values[1:], [True]])
    best = np.flatnonzero(possible & (sums >= sums[possible].max() - 1e-12))
    return float(edges[best[np.abs(edges[best] - HALF).argmin()]])
