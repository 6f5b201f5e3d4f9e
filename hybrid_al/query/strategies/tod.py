"""TOD: the candidates of which this round's model says something else than the model of the round before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.types import Need, Query
from ...errors import InputError
from ..base import About, QueryState, check_budget
from ..scored import best_scored


@dataclass(frozen=True)
class TOD:
    """Largest half squared distance of the probabilities to those of the model before.

    In the first round with a model there is none before it: then random.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"predictions", "history"})
    about: ClassVar[About] = About(
        paper="Huang et al.: *Semi-Supervised Active Learning with Temporal Output Discrepancy*, ICCV 2021, section 3",
        passes="2, one of them by the model before",
        time="M C",
        memory="N C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest discrepancy, ties in random order."""
        check_budget(state, budget)
        before = state.extra("previous_probs", state.candidates)
        if before.shape[1:] == (0,):
            why = "a random one: there is no model before this one to compare with"
            return Query(rng.permutation(state.candidates)[:budget], reasons=(why,) * budget)
        now = state.probs().mean(axis=1, dtype=np.float64)
        if before.shape != now.shape:
            raise InputError("previous_probs", f"shape {now.shape}", str(before.shape))
        values = np.square(now - before).sum(axis=1) / 2
        return best_scored("tod", values, state, budget, rng)
