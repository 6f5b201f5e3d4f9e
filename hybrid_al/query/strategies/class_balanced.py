"""ClassBal: the most uncertain candidates, of which those of frequent predicted classes count less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.types import FloatArray, IntArray, Need, Query
from ...scores.samples import ratio, shares
from ..base import About, QueryState, check_budget
from ..ranking import best_by_value


@dataclass(frozen=True)
class ClassBalanced:
    """Second most probable over most probable class (BvSB), times exp(-p) of the candidate's predicted class.

    p is the share of the candidates of that class. Of a region of masks, BvSB is the mean over its pixels and its class
    that of most of them, as predicted. BvSB is scaled to [0, 1] over the candidates first.

    Cai et al., Revisiting Superpixels for Active Learning in Semantic Segmentation with Realistic Annotation Costs
    (CVPR 2021), section 3.3; there p is over all regions, those that have an answer among them.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})
    about: ClassVar[About] = About(
        paper="Cai et al.: *Revisiting Superpixels for Active Learning in Semantic Segmentation with Realistic "
        "Annotation Costs*, CVPR 2021, section 3.3",
        passes="2",
        time="M C",
        memory="M C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        check_budget(state, budget)
        values = class_balanced(state.score(ratio), state.score(shares).argmax(axis=1))
        return best_by_value("class-balanced BvSB", values, state, budget, rng)


def class_balanced(uncertainty_M: FloatArray, classes_M: IntArray) -> FloatArray:
    """Uncertainty (M,) scaled to [0, 1], times exp(-p) of the share p of the candidates' class; of equal ones exp(-p).

    Larger = ask first.
    """
    low, high = uncertainty_M.min(), uncertainty_M.max()
    scaled = (uncertainty_M - low) / (high - low) if high > low else np.ones(len(uncertainty_M))
    p = np.bincount(classes_M)[classes_M] / len(classes_M)
    values: FloatArray = scaled * np.exp(-p)
    return values
