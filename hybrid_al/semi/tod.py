"""TOD (Huang et al. 2021): the student's outputs stay near those of its moving average, on all samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from ..core.registry import Amount, hyperparameters
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, cross_entropy_step


@dataclass(frozen=True)
@hyperparameters
class TOD:
    """Cross-entropy on labels plus the mean squared distance of logits to the teacher's; section 3.3 of the paper.

    Both see the weak view, of labeled and of unlabeled samples. With `train.start: last` the teacher begins as that of
    the round before, which is the paper's baseline model: its average runs on over the cycles.
    weight  of the distance (released scripts: 0.02)
    """

    weight: Amount = 0.02
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; the teacher's logits carry no gradient. The strong view is for the record alone."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        x = torch.cat([labeled.x, unlabeled.weak])
        with torch.no_grad():
            target = models.teacher(x)
            logits_strong = models.teacher(unlabeled.strong)
        logits = models.student(x)
        loss_labeled = F.cross_entropy(logits[: len(labeled.x)], labeled.y)
        labeled_gap, unlabeled_gap = (logits - target).square().split([len(labeled.x), len(unlabeled.weak)])
        loss_discrepancy = labeled_gap.mean() + unlabeled_gap.mean()

        loss = loss_labeled + self.weight * loss_discrepancy
        logs = {"loss_labeled": loss_labeled.detach(), "loss_discrepancy": loss_discrepancy.detach()}
        return Step(loss, logs, LogitEvidence(unlabeled.indices, target[len(labeled.x) :], logits_strong))
