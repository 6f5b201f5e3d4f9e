"""ALFA-Mix: candidates whose predicted class changes when a few labeled features are mixed into theirs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.special

from ...core.registry import Part, hyperparameters
from ...core.types import FloatArray, Need, Query
from ...kernels.distances import squared_to
from ...kernels.kmeans import k_means
from ..base import About, QueryState, check_budget
from ..last_layer import features_and_head


@dataclass(frozen=True)
@hyperparameters
class AlfaMix:
    """Parvaneh et al., Active Learning by Feature Mixing (CVPR 2022), section 3, with the closed form of alpha.

    An anchor is the mean of the labeled features of a class. Its share of the mix is raised step by step until more
    candidates than the budget change class. These are clustered, and the one nearest to each centre is asked.

    step  of the share (1/32 in the published code), divided by the root of the dimension as there
    """

    step: Part = 0.03125

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Parvaneh et al.: *Active Learning by Feature Mixing*, CVPR 2022, section 3",
        passes="1, and 1 over the labeled",
        time="M C D + k-means of those that change class",
        memory="M (C + D)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, those of the largest clusters first; where too few change class, others at random."""
        check_budget(state, budget)
        features, weight, bias = features_and_head(state)
        share = np.full(len(features), np.inf)
        if len(state.labels.labeled):
            share = flipping_share(features, weight, bias, _anchors(state, len(bias)))
        step = self.step / np.sqrt(features.shape[1])
        turn = np.floor(share / step) + 1  # the first share that flips lies above, as equal scores do not
        turns = np.sort(turn[turn <= np.floor(1 / self.step + 1e-9)])
        cap = turns[min(budget, len(turns) - 1)] if len(turns) else 0
        flips = np.flatnonzero(turn <= cap)
        picks, reasons = np.empty(0, dtype=np.int64), list[str]()
        if len(flips):
            unit = _unit(features[flips]).astype(np.float32)
            centres, cluster = k_means(unit, min(budget, len(flips)), rng)
            squared = squared_to(unit, centres[cluster])
            order = np.argsort(-np.bincount(cluster), kind="stable")
            picks = flips[[np.flatnonzero(cluster == c)[squared[cluster == c].argmin()] for c in order]]
            reasons = [f"changes class at {share[p]:.2g} of the way to an anchor" for p in picks]
        others = rng.permutation(np.setdiff1d(np.arange(len(features)), picks))[: budget - len(picks)]
        fill_reasons = ["a random one: too few change class"] * len(others)
        return Query(state.candidates[np.concatenate([picks, others])], reasons=(*reasons, *fill_reasons))


def _anchors(state: QueryState, classes: int) -> FloatArray:
    """Anchors (A, D): mean features of each class that has labels, and of all labels where a class has none."""
    labeled, targets = state.labels.labeled, state.labels.class_targets()
    features, _, _ = features_and_head(replace(state, candidates=labeled))
    anchors = [features[targets == c].mean(axis=0) for c in np.unique(targets)]
    return np.stack([*anchors, features.mean(axis=0)] if len(anchors) < classes else anchors)


def flipping_share(
    features_MD: FloatArray, weight_CD: FloatArray, bias_C: FloatArray, anchors_AD: FloatArray
) -> FloatArray:
    """The share of an anchor beyond which a candidate's predicted class changes (M,); inf where it never does.

    Equation 5 of the paper: alpha = share |anchor - z| / |g| g / (anchor - z), elementwise, with g the gradient in z of
    the loss of the predicted class. To first order this alpha raises the loss most, of all for which
    |alpha (anchor - z)| = share |anchor - z|. In the mixed features z + alpha (anchor - z) the division cancels:
    z + share |anchor - z| g / |g|. So only the distance of an anchor counts, and the farthest flips first. Along
    g / |g| the scores change linearly, which gives the share in closed form.
    """
    logits = features_MD @ weight_CD.T + bias_C
    rows, predicted = np.arange(len(logits)), logits.argmax(axis=1)
    errors = scipy.special.softmax(logits, axis=1)
    errors[rows, predicted] -= 1
    along = _unit(errors @ weight_CD) @ weight_CD.T
    gains = along - along[rows, predicted][:, None]  # how fast each class gains on the predicted one
    gaps = logits[rows, predicted][:, None] - logits
    length = np.full(logits.shape, np.inf)
    np.divide(gaps, gains, out=length, where=gains > 0)
    farthest = np.max([np.sqrt(squared_to(features_MD, anchor)) for anchor in anchors_AD], axis=0)
    share = np.full(len(logits), np.inf)
    np.divide(length.min(axis=1), farthest, out=share, where=farthest > 0)
    return share


def _unit(rows: FloatArray) -> FloatArray:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: FloatArray = np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)
    return unit
