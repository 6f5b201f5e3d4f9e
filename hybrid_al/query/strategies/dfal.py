"""DFAL: the candidates nearest to a decision boundary of the last layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.types import Need, Query
from ..base import About, QueryState
from ..ranking import best_by_term
from ..terms import TERMS


@dataclass(frozen=True)
class DeepFool:
    """Ducoffe and Precioso, Adversarial Active Learning for Deep Networks: a Margin Based Approach (2018), section 3.

    The length of the DeepFool perturbation of the features that the last layer sees. There the boundaries are planes,
    so the perturbation has a closed form, which one step of DeepFool reaches.
    """

    needs: ClassVar[frozenset[Need]] = TERMS["dfal"].needs
    about: ClassVar[About] = About(
        paper="Ducoffe, Precioso: *Adversarial Active Learning for Deep Networks: a Margin Based Approach*, 2018 "
        "(arXiv 1802.09841), section 3; Moosavi-Dezfooli, Fawzi, Frossard: *DeepFool*, CVPR 2016, section 3",
        passes="1",
        time="M C (C + D)",
        memory="M (C + D)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the smallest perturbation, ties in random order."""
        return best_by_term("dfal", state, budget, rng)
