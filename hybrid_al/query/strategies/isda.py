"""ISDA: the candidates whose label is expected to move the last layer most, over all changes that keep their class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.special

from ...core.registry import Amount, Count, hyperparameters
from ...core.types import FloatArray, Need, Query
from ..base import About, QueryState, check_budget
from ..last_layer import CELLS, features_and_head
from ..ranking import best_by_value


@dataclass(frozen=True)
@hyperparameters
class ISDA:
    """Chen et al., When Active Learning Meets Implicit Semantic Data Augmentation (ECCV 2022): partial model change.

    The loss of a class is that of infinitely many features, drawn around a candidate's by the covariance of the labeled
    features of that class (its upper bound: Wang et al., ISDA, NeurIPS 2019, equation 8). The length of its gradient in
    the last layer's weights is averaged over the `top` most probable classes. Without labels there is no covariance,
    and with `strength` 0 none is used: then and with all classes it is `egl`.

    strength  of the covariance (Wang et al.: up to 0.5)
    top       classes, the most probable
    """

    strength: Amount = 0.5
    top: Count = 5

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Chen et al.: *When Active Learning Meets Implicit Semantic Data Augmentation*, ECCV 2022; Wang et al.: "
        "*Implicit Semantic Data Augmentation for Deep Networks*, NeurIPS 2019, equation 8",
        passes="1, of the labeled too",
        time="M C^2 (C + D) + L C D",
        memory="M (C^2 + D)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest expected change, ties in random order."""
        check_budget(state, budget)
        features, weight, bias = features_and_head(state)
        pulls = np.zeros((len(bias), *weight.shape))
        if len(labeled := state.labels.labeled):
            known, _, _ = features_and_head(replace(state, candidates=labeled))
            targets = state.labels.class_targets()
            for c in np.unique(targets):
                apart = known[targets == c] - known[targets == c].mean(axis=0)
                across = weight - weight[c]
                pulls[c] = self.strength * (across @ apart.T) @ apart / len(apart)
        values = expected_change(features, weight, bias, pulls, self.top)
        return best_by_value("expected change over augmentations", values, state, budget, rng)


def expected_change(
    features_MD: FloatArray, weight_CD: FloatArray, bias_C: FloatArray, pulls_CCD: FloatArray, top: int
) -> FloatArray:
    """Mean, over the `top` classes by probability, of the length of the bound's gradient in the weights (M,).

    pulls[c, j]: strength x covariance of class c times (w_j - w_c). The logit of class j, for the label c, is
    w_j z + b_j + (w_j - w_c) pulls[c, j] / 2. With q their softmax, the gradient is q_j (z + pulls[c, j]) in w_j, and
    minus the sum of these in w_c.
    """
    changes, size = np.empty(len(features_MD)), max(CELLS // len(bias_C) ** 2, 1)
    bends = np.einsum("cjd,cjd->cj", pulls_CCD, weight_CD[None] - weight_CD[:, None]) / 2
    gram = np.einsum("cjd,ckd->cjk", pulls_CCD, pulls_CCD)
    for start in range(0, len(changes), size):
        z = features_MD[start : start + size]
        logits = z @ weight_CD.T + bias_C
        probs, squares = scipy.special.softmax(logits, axis=1), np.square(z).sum(axis=1)
        lengths = np.empty_like(probs)
        for c in range(len(bias_C)):
            q = scipy.special.softmax(logits + bends[c], axis=1)
            q[:, c] = 0
            along = z @ pulls_CCD[c].T
            others = (np.square(q) * (squares[:, None] + 2 * along + np.diag(gram[c]))).sum(axis=1)
            mass = q.sum(axis=1)
            own = mass**2 * squares + 2 * mass * (q * along).sum(axis=1) + ((q @ gram[c]) * q).sum(axis=1)
            lengths[:, c] = np.sqrt((others + own).clip(0))
        least = np.sort(probs, axis=1)[:, -min(top, probs.shape[1])][:, None]
        changes[start : start + size] = (probs * lengths * (probs >= least)).sum(axis=1)
    return changes
