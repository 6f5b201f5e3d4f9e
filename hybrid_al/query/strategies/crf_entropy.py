"""Entropy of regions after a conditional random field has smoothed the predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.types import Need, Query
from ..base import About, QueryState
from ..ranking import best_by_term
from ..terms import TERMS


@dataclass(frozen=True)
class CRFEntropy:
    """Largest mean entropy of a region's pixels after `scores.edges.mean_field`; for masks (`task.region`).

    What neighbours of like colour make plain is no longer uncertain. Samples without pixels have no neighbours.
    """

    needs: ClassVar[frozenset[Need]] = TERMS["crf_entropy"].needs
    about: ClassVar[About] = About(
        paper="Kasarla et al.: *Region-Based Active Learning for Efficient Labeling in Semantic Segmentation*, WACV "
        "2019; the field as Krähenbühl, Koltun: *Efficient Inference in Fully Connected CRFs with Gaussian Edge "
        "Potentials*, NeurIPS 2011, with neighbours alone",
        passes="1",
        time="M C",
        memory="M C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` most uncertain candidates, ties in random order."""
        return best_by_term("crf_entropy", state, budget, rng)
