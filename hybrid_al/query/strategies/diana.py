"""DiaNA: candidates that are uncertain and inconsistent by a mixture over a score of informativeness."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...core.embeddings import unit_rows
from ...core.registry import Count, Share, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ..base import About, QueryState, check_budget
from ..last_layer import probs_and_features
from ..ranking import best_by_value

QUARTERS = 4  # uncertain and inconsistent, uncertain and consistent, sure and inconsistent, sure and consistent


@dataclass(frozen=True)
@hyperparameters
class DiaNA:
    """Huang et al., Divide and Adapt: Active Domain Adaptation via Customized Learning (CVPR 2023), section 3.2.

    Informativeness is the loss of the prediction against the class whose mean feature of the labels is nearest. Labels
    fall into four quarters, by whether the model is sure and whether it is right; a mixture of four Gaussians over the
    informativeness, fitted to labels and candidates, says how probably a candidate is of each. Those of the quarter
    uncertain and inconsistent are asked, the most probable first. Without labels random.

    sure    largest probability from which the model counts as sure
    share   weight of the candidates in the fit, beside the labels (beta, 0.5 as published)
    turns   of the fit
    """

    sure: Share = 0.8
    share: Share = 0.5
    turns: Count = 20

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Huang et al.: *Divide and Adapt: Active Domain Adaptation via Customized Learning*, CVPR 2023, "
        "section 3.2",
        passes="1, and 1 over the labels",
        time="(L + M) C D",
        memory="(L + M) (C + D)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates most probably uncertain and inconsistent, the more informative first among equals."""
        check_budget(state, budget)
        probs, features = probs_and_features(state)
        if not len(state.labels.labeled):
            return best_by_value("uncertain and inconsistent", np.zeros(len(probs)), state, budget, rng)
        own_probs, own_features = probs_and_features(replace(state, candidates=state.labels.labeled))
        targets = state.labels.class_targets()
        nearest = nearest_class(features, own_features, targets)
        informative = _loss(probs, nearest)
        own = _loss(own_probs, targets)
        right = own_probs.argmax(axis=1) == targets
        quarter = 2 * (own_probs.max(axis=1) > self.sure) + right
        posterior = uncertain_inconsistent(own, quarter, informative, self.share, self.turns)
        values = posterior + 1e-6 * informative / max(float(informative.max()), 1e-12)
        return best_by_value("uncertain and inconsistent", values, state, budget, rng)


def nearest_class(features_MD: FloatArray, labeled_LD: FloatArray, targets_L: IntArray) -> IntArray:
    """The class (M,) whose mean labeled feature has the largest cosine with each row."""
    classes = np.unique(targets_L)
    means = np.stack([labeled_LD[targets_L == c].mean(axis=0, dtype=np.float64) for c in classes])
    nearest: IntArray = classes[(unit_rows(features_MD.astype(np.float64)) @ unit_rows(means).T).argmax(axis=1)]
    return nearest


def _loss(probs_MC: FloatArray, targets_M: IntArray) -> FloatArray:
    loss: FloatArray = -np.log(np.maximum(probs_MC[np.arange(len(probs_MC)), targets_M], 1e-12))
    return loss


def uncertain_inconsistent(
    labeled_L: FloatArray, quarter_L: IntArray, others_M: FloatArray, share: float, turns: int
) -> FloatArray:
    """Posterior (M,) of the quarter 0 by a semi-supervised mixture of Gaussians, one a quarter that has labels.

    Where no label is of quarter 0 its Gaussian starts at the largest value of all.
    """
    values = np.concatenate([labeled_L, others_M])
    scale = max(float(np.ptp(values)), 1e-12)
    x = (values - values.min()) / scale
    known = np.eye(QUARTERS)[quarter_L]
    present = np.unique(np.append(quarter_L, 0))
    known = known[:, present]
    weight = np.concatenate(
        [np.full(len(labeled_L), (1 - share) / len(labeled_L)), np.full(len(others_M), share / len(others_M))]
    )
    mean = np.asarray([x[: len(labeled_L)][quarter_L == q].mean() if (quarter_L == q).any() else 1.0 for q in present])
    variance, prior = np.full(len(present), 0.05), np.full(len(present), 1 / len(present))
    posterior = np.full((len(others_M), len(present)), 1 / len(present))
    for _ in range(turns):
        logs = np.log(prior) - 0.5 * np.log(variance) - (x[len(labeled_L) :, None] - mean) ** 2 / (2 * variance)
        posterior = np.exp(logs - logs.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
        belongs = weight[:, None] * np.concatenate([known, posterior])
        total = np.maximum(belongs.sum(axis=0), 1e-12)
        mean = (belongs * x[:, None]).sum(axis=0) / total
        variance = (belongs * (x[:, None] - mean) ** 2).sum(axis=0) / total + 1e-4
        prior = np.maximum(total / total.sum(), 1e-12)
    first: FloatArray = posterior[:, 0]
    return first
