"""Dice per outline: regions whose drawing gains most of the Dice for the length that has to be traced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Positive, hyperparameters
from ...core.types import Need, Query
from ...scores.wholes import dice_gain, expected_outline
from ..base import About, QueryState, check_budget
from ..ranking import best_by_value


@dataclass(frozen=True)
@hyperparameters
class DicePerOutline:
    """Largest Dice that the model expects to gain, over the outline that it expects to be traced (`scores.wholes`).

    For masks, of whole images or of regions (`task.region: windows`). Samples without pixels have no outline.

    least  length of an outline, in sides of pixels, below which a shorter one costs as much: to look at a region
    """

    least: Positive = 4.0

    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})
    about: ClassVar[About] = About(
        paper="Atzeni et al.: *Deep active learning for suggestive segmentation of biomedical image stacks via "
        "optimisation of Dice scores and traced boundary length*, Medical Image Analysis 2022",
        passes="2",
        time="M C",
        memory="M C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest gain for their length, ties in random order."""
        check_budget(state, budget)
        values = state.score(dice_gain) / np.maximum(state.score(expected_outline), self.least)
        return best_by_value("Dice for its outline", values, state, budget, rng)
