"""FreeMatch (Wang et al. 2023): FixMatch with thresholds that follow the model's confidence, and a fairness term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.registry import Amount, Share, hyperparameters
from .base import Evidence, Labeled, Models, Step, Unlabeled, cross_entropy_step, passes, running_mean


@dataclass(frozen=True)
@hyperparameters
class FreeMatch:
    """FixMatch whose threshold is the running mean confidence, lower for rarer classes (the paper's SAT and SAF).

    weight    of the unlabeled term (paper: 1)
    fairness  weight of the fairness term (paper: 0.01, and 0.05 where labels are fewest)
    decay     of the running means, which start at 1 / classes (paper: 0.999, in a million steps; a fit here has 100
              to 300, so 0.98, as for the teacher: else no threshold would move far)
    """

    weight: Amount = 1.0
    fairness: Amount = 0.01
    decay: Share = 0.98
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; pseudo-labels come from the student and carry no gradient."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        logits_labeled, logits_strong, logits_weak = passes(models, labeled, unlabeled)
        loss_labeled = F.cross_entropy(logits_labeled, labeled.y)

        weak, strong = logits_weak.softmax(dim=1), logits_strong.softmax(dim=1)
        confidence, pseudo = weak.max(dim=1)
        classes = weak.shape[1]
        shares = F.one_hot(pseudo, classes).float().mean(dim=0)
        overall = running_mean(models, "confidence", confidence.mean(), decay=self.decay, start=1 / classes)
        mean = running_mean(models, "mean", weak.mean(dim=0), decay=self.decay, start=1 / classes)
        histogram = running_mean(models, "histogram", shares, decay=self.decay, start=1 / classes)
        mask = (confidence >= overall * (mean / mean.max())[pseudo]).float()
        loss_unlabeled = (F.cross_entropy(logits_strong, pseudo, reduction="none") * mask).mean()
        loss_fairness = _fairness(strong, mask, mean / histogram.clamp_min(1e-6))

        loss = loss_labeled + self.weight * loss_unlabeled + self.fairness * loss_fairness
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            "loss_fairness": loss_fairness.detach(),
            "mask_rate": mask.mean(),
        }
        return Step(loss, logs, Evidence(unlabeled.indices, weak, strong.detach()))


def _fairness(strong: Tensor, mask: Tensor, expected: Tensor) -> Tensor:
    """The paper's SAF: minus the cross-entropy of two vectors, mean probability over class share, normalised.

    Only samples above the threshold and their strong-view classes take part; never above zero.
    """
    one_hot = F.one_hot(strong.argmax(dim=1), strong.shape[1]).float()
    counts = (one_hot * mask[:, None]).sum(dim=0)
    present = counts > 0
    observed = torch.where(present, (strong * mask[:, None]).sum(dim=0) / counts.clamp_min(1), 0)
    observed = observed / observed.sum().clamp_min(1e-12)
    return (expected / expected.sum() * torch.where(present, observed.clamp_min(1e-12), 1).log()).sum()
