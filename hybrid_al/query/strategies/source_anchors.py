"""MADA and STDR: candidates far from the centroids of the source, or both the farthest and the nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Count, hyperparameters
from ...core.types import Need, Query
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..domains import By, needs_of, squared_to_anchors
from ..ranking import best_by_value


@dataclass(frozen=True)
@hyperparameters
class MADA:
    """Ning et al., Multi-Anchor Active Domain Adaptation for Semantic Segmentation (ICCV 2021), section 3.2.

    The candidates farthest from the nearest of the source's centroids by k-means.

    anchors  centroids of the source
    by       what they are of: "embeddings" of stage 0, or as in the paper the model's mean features of the pixels of
             each predicted "classes", one behind the other. Its training is then the objective `anchors`
    """

    anchors: Count = 10
    by: By = "embeddings"

    about: ClassVar[About] = About(
        paper="Ning et al.: *Multi-Anchor Active Domain Adaptation for Semantic Segmentation*, ICCV 2021, section 3.2",
        passes="0; classes 1, and 1 over the source",
        time="anchors D (50 L + M)",
        memory="(L + M) D; classes (L + M) C D",
    )

    @property
    def needs(self) -> frozenset[Need]:
        """The domains, and what the anchors are of."""
        return needs_of(self.by)

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` farthest candidates, ties in random order."""
        check_budget(state, budget)
        squared = squared_to_anchors(state, self.anchors, self.by, rng)
        return best_by_value("far from the source", squared, state, budget, rng)


@dataclass(frozen=True)
@hyperparameters
class STDR:
    """Wang et al., Dual-Reference Source-Free Active Domain Adaptation (TMI 2024): STDR, section III-B.

    Half of the budget nearest to a centroid of the source, which are alike in both domains, and half farthest from all,
    which are of the target alone; a budget of 1 takes the farthest. Of the source nothing but its centroids is used.

    anchors, by  as in `mada`
    """

    anchors: Count = 40
    by: By = "embeddings"

    about: ClassVar[About] = About(
        paper="Wang et al.: *Dual-Reference Source-Free Active Domain Adaptation for Nasopharyngeal Carcinoma Tumor "
        "Segmentation across Multiple Hospitals*, TMI 2024, section III-B",
        passes="0; classes 1, and 1 over the source",
        time="anchors D (50 L + M)",
        memory="(L + M) D; classes (L + M) C D",
    )

    @property
    def needs(self) -> frozenset[Need]:
        """The domains, and what the anchors are of."""
        return needs_of(self.by)

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The farthest candidates first, the nearest behind them; ties in random order."""
        check_budget(state, budget)
        order = best_first(squared_to_anchors(state, self.anchors, self.by, rng), rng)
        far = budget - budget // 2
        picks = np.concatenate([order[:far], order[::-1][: budget // 2]])
        reasons = ("far from the source",) * far + ("like the source",) * (budget // 2)
        return Query(state.candidates[picks], reasons=reasons)
