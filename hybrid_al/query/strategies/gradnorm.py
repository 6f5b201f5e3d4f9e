"""GradNorm: the candidates whose unsupervised loss has the longest gradient in the last layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import scipy.special

from ...core.registry import hyperparameters
from ...core.types import FloatArray, Need, Query
from ..base import About, QueryState, check_budget
from ..last_layer import expected_gradient_length, probs_and_features
from ..ranking import best_by_value


@dataclass(frozen=True)
@hyperparameters
class GradNorm:
    """Wang et al., Boosting Active Learning via Improving Test Performance (AAAI 2022), section 3; of the last layer.

    loss  `entropy`: of the prediction; 0 where all classes are equally probable. `expected`: of each class, weighted
          by its probability, which with the bias left out is `egl`
    """

    loss: Literal["entropy", "expected"] = "entropy"

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Wang et al.: *Boosting Active Learning via Improving Test Performance*, AAAI 2022, section 3",
        passes="1",
        time="M (C + D)",
        memory="M (C + D)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the longest gradient, ties in random order."""
        check_budget(state, budget)
        probs, features = probs_and_features(state)
        if self.loss == "entropy":
            values = entropy_gradient_length(probs, features)
        else:
            bias = np.ones((len(probs), 1))
            values = sum((expected_gradient_length(probs, part) for part in (features, bias)), np.zeros(len(probs)))
        return best_by_value("gradient length", values, state, budget, rng)


def entropy_gradient_length(probs_MC: FloatArray, features_MD: FloatArray) -> FloatArray:
    """Length of the gradient of the entropy in the weights, plus that in the bias (M,).

    The derivative in the logit of class c is -p_c (log p_c + entropy).
    """
    terms = scipy.special.entr(probs_MC)
    slopes = terms - probs_MC * terms.sum(axis=1, keepdims=True)
    length: FloatArray = np.linalg.norm(slopes, axis=1) * (1 + np.linalg.norm(features_MD.astype(np.float64), axis=1))
    return length
