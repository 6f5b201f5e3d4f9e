"""CEREALS: regions of much information for the clicks that a model of the effort expects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...core.registry import Amount, Positive, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...scores.samples import entropy, foreground
from ...scores.wholes import expected_outline
from ..base import About, QueryState, check_budget
from ..ranking import best_by_value

LEAST = 4  # labeled regions with an outline, below which all clicks are expected alike


@dataclass(frozen=True)
@hyperparameters
class CEREALS:
    """Largest mean entropy of a region's pixels, over the clicks of its polygons to the power of `price`; for masks.

    The clicks are those that a ridge regression expects. It learns in each round from the regions that are drawn, by
    what the last model says of them: the expected outline, the entropy, and the share of structures.

    price     0: clicks do not matter
    strength  of the ridge penalty, beside squared errors of features of unit variance
    """

    price: Amount = 1.0
    strength: Positive = 1.0

    needs: ClassVar[frozenset[Need]] = frozenset({"predictions", "clicks"})
    about: ClassVar[About] = About(
        paper="Mackowiak et al.: *CEREALS: Cost-Effective REgion-based Active Learning for Semantic Segmentation*, "
        "BMVC 2018",
        passes="3, and 3 over the labeled regions",
        time="(L + M) C",
        memory="(L + M) C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the most information for a click, ties in random order."""
        check_budget(state, budget)
        rows = _described(state, state.candidates)
        clicks = state.extra("clicks", state.labels.labeled)
        drawn, clicks = state.labels.labeled[clicks >= 0], clicks[clicks >= 0]
        expected = np.ones(len(rows))
        if len(drawn) >= LEAST:
            expected = ridge(_described(state, drawn), clicks, rows, self.strength).clip(min=1)
        return best_by_value("information for a click", rows[:, 1] / expected**self.price, state, budget, rng)


def _described(state: QueryState, indices: IntArray) -> FloatArray:
    """What the model says of regions (K, 3): expected outline, entropy, share of structures."""
    of_these = replace(state, candidates=indices)
    return np.stack([of_these.score(score) for score in (expected_outline, entropy, foreground)], axis=1)


def ridge(rows_KD: FloatArray, values_K: FloatArray, others_MD: FloatArray, strength: float) -> FloatArray:
    """Values (M,) that a ridge regression on rows (K, D) of unit variance expects of others; the mean is free."""
    mean, scale = rows_KD.mean(axis=0), rows_KD.std(axis=0)
    scaled, others = ((rows - mean) / np.maximum(scale, 1e-9) * (scale > 1e-9) for rows in (rows_KD, others_MD))
    centre = values_K.mean()
    gram = scaled.T @ scaled + strength * np.eye(scaled.shape[1])
    expected: FloatArray = others @ np.linalg.solve(gram, scaled.T @ (values_K - centre)) + centre
    return expected
