"""The baseline: cross-entropy on the labeled set, unlabeled samples unused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import Labeled, Models, Step, Unlabeled, cross_entropy_step


@dataclass(frozen=True)
class Supervised:
    """Cross-entropy of the student on weak views of the labeled samples."""

    uses_unlabeled: ClassVar[bool] = False

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; ignores `unlabeled` and `progress`."""
        return cross_entropy_step(models, labeled)
