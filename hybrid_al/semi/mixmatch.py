"""MixMatch (Berthelot et al. 2019): averaged, sharpened pseudo-labels, then all samples mixed with each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from ..core.registry import Amount, Positive, Share, hyperparameters
from .base import Evidence, Labeled, Models, Step, Unlabeled, cross_entropy_step, ramp_linear, without_dropout


@dataclass(frozen=True)
@hyperparameters
class MixMatch:
    """Cross-entropy on mixed labeled and squared distance on mixed unlabeled samples; section 3 of the paper.

    A sample's two views (the paper's K = 2) are the weak and the strong one, where the paper takes two weak ones.
    Images are mixed pixel by pixel, embeddings number by number.
    temperature  of the sharpening (paper: 0.5)
    alpha        of the Beta distribution of the mixing share (paper: 0.75)
    weight       of the unlabeled term, a mean over classes (paper: 75 on CIFAR-10, which ruins malaria cells; chosen on
                 val, where 1 to 10 were alike)
    rampup       share of the fit over which the weight grows linearly (paper: 16,000 of a million steps, a few
                 steps of a fit here; so it is as long as the mean teacher's)
    """

    temperature: Positive = 0.5
    alpha: Positive = 0.75
    weight: Amount = 3.0
    rampup: Share = 0.4
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; targets come from the student and carry no gradient; mixing draws from `models.rng`."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        views = torch.cat([unlabeled.weak, unlabeled.strong])
        with torch.no_grad(), without_dropout(models.student):
            weak, strong = models.student(views).softmax(dim=1).split(len(unlabeled.weak))
        target = ((weak + strong) / 2) ** (1 / self.temperature)
        target = target / target.sum(dim=1, keepdim=True)
        x = torch.cat([labeled.x, views])
        y = torch.cat([F.one_hot(labeled.y, weak.shape[1]).to(target.dtype), target, target])

        draws = models.rng.beta(self.alpha, self.alpha, len(x))
        share = torch.from_numpy(draws).to(x).maximum(1 - torch.from_numpy(draws).to(x))
        partner = torch.from_numpy(models.rng.permutation(len(x))).to(x.device)
        y = share[:, None] * y + (1 - share[:, None]) * y[partner]
        share = share.view(-1, *[1] * (x.ndim - 1))
        logits = models.student(share * x + (1 - share) * x[partner])
        b = len(labeled.x)
        loss_labeled = F.cross_entropy(logits[:b], y[:b])
        loss_unlabeled = (logits[b:].softmax(dim=1) - y[b:]).square().mean()

        loss = loss_labeled + self.weight * ramp_linear(progress, self.rampup) * loss_unlabeled
        logs = {"loss_labeled": loss_labeled.detach(), "loss_unlabeled": loss_unlabeled.detach()}
        return Step(loss, logs, Evidence(unlabeled.indices, weak, strong))
