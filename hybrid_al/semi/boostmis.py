"""BoostMIS (Zhang et al. 2022): FixMatch whose threshold rises with the training, less for classes that fall back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.registry import Amount, Part, Share, hyperparameters
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, cross_entropy_step, passes, ramp_linear

CHECKPOINTS = 10  # of a fit: the confident samples of a class are compared with those at the checkpoint before


@dataclass(frozen=True)
@hyperparameters
class BoostMIS:
    """FixMatch with an adaptive threshold for each class; section 3.2 of the paper.

    The threshold of a class is `learning` x min(1, its confident samples now / at the last checkpoint) + `time` x a
    ramp over the first `rampup` of the fit, and the sum of both from then on. A sample is confident if it was at or
    above the threshold at its last visit.
    learning, time  the two parts (released code: 0.9 and 0.05)
    rampup          share of the fit; in the paper the second part grows with the samples that active learning added
    weight          of the unlabeled term
    """

    learning: Share = 0.9
    time: Share = 0.05
    rampup: Part = 0.5
    weight: Amount = 1.0
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; pseudo-labels come from the student and carry no gradient."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        logits_labeled, logits_strong, logits_weak = passes(models, labeled, unlabeled)
        loss_labeled = F.cross_entropy(logits_labeled, labeled.y)

        confidence, pseudo = logits_weak.softmax(dim=1).max(dim=1)
        thresholds = self._thresholds(models, unlabeled, logits_weak, progress)
        confident = confidence >= thresholds[pseudo]
        loss_unlabeled = (F.cross_entropy(logits_strong, pseudo, reduction="none") * confident).mean()
        rows = torch.from_numpy(unlabeled.indices).to(pseudo.device)
        models.memory["won"][rows] = pseudo.where(confident, pseudo.new_full((), -1))

        loss = loss_labeled + self.weight * loss_unlabeled
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            "mask_rate": confident.float().mean(),
        }
        return Step(loss, logs, LogitEvidence(unlabeled.indices, logits_weak, logits_strong.detach()))

    def _thresholds(self, models: Models, unlabeled: Unlabeled, like: Tensor, progress: float) -> Tensor:
        """The threshold of each class (C,), from the visits before this one."""
        memory, classes = models.memory, like.shape[1]
        if "won" not in memory:
            memory["won"] = torch.full((int(unlabeled.all_indices.max()) + 1,), -1, device=like.device)
            memory["checkpoint"], memory["counts"] = like.new_zeros(()), like.new_zeros(classes)
        won = memory["won"]
        counts = torch.bincount(won[won >= 0], minlength=classes).to(like.dtype)
        status = (counts / memory["counts"].clamp_min(1)).clamp_max(1).where(memory["counts"] > 0, like.new_ones(()))
        if int(progress * CHECKPOINTS) > memory["checkpoint"]:
            memory["checkpoint"], memory["counts"] = like.new_tensor(float(int(progress * CHECKPOINTS))), counts
        if progress >= self.rampup:
            status = torch.ones_like(status)
        return self.learning * status + self.time * ramp_linear(progress, self.rampup)
