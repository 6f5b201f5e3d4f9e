"""Virtual adversarial divergence: candidates whose prediction changes most under a small change of the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Positive, hyperparameters
from ...core.types import Need, Query
from ..base import About, QueryState
from ..last_layer import RADIUS
from ..ranking import best_by_term
from ..terms import TERMS


@dataclass(frozen=True)
@hyperparameters
class VirtualAdversarial:
    """Zhang et al., BoostMIS (CVPR 2022), the unstable samples of section 3.3: largest divergence under perturbation.

    The perturbation is that of Miyato et al., Virtual Adversarial Training (TPAMI 2019), section 3.3, on the features
    of the last layer, where its direction is an exact eigenvector.

    radius  length of the perturbation, relative to the mean length of the candidates' features; ours
    """

    radius: Positive = RADIUS

    needs: ClassVar[frozenset[Need]] = TERMS["vat"].needs
    about: ClassVar[About] = About(
        paper="Zhang et al.: *BoostMIS*, CVPR 2022, section 3.3; Miyato et al.: *Virtual Adversarial Training*, TPAMI "
        "2019, section 3.3",
        passes="1",
        time="M C (C^2 + D)",
        memory="M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest divergence, ties in random order."""
        return best_by_term("vat", state, budget, rng, radius=self.radius)
