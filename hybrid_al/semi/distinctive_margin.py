"""The distinctive margin (SDM): labels whose logit stands out in direction, the hard classes for more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from ..core.registry import Amount, Positive, hyperparameters
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, one_hot


@dataclass(frozen=True)
@hyperparameters
class DistinctiveMargin:
    """Cross-entropy, a weighted hinge of unit logits, and the label's unit logit; Xie et al. (CVPR 2022), section 3.3.

    Unit logits u are the logits divided by their length. The hinge is the mean over classes other than the label y of
    w max(0, margin - u_y + u_c), with w = max(0, 1 - z_y + z_c) of the logits, without gradient; u_y is taken off.
    Unlabeled samples serve the evidence alone. The query that goes with it is `sdm`.

    margin  of the hinge
    weight  of the two terms beside cross-entropy
    """

    margin: Positive = 1.0
    weight: Amount = 1.0
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`."""
        logits = models.student(labeled.x)
        loss_labeled = F.cross_entropy(logits, labeled.y)
        own = one_hot(labeled.y, logits.shape[1])
        unit = F.normalize(logits, dim=1)
        with torch.no_grad():
            hard = (1 - (logits * own).sum(dim=1, keepdim=True) + logits).clamp_min(0) * (1 - own)
        true = (unit * own).sum(dim=1, keepdim=True)
        hinge = (hard * (self.margin - true + unit).clamp_min(0)).mean(dim=1).mean()
        loss_margin = hinge - true.mean()
        logs = {"loss_labeled": loss_labeled.detach(), "loss_margin": loss_margin.detach()}
        evidence = None
        if unlabeled is not None:
            with torch.no_grad():
                weak, strong = models.student(unlabeled.weak), models.student(unlabeled.strong)
            evidence = LogitEvidence(unlabeled.indices, weak, strong)
        return Step(loss_labeled + self.weight * loss_margin, logs, evidence)
