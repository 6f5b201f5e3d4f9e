"""DFAL and BIM: the candidates that the least change of their features takes to another class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Count, Positive, hyperparameters
from ...core.types import Need, Query
from ..base import About, QueryState, check_budget
from ..last_layer import features_and_head, sign_steps
from ..ranking import best_by_term, best_by_value
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


@dataclass(frozen=True)
@hyperparameters
class BIM:
    """Fewest steps of the basic iterative method. Kurakin, Goodfellow, Bengio (2017), section 2.2; a query of toolkits.

    Steps along the sign of the gradient, on the features that the last layer sees. They ask how far in the largest
    component, and go by the loss, so that of more than two classes others come first than with `dfal`.

    step  of a component, relative to the root of the mean square of the candidates' features; ours
    most  steps; a candidate that keeps its class until then comes last
    """

    step: Positive = 0.02
    most: Count = 50

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Kurakin, Goodfellow, Bengio: *Adversarial Examples in the Physical World*, ICLR workshop 2017, section "
        "2.2",
        passes="1",
        time="most M C D",
        memory="M (C + D)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the fewest steps, ties in random order."""
        check_budget(state, budget)
        features, weight, bias = features_and_head(state)
        size = self.step * float(np.sqrt(np.square(features).mean()))
        values = -sign_steps(features, weight, bias, size, self.most)
        return best_by_value("few steps to another class", values, state, budget, rng)
