"""SoftMatch (Chen et al. 2023): every pseudo-label counts, less the further its confidence is below the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.registry import Amount, Share, hyperparameters
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, align, cross_entropy_step, passes, running_mean


@dataclass(frozen=True)
@hyperparameters
class SoftMatch:
    """FixMatch with a truncated Gaussian of the confidence instead of a threshold; section 3 of the paper.

    The confidence is that of probabilities aligned to uniform class shares; the pseudo-label is not aligned.
    weight  of the unlabeled term (paper: 1)
    width   the Gaussian's deviation is the running one divided by this (published code: 2)
    decay   of the running mean, variance and class shares (paper: 0.999, in a million steps; here 0.98, as for the
            teacher, because a fit has 100 to 300)
    """

    weight: Amount = 1.0
    width: Amount = 2.0
    decay: Share = 0.98
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; pseudo-labels come from the student and carry no gradient."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        logits_labeled, logits_strong, logits_weak = passes(models, labeled, unlabeled)
        loss_labeled = F.cross_entropy(logits_labeled, labeled.y)

        weak = logits_weak.softmax(dim=1)
        weights = self._weights(weak, models)
        loss_unlabeled = (F.cross_entropy(logits_strong, weak.argmax(dim=1), reduction="none") * weights).mean()

        loss = loss_labeled + self.weight * loss_unlabeled
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            "mask_rate": weights.mean(),
        }
        return Step(loss, logs, LogitEvidence(unlabeled.indices, logits_weak, logits_strong.detach()))

    def _weights(self, weak: Tensor, models: Models) -> Tensor:
        """In [0, 1] (U,): 1 from the running mean confidence upwards."""
        classes = weak.shape[1]
        uniform = weak.new_full((classes,), 1 / classes)
        confidence = align(weak, uniform, models, decay=self.decay).amax(dim=1)
        # the unbiased variance of a batch, as published; of a single sample there is none, which counts as 0
        batch_variance = confidence.var(correction=min(1, len(confidence) - 1))
        mean = running_mean(models, "confidence", confidence.mean(), decay=self.decay, start=1 / classes)
        variance = running_mean(models, "variance", batch_variance, decay=self.decay, start=1.0)
        deficit = (confidence - mean).clamp_max(0)
        return torch.exp(-(deficit.square()) * self.width**2 / (2 * variance.clamp_min(1e-8)))
