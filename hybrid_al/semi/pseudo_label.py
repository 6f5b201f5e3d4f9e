"""Pseudo-label (Lee 2013): the student's confident predictions are its labels, more and more of them in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from ..core.registry import Amount, Share, hyperparameters
from .base import Evidence, Labeled, Models, Step, Unlabeled, cross_entropy_step, ramp_linear, without_dropout


@dataclass(frozen=True)
@hyperparameters
class PseudoLabel:
    """Cross-entropy on labels, plus on weak views with their most probable class as label; Lee 2013, section 2.4.

    A pseudo-label counts by CEAL's rule (Wang et al. 2017, section III): where the entropy is below a limit that
    shrinks as the model improves: over the fit, and from round to round by `fall` as CEAL has it.
    weight       of the unlabeled term at the end of its ramp (Lee: 3)
    ramp_start ramp_end   shares of the fit between which the weight grows from 0 (Lee: epochs 100 and 600)
    entropy entropy_end   limits in nats at the start and the end (CEAL: 0.05 and 0.005, its two data sets' starts);
                 ln(classes) or more lets all through, as in Lee
    fall         by which the limits are lower in round 1 than in round 0, twice that in round 2 than in 1, and so on
                 (CEAL: 0.0033, with both limits alike); at 0 no pseudo-label counts
    """

    weight: Amount = 3.0
    ramp_start: Share = 0.1
    ramp_end: Share = 0.6
    entropy: Amount = 0.05
    entropy_end: Amount = 0.005
    fall: Amount = 0.0
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; strong views serve the evidence alone."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        with torch.no_grad(), without_dropout(models.student):
            weak = models.student(unlabeled.weak).softmax(dim=1)
        logits = models.student(torch.cat([labeled.x, unlabeled.weak]))
        logits_labeled, logits_weak = logits.split([len(labeled.x), len(unlabeled.weak)])
        loss_labeled = F.cross_entropy(logits_labeled, labeled.y)

        limit = self.entropy + (self.entropy_end - self.entropy) * progress
        limit -= self.fall * models.round * (models.round + 1) / 2
        mask = (torch.special.entr(weak).sum(dim=1) < limit).float()
        loss_unlabeled = (F.cross_entropy(logits_weak, weak.argmax(dim=1), reduction="none") * mask).mean()

        loss = loss_labeled + self.weight * ramp_linear(progress, self.ramp_end, self.ramp_start) * loss_unlabeled
        with torch.no_grad():
            strong = models.student(unlabeled.strong).softmax(dim=1)
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            "mask_rate": mask.mean(),
        }
        return Step(loss, logs, Evidence(unlabeled.indices, weak, strong))
