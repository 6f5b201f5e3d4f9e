"""TOD: the candidates on which this model and the model of the round before differ most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.types import Need, Query
from ..base import About, QueryState, check_budget
from ..ranking import best_by_term
from ..terms import TERMS


@dataclass(frozen=True)
class TOD:
    """Largest half squared distance between the probabilities of this model and of the one before.

    Random in the first round with a model, as there is none before it.
    """

    needs: ClassVar[frozenset[Need]] = TERMS["tod"].needs
    about: ClassVar[About] = About(
        paper="Huang et al.: *Semi-Supervised Active Learning with Temporal Output Discrepancy*, ICCV 2021, section 3",
        passes="2, one of them by the model before",
        time="M C",
        memory="N C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest discrepancy, ties in random order."""
        check_budget(state, budget)
        if state.extra("previous_probs", state.candidates[:1]).shape[1:] == (0,):
            reason = "a random one: there is no model before this one to compare with"
            return Query(rng.permutation(state.candidates)[:budget], reasons=(reason,) * budget)
        return best_by_term("tod", state, budget, rng)
