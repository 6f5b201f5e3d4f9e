"""The baseline: cross-entropy on the labeled set, the rest of the pool unused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F

from .base import Labeled, Models, Step, Unlabeled


@dataclass(frozen=True)
class Supervised:
    """Cross-entropy of the student on weak views of the labeled samples."""

    uses_unlabeled: ClassVar[bool] = False

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; ignores `unlabeled` and `progress`."""
        loss = F.cross_entropy(models.student(labeled.x), labeled.y)
        return Step(loss, {"loss_labeled": loss.detach()})
