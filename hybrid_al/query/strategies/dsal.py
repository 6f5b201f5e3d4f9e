"""DSAL: the candidates whose mask least agrees with those of the decoder's side heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.types import Need, Query
from ...scores.samples import side_disagreement
from ..base import About, QueryState, check_budget
from ..ranking import best_by_value


@dataclass(frozen=True)
class DSAL:
    """Largest `scores.side_disagreement`; for masks, with `task.side_heads`. Random where there is one output alone."""

    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})
    about: ClassVar[About] = About(
        paper="Zhao et al.: *DSAL: Deeply Supervised Active Learning from Strong and Weak Labelers for Biomedical "
        "Image Segmentation*, IEEE JBHI 2021, section III.B",
        passes="1",
        time="M C",
        memory="M C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the least agreement, ties in random order."""
        check_budget(state, budget)
        return best_by_value("disagreement of side heads", state.score(side_disagreement), state, budget, rng)
