"""The recorder of consistency in training: it adds up the evidence of the steps to a few numbers a row."""

from __future__ import annotations

import numpy as np

from ..core.consistency import THRESHOLD, Consistency, Recording
from ..core.types import FloatArray, IntArray
from .samples import DISTANCES

USUAL = Recording()


class ConsistencyRecorder:
    """Accumulates evidence over the steps of one fit; `record()` gives the consistency.

    Means are bias-corrected: that of a row with one visit is the value of that visit.
    """

    def __init__(self, n: int, recording: Recording = USUAL, *, labels: int = 1) -> None:
        """Start with no visits of n rows. Each of several `labels` is recorded as a row of its own with two classes."""
        self.recording, self.labels = recording, labels
        n = n * labels
        self._visits = np.zeros(n, dtype=np.int64)
        self._last = np.full(n, -1, dtype=np.int64)
        self._sums = np.zeros((5, n), dtype=np.float64)

    def update(self, indices: IntArray, weak: FloatArray, strong: FloatArray) -> None:
        """Add one step: distinct rows (B,), class probabilities of their weak and strong views (B, C).

        With several labels the probabilities are (B, 2, L).
        """
        if weak.ndim == 3:
            indices = (indices[:, None] * self.labels + np.arange(weak.shape[2])).ravel()
            weak, strong = (probs.transpose(0, 2, 1).reshape(-1, 2) for probs in (weak, strong))
        weak, strong = (np.ascontiguousarray(probs.T).T for probs in (weak, strong))  # one copy for all below
        label, confidence = largest(weak)
        last = self._last[indices]
        flipped = (last >= 0) & (last != label)
        agreed = label == largest(strong)[0]
        distance = DISTANCES[self.recording.distance](weak, strong)
        self.note(indices, np.stack([agreed, confidence, flipped, distance, confidence >= THRESHOLD]))
        self._last[indices] = label

    def note(self, indices: IntArray, parts: FloatArray) -> None:
        """Add one step's numbers (5, B) of distinct rows: agreement, confidence, flips, divergence, above threshold."""
        decay = self.recording.decay
        gain = 1 - decay if decay < 1 else 1.0
        for sums, part in zip(self._sums, parts, strict=True):  # row by row takes less than half the time
            sums[indices] = decay * sums[indices] + gain * part
        self._visits[indices] += 1

    @property
    def seen(self) -> IntArray:
        """Visits of each row so far (N,)."""
        return self._visits[:: self.labels]

    def record(self) -> Consistency:
        """The consistency so far; rows without a visit hold zeros."""
        # a first visit cannot flip: flips are averaged over one visit fewer
        decay, visits, flips_of = self.recording.decay, np.maximum(self._visits, 1), np.maximum(self._visits - 1, 1)
        weight, flip_weight = (1 - decay**visits, 1 - decay**flips_of) if decay < 1 else (visits, flips_of)
        agreement, confidence, flips, divergence, above = self._sums
        return Consistency(
            seen=self.seen.copy(),
            agreement=self._mean(agreement / weight),
            confidence=self._mean(confidence / weight),
            flips=self._mean(np.minimum(flips / flip_weight, 1)),
            divergence=self._mean(divergence / weight),
            pseudo_label=self._last.copy() if self.labels == 1 else np.full(len(self.seen), -1, dtype=np.int64),
            above=self._mean(above / weight),
            recording=self.recording,
        )

    def _mean(self, values: FloatArray) -> FloatArray:
        """Plain mean over the labels of each row, as in a query's scores of several labels."""
        means: FloatArray = values.reshape(-1, self.labels).mean(axis=1).astype(np.float32)
        return means


def largest(probs_BC: FloatArray) -> tuple[IntArray, FloatArray]:
    """The class of the largest probability of each row (B,), the first of equals, and that probability (B,).

    Class by class: for few classes that takes a fifth of the time of argmax along the rows.
    """
    top = probs_BC.max(axis=1)
    label = np.zeros(len(probs_BC), dtype=np.int64)
    for c in reversed(range(probs_BC.shape[1])):
        label = np.where(probs_BC[:, c] == top, c, label)
    return label, top
