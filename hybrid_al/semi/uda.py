"""UDA (Xie et al. 2020): strong views learn the sharpened prediction of their weak views, where it is confident."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.registry import Amount, Positive, hyperparameters
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, cross_entropy_step, passes


@dataclass(frozen=True)
@hyperparameters
class UDA:
    """Cross-entropy on labels plus the divergence of strong views from sharpened weak ones; section 2 of the paper.

    temperature  of the sharpening (paper: 0.4)
    threshold    probability before sharpening from which a sample counts (paper: 0.8 on CIFAR-10)
    weight       of the unlabeled term (paper: 1)
    tsa          training signal annealing: leave out labeled samples whose probability is above a limit that grows from
                 1 / classes to 1, "log" fast, "exp" late (paper: chosen by data set)
    """

    temperature: Positive = 0.4
    threshold: Amount = 0.8
    weight: Amount = 1.0
    tsa: Literal["none", "linear", "log", "exp"] = "none"
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; targets come from the student and carry no gradient."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        logits_labeled, logits_strong, logits_weak = passes(models, labeled, unlabeled)
        loss_labeled = self._annealed_loss(logits_labeled, labeled.y, progress)

        weak = logits_weak.softmax(dim=1)
        target = (logits_weak / self.temperature).softmax(dim=1)
        mask = (weak.amax(dim=1) >= self.threshold).float()
        divergence = F.kl_div(logits_strong.log_softmax(dim=1), target, reduction="none").sum(dim=1)
        loss_unlabeled = (divergence * mask).mean()

        loss = loss_labeled + self.weight * loss_unlabeled
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            "mask_rate": mask.mean(),
        }
        return Step(loss, logs, LogitEvidence(unlabeled.indices, logits_weak, logits_strong.detach()))

    def _annealed_loss(self, logits: Tensor, y: Tensor, progress: float) -> Tensor:
        if self.tsa == "none":
            return F.cross_entropy(logits, y)
        growth = {"linear": progress, "log": 1 - math.exp(-5 * progress), "exp": math.exp(5 * (progress - 1))}[self.tsa]
        limit = 1 / logits.shape[1] + growth * (1 - 1 / logits.shape[1])
        losses = F.cross_entropy(logits, y, reduction="none")
        mask = (torch.exp(-losses.detach()) <= limit).float()
        return (losses * mask).sum() / mask.sum().clamp_min(1)
