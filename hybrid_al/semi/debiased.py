"""For imbalance: FixMatch with logit adjustment by the labels' and the pseudo-labels' class shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F

from ..core.registry import Amount, Share, hyperparameters
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, class_prior, cross_entropy_step, passes, running_mean


@dataclass(frozen=True)
@hyperparameters
class Debiased:
    """Logit-adjusted cross-entropy on labels (Menon et al. 2021), DebiasPL on unlabeled samples (Wang et al. 2022).

    Both add the logarithm of class shares to the logits in the loss, so that the plain logits are those of balanced
    classes. The class shares of labeled batches correct the labels. The running mean of the model's predictions
    corrects the pseudo-labels: it is subtracted before they are chosen, which lowers the threshold of rare classes, and
    added as a margin to the strong views. This needs no estimate of the pool's class shares, as DARP, CReST and
    alignment to labeled shares do; a few labels, picked by a query, cannot give one. It needs no second head either, as
    ABC and CoSSL do.
    threshold   probability from which a debiased pseudo-label counts (FixMatch: 0.95)
    weight      of the unlabeled term (FixMatch: 1)
    adjustment  times the log shares of the labels (Menon et al.: 1); without effect where `train.balanced` is on
    margin      times the log running mean of predictions (Wang et al., published code: 0.4)
    decay       of that mean, which starts uniform (Wang et al.: 0.999; here 0.98, as for the teacher)
    """

    threshold: Amount = 0.95
    weight: Amount = 1.0
    adjustment: Amount = 1.0
    margin: Amount = 0.4
    decay: Share = 0.98
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; pseudo-labels come from the student and carry no gradient."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        logits_labeled, logits_strong, logits_weak = passes(models, labeled, unlabeled)
        weak = logits_weak.softmax(dim=1)
        classes = weak.shape[1]
        prior = class_prior(labeled, classes, models)
        loss_labeled = F.cross_entropy(logits_labeled + self.adjustment * prior.log(), labeled.y)

        mean = running_mean(models, "mean", weak.mean(dim=0), decay=self.decay, start=1 / classes)
        offset = self.margin * mean.clamp_min(1e-6).log()
        confidence, pseudo = (logits_weak - offset).softmax(dim=1).max(dim=1)
        mask = (confidence >= self.threshold).float()
        loss_unlabeled = (F.cross_entropy(logits_strong + offset, pseudo, reduction="none") * mask).mean()

        loss = loss_labeled + self.weight * loss_unlabeled
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            "mask_rate": mask.mean(),
        }
        return Step(loss, logs, LogitEvidence(unlabeled.indices, logits_weak, logits_strong.detach()))
