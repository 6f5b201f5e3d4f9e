"""Expected gradient length: the candidates whose label is expected to move the last layer most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.types import FloatArray, Need, Query
from ..base import About, QueryState, check_budget
from ..last_layer import probs_and_features
from ..ranking import best_by_value


@dataclass(frozen=True)
class ExpectedGradientLength:
    """Settles, Craven and Ray, Multiple-Instance Active Learning (NeurIPS 2007), section 3; of the last layer.

    The gradient in its weights for class c is (p - onehot(c)) x features, so the expected length has a closed form.
    Cost: one pass over the M candidates, O(M (C + D)) time and bytes.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Settles, Craven, Ray: *Multiple-Instance Active Learning*, NeurIPS 2007, section 3",
        passes="1",
        time="M (C + D)",
        memory="M (C + D)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest expected gradient, ties in random order."""
        check_budget(state, budget)
        probs, features = probs_and_features(state)
        values = expected_gradient_length(probs, features)
        return best_by_value("egl", values, state, budget, rng)


def expected_gradient_length(probs_MC: FloatArray, features_MD: FloatArray) -> FloatArray:
    """Sum over classes of p_c |p - onehot(c)| |features| (M,)."""
    squared = np.square(probs_MC).sum(axis=1, keepdims=True) - 2 * probs_MC + 1
    errors = (probs_MC * np.sqrt(squared.clip(0))).sum(axis=1)
    length: FloatArray = errors * np.linalg.norm(features_MD.astype(np.float64), axis=1)
    return length
