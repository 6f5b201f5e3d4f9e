"""Mean teacher (Tarvainen & Valpola 2017): the student agrees with its own moving average on other views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from ..core.registry import Amount, Share, hyperparameters
from .base import Evidence, Labeled, Models, Step, Unlabeled, cross_entropy_step, ramp_up


@dataclass(frozen=True)
@hyperparameters
class MeanTeacher:
    """Cross-entropy on labels plus the squared distance of class probabilities; section 2 of the paper.

    The teacher sees the weak view, the student the strong one (the paper gives both independent noise of one kind).
    weight   of the consistency term at the end of its ramp-up (the paper: 100 of a mean over ten classes, which is 10
             here; chosen on seeds from 100 up among 0.3, 1 and 3 with the learner frozen, benchmarks/RESULTS.md)
    rampup   share of the fit over which the weight grows as exp(-5 (1 - t)^2) (paper: 40 of 180 epochs or so)
    """

    weight: Amount = 3.0
    rampup: Share = 0.4
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; the teacher's probabilities carry no gradient."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        with torch.no_grad():
            target = models.teacher(unlabeled.weak).softmax(dim=1)
        logits = models.student(torch.cat([labeled.x, unlabeled.strong]))
        logits_labeled, logits_strong = logits.split([len(labeled.x), len(unlabeled.strong)])
        loss_labeled = F.cross_entropy(logits_labeled, labeled.y)

        strong = logits_strong.softmax(dim=1)
        loss_unlabeled = (strong - target).square().sum(dim=1).mean()

        loss = loss_labeled + self.weight * ramp_up(progress, self.rampup) * loss_unlabeled
        logs = {"loss_labeled": loss_labeled.detach(), "loss_unlabeled": loss_unlabeled.detach()}
        return Step(loss, logs, Evidence(unlabeled.indices, target, strong.detach()))
