"""Expected gradient length: the candidates whose label is expected to move the last layer most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.types import Need, Query
from ..base import About, QueryState
from ..ranking import best_by_term
from ..terms import TERMS


@dataclass(frozen=True)
class ExpectedGradientLength:
    """Settles, Craven and Ray, Multiple-Instance Active Learning (NeurIPS 2007), section 3; of the last layer.

    The gradient in its weights for class c is (p - onehot(c)) x features, so the expected length has a closed form.
    Cost: one pass over the M candidates, O(M (C + D)) time and bytes.
    """

    needs: ClassVar[frozenset[Need]] = TERMS["egl"].needs
    about: ClassVar[About] = About(
        paper="Settles, Craven, Ray: *Multiple-Instance Active Learning*, NeurIPS 2007, section 3",
        passes="1",
        time="M (C + D)",
        memory="M (C + D)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest expected gradient, ties in random order."""
        return best_by_term("egl", state, budget, rng)
