"""How often a fit sees each label, by what the model of the last round says of its image."""

from __future__ import annotations

import numpy as np
import scipy.special

from ..core.types import BoolArray, FloatArray, IntArray
from ..train import Schedule


def emphasises(schedule: Schedule) -> bool:
    """Whether labels are left out or repeated at all."""
    return schedule.easy < 1 or schedule.repeat > 0


def emphasised(
    probs_KC: FloatArray, targets_K: IntArray, old_K: BoolArray, schedule: Schedule, rng: np.random.Generator
) -> IntArray:
    """Rows of K labels, each as often as the schedule says; all of them once where none would be left.

    probs (K, C) by the last model, with several labels a sample (K, 2, L) and targets (K, L). old: labels that this
    model learned from; a new one, and one that it gets wrong, is never left out.
    """
    right = probs_KC.argmax(axis=1) == targets_K
    entropy = scipy.special.entr(probs_KC.astype(np.float64)).sum(axis=1)
    if right.ndim == 2:
        right, entropy = right.all(axis=1), entropy.mean(axis=1)
    kept = ~(old_K & right) | (rng.random(len(right)) < schedule.easy)
    times = kept * copies(entropy, schedule.repeat)
    return np.repeat(np.arange(len(right)), times if kept.any() else 1)


def copies(uncertainty_K: FloatArray, repeat: float) -> IntArray:
    """How often each label is there (K,): once, and up to `repeat` times more in proportion to its uncertainty."""
    largest = uncertainty_K.max()
    share = uncertainty_K / largest if largest > 0 else np.zeros(len(uncertainty_K))
    return 1 + np.rint(repeat * share).astype(np.int64)
