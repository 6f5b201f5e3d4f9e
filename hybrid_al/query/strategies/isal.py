"""ISAL: candidates that, by the model's own label, are expected to lower the loss of the labeled samples most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Count, Positive, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ..base import About, QueryState, check_budget
from ..fisher import SIZE, information, labeled_and_candidates
from ..ranking import best_by_value


@dataclass(frozen=True)
@hyperparameters
class ISAL:
    """Liu et al., Influence Selection for Active Learning (ICCV 2021), section 3.2; on the last layer.

    Influence g_ref' H^-1 g of a candidate, with g its gradient if the predicted class were true, g_ref the mean
    gradient of the labeled samples, and H the mean Fisher information of both plus a ridge. Random without labels.

    size  classes x dimensions of the features at most, projected on their principal directions
    """

    ridge: Positive = 1e-3
    size: Count = SIZE

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Liu et al.: *Influence Selection for Active Learning*, ICCV 2021, section 3.2",
        passes="1, of the labeled too",
        time="M (D^2 + size^2) + size^3",
        memory="M (C + D) + size^2",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest influence, ties in random order."""
        check_budget(state, budget)
        known = len(state.labels.labeled)
        probs, features = labeled_and_candidates(state, self.size)
        values: FloatArray = np.zeros(len(probs) - known)
        if known:
            classes = np.concatenate([state.labels.class_targets(), probs[known:].argmax(axis=1)])
            values = influence(probs, features, classes, known, self.ridge)
        return best_by_value("influence", values, state, budget, rng)


def influence(
    probs_NC: FloatArray, features_NK: FloatArray, classes_N: IntArray, known: int, ridge: float
) -> FloatArray:
    """How fast a step on each sample after the `known` lowers their mean loss: g_ref' H^-1 g (N - known,)."""
    errors = probs_NC - (classes_N[:, None] == np.arange(probs_NC.shape[1]))
    reference = (errors[:known].T @ features_NK[:known] / known).reshape(-1)
    curvature = information(probs_NC, features_NK) / len(probs_NC) + ridge * np.eye(len(reference))
    direction = np.linalg.solve(curvature, reference).reshape(probs_NC.shape[1], -1)
    values: FloatArray = ((features_NK[known:] @ direction.T) * errors[known:]).sum(axis=1)
    return values
