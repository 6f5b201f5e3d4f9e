"""RIPU's training: smooth predictions on the source, and the target's least probable classes are unlearned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.registry import Amount, Share, hyperparameters
from ...core.types import IGNORE
from ..base import Labeled, Models, Step, without_dropout
from .base import PixelEvidence, UnlabeledPixels, labeled_loss, supervised_step


@dataclass(frozen=True)
@hyperparameters
class RIPU:
    """`dice_ce`, consistency of neighbours on the labels of the source, negative learning on the target.

    Xie et al., Towards Fewer Annotations: Active Learning via Region Impurity and Prediction Uncertainty (CVPR 2022),
    section 3.3. Consistency: the sum over classes of |p - mean of p in the 3 x 3 pixels around that have a label|, mean
    over pixels with a label. Negative learning: - log(1 - p) of the classes with p below `below`, mean over them.
    Without a source all labels stand for it. The query that goes with it is `ripu`.

    consistency, negative  weights of the two terms (0.1 and 1 as published)
    below                  probability below which a class is surely not there
    """

    consistency: Amount = 0.1
    negative: Amount = 1.0
    below: Share = 0.05
    uses_unlabeled: ClassVar[bool] = True
    strong_views: ClassVar[int] = 1
    networks: ClassVar[int] = 1

    def step(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels | None, progress: float) -> Step:
        """See `DenseObjective.step`; strong views serve the evidence alone."""
        if unlabeled is None:
            return supervised_step(models, labeled)
        sizes = [len(labeled.x), len(unlabeled.weak)]
        own, target = models.student(torch.cat([labeled.x, unlabeled.weak])).split(sizes)
        loss_labeled = labeled_loss(own, labeled)
        counted = labeled.y != IGNORE
        if labeled.source is not None:
            counted = counted & labeled.source[:, None, None]
        loss_consistency = unlike_neighbours(own.softmax(dim=1), counted).sum() / counted.sum().clamp(min=1)
        probs = target.softmax(dim=1)
        absent = (probs.detach() < self.below) & unlabeled.valid[:, None]
        loss_negative = -(torch.log1p(-probs.clamp(max=self.below)) * absent).sum() / absent.sum().clamp(min=1)
        with torch.no_grad(), without_dropout(models.student):
            weak, strong = models.student(torch.cat([unlabeled.weak, unlabeled.strong])).softmax(dim=1).chunk(2)
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_consistency": loss_consistency.detach(),
            "loss_unlabeled": loss_negative.detach(),
        }
        loss = loss_labeled + self.consistency * loss_consistency + self.negative * loss_negative
        return Step(loss, logs, PixelEvidence(unlabeled.indices, weak, strong, unlabeled.valid))


def unlike_neighbours(probs: Tensor, counted: Tensor) -> Tensor:
    """Sum over classes of |p - mean of p in the 3 x 3 pixels around| (B, H, W), 0 of a pixel that does not count.

    counted  pixels (B, H, W) that count, also in the means
    """
    weights = counted[:, None].to(probs.dtype)
    around = F.avg_pool2d(probs * weights, 3, 1, 1) / F.avg_pool2d(weights, 3, 1, 1).clamp(min=1e-6)
    return ((probs - around).abs() * weights).sum(dim=1)
