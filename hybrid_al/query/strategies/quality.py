"""Predicted quality: the candidates whose own mask is, by a head that learned it, the worst."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.types import Need, Query
from ...scores.samples import predicted_error
from ..base import About, QueryState, check_budget
from ..ranking import best_by_value


@dataclass(frozen=True)
class Quality:
    """Smallest Dice that the head of `task.quality_head` expects of the prediction; for masks. Random without one."""

    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})
    about: ClassVar[About] = About(
        paper="Zhou et al.: *Quality-Aware Memory Network for Interactive Volumetric Image Segmentation*, MICCAI 2021, "
        "and *Volumetric Memory Network*, Medical Image Analysis 2022: the module that assesses masks",
        passes="1",
        time="M C",
        memory="M C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the lowest quality, ties in random order."""
        check_budget(state, budget)
        return best_by_value("low predicted quality", state.score(predicted_error), state, budget, rng)
