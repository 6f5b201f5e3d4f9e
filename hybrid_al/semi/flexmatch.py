"""FlexMatch (Zhang et al. 2021): FixMatch with a lower threshold for classes that are learned late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.registry import Amount, hyperparameters
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, cross_entropy_step, passes


@dataclass(frozen=True)
@hyperparameters
class FlexMatch:
    """FixMatch whose threshold is scaled for each class by how many samples it has won; section 3 of the paper.

    The memory holds, for each unlabeled sample, the class at its last visit above `threshold`, or -1. While most hold
    -1, the thresholds of all classes are low (the paper's warm-up, section 3.2). A class's share x gives its threshold
    by the paper's convex map, x / (2 - x), so one below 2 / (1 + threshold * classes), 0.69 of two classes, gives a
    threshold below chance, which every sample passes.
    threshold  of a class learned best (paper: 0.95)
    weight     of the unlabeled term (paper: 1)
    warmup     shares are of the largest class or of the samples without one, whichever are more (paper); without it of
               the largest class, which then has `threshold` from its first sample on
    """

    threshold: Amount = 0.95
    weight: Amount = 1.0
    warmup: bool = True
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; pseudo-labels come from the student and carry no gradient."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        logits_labeled, logits_strong, logits_weak = passes(models, labeled, unlabeled)
        loss_labeled = F.cross_entropy(logits_labeled, labeled.y)

        weak = logits_weak.softmax(dim=1)
        confidence, pseudo = weak.max(dim=1)
        mask = (confidence >= self._thresholds(models, unlabeled, weak)[pseudo]).float()
        loss_unlabeled = (F.cross_entropy(logits_strong, pseudo, reduction="none") * mask).mean()
        confident = confidence >= self.threshold
        rows = torch.from_numpy(unlabeled.indices).to(confident.device)
        models.memory["won"][rows[confident]] = pseudo[confident]

        loss = loss_labeled + self.weight * loss_unlabeled
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            "mask_rate": mask.mean(),
        }
        return Step(loss, logs, LogitEvidence(unlabeled.indices, logits_weak, logits_strong.detach()))

    def _thresholds(self, models: Models, unlabeled: Unlabeled, weak: Tensor) -> Tensor:
        """The threshold of each class (C,), from the visits before this one."""
        if "won" not in models.memory:
            models.memory["won"] = torch.full((int(unlabeled.all_indices.max()) + 1,), -1, device=weak.device)
        won = models.memory["won"]
        counts = torch.bincount(won[won >= 0], minlength=weak.shape[1]).float()
        without_class = len(unlabeled.all_indices) - counts.sum() if self.warmup else torch.ones_like(counts[0])
        share = counts / torch.maximum(counts.max(), without_class)
        return self.threshold * share / (2 - share)
