"""Pi-model (Laine & Aila 2017): two random views of a sample, with dropout of their own, get the same answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from ..core.registry import Amount, Share, hyperparameters
from .base import Evidence, Labeled, Models, Step, Unlabeled, cross_entropy_step, ramp_up


@dataclass(frozen=True)
@hyperparameters
class PiModel:
    """Cross-entropy on labels plus the squared distance of two passes' class probabilities; section 2.1 of the paper.

    Neither pass is a target: both carry gradient, as published. One sees the weak view and one the strong view,
    where the paper gives both noise of one kind.
    weight   of the term, which is a mean over classes. The paper's is 100 times the labeled share, because its
             cross-entropy is divided by all samples; here it is divided by the labeled ones, which leaves 100. That
             outvotes the labels on malaria cells, 1 does not (chosen on val)
    rampup   share of the fit over which the weight grows as exp(-5 (1 - t)^2) (paper: 80 of 300 epochs)
    """

    weight: Amount = 1.0
    rampup: Share = 0.27
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        logits = models.student(torch.cat([labeled.x, unlabeled.weak, unlabeled.strong]))
        logits_labeled, *logits_views = logits.split([len(labeled.x), len(unlabeled.weak), len(unlabeled.strong)])
        loss_labeled = F.cross_entropy(logits_labeled, labeled.y)

        weak, strong = (logits_view.softmax(dim=1) for logits_view in logits_views)
        loss_unlabeled = (weak - strong).square().mean()

        loss = loss_labeled + self.weight * ramp_up(progress, self.rampup) * loss_unlabeled
        logs = {"loss_labeled": loss_labeled.detach(), "loss_unlabeled": loss_unlabeled.detach()}
        return Step(loss, logs, Evidence(unlabeled.indices, weak.detach(), strong.detach()))
