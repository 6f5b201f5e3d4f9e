"""FixMatch (Sohn et al. 2020): confident weak-view predictions are the labels of the strong views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F

from ..core.registry import Amount, hyperparameters
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, align, class_prior, cross_entropy_step, passes


@dataclass(frozen=True)
@hyperparameters
class FixMatch:
    """Cross-entropy on labels plus, where the pseudo-label is confident, on strong views; section 2.2 of the paper.

    threshold  probability from which a pseudo-label counts (paper: 0.95)
    weight     of the unlabeled term (paper: 1)
    alignment  rescale pseudo-label probabilities towards the labeled class shares, or towards uniform
               (ReMixMatch; the paper's section 2.4 names it as an extension); "none" as in the paper
    """

    threshold: Amount = 0.95
    weight: Amount = 1.0
    alignment: Literal["none", "labeled", "uniform"] = "none"
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; pseudo-labels come from the student, as in the paper, and carry no gradient."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        logits_labeled, logits_strong, logits_weak = passes(models, labeled, unlabeled)
        loss_labeled = F.cross_entropy(logits_labeled, labeled.y)

        weak = logits_weak.softmax(dim=1)
        target = self._align(weak, labeled, models)
        confidence, pseudo = target.max(dim=1)
        mask = (confidence >= self.threshold).float()
        loss_unlabeled = (F.cross_entropy(logits_strong, pseudo, reduction="none") * mask).mean()

        loss = loss_labeled + self.weight * loss_unlabeled
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            "mask_rate": mask.mean(),
        }
        return Step(loss, logs, LogitEvidence(unlabeled.indices, logits_weak, logits_strong.detach()))

    def _align(self, weak: torch.Tensor, labeled: Labeled, models: Models) -> torch.Tensor:
        classes = weak.shape[1]
        if self.alignment == "labeled":
            return align(weak, class_prior(labeled, classes, models), models)
        if self.alignment == "uniform":
            return align(weak, weak.new_full(weak.shape[1:], 1 / classes), models)
        return weak
