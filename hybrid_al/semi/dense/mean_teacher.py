"""Mean teacher (Tarvainen & Valpola 2017) pixel by pixel: the student agrees with its own moving average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ...core.registry import Amount, Share, hyperparameters
from ..base import Labeled, Models, Step, ramp_up
from .base import CutMix, PixelEvidence, UnlabeledPixels, labeled_loss, over_valid, supervised_step


@dataclass(frozen=True)
@hyperparameters
class DenseMeanTeacher:
    """`dice_ce` plus the squared distance of class probabilities, summed over classes; section 2 of the paper.

    The teacher sees the weak view, the student the strong one of the same pixels.
    weight   of the consistency term at the end of its ramp-up
    rampup   share of the fit over which the weight grows as exp(-5 (1 - t)^2)
    cutmix   exchange a box of the strong views between images; the teacher sees whole ones. French et al. (BMVC 2020),
             section 3: the classes of pixels have no gap of low density between them, so small changes of an image say
             little, and a mean teacher of masks wants a perturbation like this one
    """

    weight: Amount = 1.0
    rampup: Share = 0.4
    cutmix: bool = True
    uses_unlabeled: ClassVar[bool] = True
    strong_views: ClassVar[int] = 1
    networks: ClassVar[int] = 1

    def step(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels | None, progress: float) -> Step:
        """See `DenseObjective.step`; the teacher's probabilities carry no gradient."""
        if unlabeled is None:
            return supervised_step(models, labeled)
        with torch.no_grad():
            target = models.teacher(unlabeled.weak).softmax(dim=1)
        cut = CutMix.draw(unlabeled.strong, models.rng) if self.cutmix else None
        images = unlabeled.strong if cut is None else cut.mix(unlabeled.strong)
        logits = models.student(torch.cat([labeled.x, images]))
        logits_labeled, logits_mixed = logits.split([len(labeled.x), len(images)])
        logits_strong = logits_mixed if cut is None else cut.undo(logits_mixed)
        loss_labeled = labeled_loss(logits_labeled, labeled)

        strong = logits_strong.softmax(dim=1)
        loss_unlabeled = over_valid((strong - target).square().sum(dim=1), unlabeled.valid)

        loss = loss_labeled + self.weight * ramp_up(progress, self.rampup) * loss_unlabeled
        logs = {"loss_labeled": loss_labeled.detach(), "loss_unlabeled": loss_unlabeled.detach()}
        return Step(loss, logs, PixelEvidence(unlabeled.indices, target, strong.detach(), unlabeled.valid))
