"""SDM: a small margin, and features in which a step down the loss would make the margin grow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.special

from ...core.registry import Amount, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ..base import About, QueryState, check_budget
from ..last_layer import features_and_head
from ..ranking import best_by_value

SMALL = 1e-12


@dataclass(frozen=True)
@hyperparameters
class SDM:
    """Xie et al., Learning Distinctive Margin toward Active Domain Adaptation (CVPR 2022), section 3.4 (SDM-AG).

    Smallest margin of the two largest probabilities - weight x cosine, in the features, of the margin's gradient and
    the step down the loss of the distinctive margin (`loss_slopes`): the mean over the two most probable classes,
    weighted by their probabilities.

    weight  of the cosine
    """

    weight: Amount = 0.01

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Xie et al.: *Learning Distinctive Margin toward Active Domain Adaptation*, CVPR 2022, section 3.4",
        passes="1",
        time="M C (C + D)",
        memory="M (C + D)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the smallest value, ties in random order."""
        check_budget(state, budget)
        features, weight, bias = features_and_head(state)
        logits = features @ weight.T + bias
        probs = scipy.special.softmax(logits, axis=1)
        rows, (first, second) = np.arange(len(probs)), np.argsort(-probs, axis=1)[:, :2].T
        p1, p2 = probs[rows, first], probs[rows, second]
        down = -(p1[:, None] * loss_slopes(logits, first) + p2[:, None] * loss_slopes(logits, second)) @ weight
        cosine = row_cosine(margin_slopes(probs, first, second) @ weight, down)
        return best_by_value("small margin that would grow", self.weight * cosine - (p1 - p2), state, budget, rng)


def margin_slopes(probs_MC: FloatArray, first_M: IntArray, second_M: IntArray) -> FloatArray:
    """Gradient (M, C) in the logits of the probability of one class minus that of another."""
    rows = np.arange(len(probs_MC))
    p1, p2 = probs_MC[rows, first_M], probs_MC[rows, second_M]
    slopes: FloatArray = -(p1 - p2)[:, None] * probs_MC
    slopes[rows, first_M] += p1
    slopes[rows, second_M] -= p2
    return slopes


def loss_slopes(logits_MC: FloatArray, targets_M: IntArray) -> FloatArray:
    """Gradient (M, C) in the logits of cross-entropy + hinge - the target's unit logit.

    Unit logits u are the logits divided by their length; the hinge is mean over classes of max(0, 1 - u_y + u_c), c not
    y.
    """
    rows, classes = np.arange(len(logits_MC)), logits_MC.shape[1]
    length = np.maximum(np.linalg.norm(logits_MC, axis=1, keepdims=True), SMALL)
    unit = logits_MC / length
    slopes = (1 - unit[rows, targets_M][:, None] + unit > 0) / classes
    slopes[rows, targets_M] = 0
    slopes[rows, targets_M] = -slopes.sum(axis=1) - 1
    within = (slopes - (slopes * unit).sum(axis=1, keepdims=True) * unit) / length  # down to the logits
    errors = scipy.special.softmax(logits_MC, axis=1)
    errors[rows, targets_M] -= 1
    total: FloatArray = errors + within
    return total


def row_cosine(left_MD: FloatArray, right_MD: FloatArray) -> FloatArray:
    """Cosine of the rows (M,), 0 where one has no length."""
    lengths = np.linalg.norm(left_MD, axis=1) * np.linalg.norm(right_MD, axis=1)
    cosine: FloatArray = np.einsum("md,md->m", left_MD, right_MD) / np.maximum(lengths, SMALL)
    return cosine
