"""PLD-AL: the candidates about whose pixels the student and its moving average differ most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.types import Need, Query
from ...scores.samples import student_divergence
from ..base import About, QueryState, check_budget
from ..ranking import best_by_value


@dataclass(frozen=True)
class PLD:
    """Largest `scores.student_divergence`, of images or of their regions; random where there is one output alone.

    For masks. The objective `pld` trains teacher and student as the paper does; others have both too.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})
    about: ClassVar[About] = About(
        paper="*PLD-AL: Pseudo-Label Divergence-Based Active Learning in Carotid Intima-Media Segmentation for "
        "Ultrasound Images*, MICCAI 2023",
        passes="2",
        time="M C",
        memory="M C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest divergence, ties in random order."""
        check_budget(state, budget)
        return best_by_value("divergence of teacher and student", state.score(student_divergence), state, budget, rng)
