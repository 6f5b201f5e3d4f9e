"""UA-MT (Yu et al., MICCAI 2019): a mean teacher that counts only where its uncertainty is low."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...core.registry import Amount, Passes, Share, hyperparameters
from ..base import DROPOUTS, Labeled, Models, Step, ramp_up
from .base import CutMix, PixelEvidence, UnlabeledPixels, labeled_loss, supervised_step


@dataclass(frozen=True)
@hyperparameters
class UncertaintyAwareMeanTeacher:
    """Mean teacher on the pixels where the entropy of the mean of noisy passes is low; section 2.2 of the paper.

    passes     of the teacher, each with noise on the image and with dropout (paper: 8)
    noise      standard deviation of the noise, cut at twice that (published code: 0.1)
    threshold  share of the largest entropy below which a pixel counts; grows from it to 1 (paper: 3/4)
    weight, rampup, cutmix   as in the mean teacher (paper: no CutMix)
    """

    passes: Passes = 8
    noise: Amount = 0.1
    threshold: Amount = 0.75
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
        ramp = ramp_up(progress, self.rampup)
        with torch.no_grad():
            target = models.teacher(unlabeled.weak).softmax(dim=1)
            mean = self._noisy(models.teacher, unlabeled.weak)
        entropy = torch.special.entr(mean).sum(dim=1) / math.log(mean.shape[1])
        certain = (entropy < self.threshold + (1 - self.threshold) * ramp) & unlabeled.valid

        cut = CutMix.draw(unlabeled.strong, models.rng) if self.cutmix else None
        images = unlabeled.strong if cut is None else cut.mix(unlabeled.strong)
        logits = models.student(torch.cat([labeled.x, images]))
        logits_labeled, logits_mixed = logits.split([len(labeled.x), len(images)])
        logits_strong = logits_mixed if cut is None else cut.undo(logits_mixed)
        loss_labeled = labeled_loss(logits_labeled, labeled)
        strong = logits_strong.softmax(dim=1)
        distance = (strong - target).square().sum(dim=1)
        loss_unlabeled = (distance * certain).sum() / certain.sum().clamp(min=1)

        loss = loss_labeled + self.weight * ramp * loss_unlabeled
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            "mask_rate": certain.sum() / unlabeled.valid.sum().clamp(min=1),
        }
        return Step(loss, logs, PixelEvidence(unlabeled.indices, target, strong.detach(), unlabeled.valid))

    def _noisy(self, teacher: nn.Module, images: Tensor) -> Tensor:
        """Mean class probabilities over the passes; noise and dropout alone are random, batch norm stays as it is."""
        dropouts = [m for m in teacher.modules() if isinstance(m, DROPOUTS)]
        for dropout in dropouts:
            dropout.train()
        limit = 2 * self.noise
        probs = torch.stack(
            [
                teacher(images + (self.noise * torch.randn_like(images)).clamp(-limit, limit)).softmax(dim=1)
                for _ in range(self.passes)
            ]
        ).mean(dim=0)
        for dropout in dropouts:
            dropout.eval()
        return probs
