"""The baseline: Dice and cross-entropy on the labeled pixels, unlabeled samples unused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..base import Labeled, Models, Step
from .base import UnlabeledPixels, supervised_step


@dataclass(frozen=True)
class DenseSupervised:
    """`dice_ce` of the student on weak views of the labeled samples."""

    uses_unlabeled: ClassVar[bool] = False
    strong_views: ClassVar[int] = 1
    networks: ClassVar[int] = 1

    def step(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels | None, progress: float) -> Step:
        """See `DenseObjective.step`; ignores `unlabeled` and `progress`."""
        return supervised_step(models, labeled)
