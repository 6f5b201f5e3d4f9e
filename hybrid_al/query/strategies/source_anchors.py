"""MADA and STDR: candidates far from the centroids of the source, or both the farthest and the nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Count, hyperparameters
from ...core.types import Need, Query
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..domains import squared_to_anchors
from ..ranking import best_by_value

NEEDS: frozenset[Need] = frozenset({"embeddings", "domains"})


@dataclass(frozen=True)
@hyperparameters
class MADA:
    """Ning et al., Multi-Anchor Active Domain Adaptation for Semantic Segmentation (ICCV 2021), section 3.2.

    The candidates farthest from the nearest of the source's centroids by k-means of the embeddings.

    anchors  centroids of the source
    """

    anchors: Count = 10

    needs: ClassVar[frozenset[Need]] = NEEDS
    about: ClassVar[About] = About(
        paper="Ning et al.: *Multi-Anchor Active Domain Adaptation for Semantic Segmentation*, ICCV 2021, section 3.2",
        passes="0",
        time="anchors D (50 L + M)",
        memory="(L + M) D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` farthest candidates, ties in random order."""
        check_budget(state, budget)
        return best_by_value("far from the source", squared_to_anchors(state, self.anchors, rng), state, budget, rng)


@dataclass(frozen=True)
@hyperparameters
class STDR:
    """Wang et al., Dual-Reference Source-Free Active Domain Adaptation (TMI 2024): STDR, section III-B.

    Half of the budget nearest to a centroid of the source, which are alike in both domains, and half farthest from all,
    which are of the target alone; a budget of 1 takes the farthest. Of the source nothing but its centroids is used.

    anchors  centroids of the source
    """

    anchors: Count = 40

    needs: ClassVar[frozenset[Need]] = NEEDS
    about: ClassVar[About] = About(
        paper="Wang et al.: *Dual-Reference Source-Free Active Domain Adaptation for Nasopharyngeal Carcinoma Tumor "
        "Segmentation across Multiple Hospitals*, TMI 2024, section III-B",
        passes="0",
        time="anchors D (50 L + M)",
        memory="(L + M) D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The farthest candidates first, the nearest behind them; ties in random order."""
        check_budget(state, budget)
        order = best_first(squared_to_anchors(state, self.anchors, rng), rng)
        far = budget - budget // 2
        picks = np.concatenate([order[:far], order[::-1][: budget // 2]])
        reasons = ("far from the source",) * far + ("like the source",) * (budget // 2)
        return Query(state.candidates[picks], reasons=reasons)
