"""EdgeAL: regions whose predictions differ most between passes at the edges of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Count, Passes, hyperparameters
from ...core.types import Need, Query
from ...scores.wholes import edge_divergence, edge_entropy
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..ranking import best_by_value
from ..terms import PASSES


@dataclass(frozen=True)
@hyperparameters
class EdgeAL:
    """Of the `shortlist` * budget candidates of the largest edge entropy, those of the largest edge divergence.

    Both are means over a region's pixels of a score of passes with dropout, weighted by the strength of the image's
    edges (`scores.wholes`); for regions of masks, as `task.region: superpixels`. Samples without pixels have no edges,
    so the scores are then not weighted.
    """

    samples: Passes = PASSES
    shortlist: Count = 2

    needs: ClassVar[frozenset[Need]] = frozenset({"samples"})
    about: ClassVar[About] = About(
        paper="Kadir, Alam, Sonntag: *EdgeAL: An Edge Estimation Based Active Learning Approach for OCT Segmentation*, "
        "MICCAI 2023",
        passes="2 samples",
        time="M S C",
        memory="M S C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest edge divergence among those of the shortlist, ties in random order."""
        check_budget(state, budget)
        entropy = state.score(edge_entropy, self.samples)
        divergence = state.score(edge_divergence, self.samples)
        listed = best_first(entropy, rng)[: self.shortlist * budget]
        values = np.full(len(entropy), -1.0)
        values[listed] = divergence[listed]
        return best_by_value("edge divergence", values, state, budget, rng)
