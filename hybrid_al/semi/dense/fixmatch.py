"""FixMatch (Sohn et al. 2020) pixel by pixel: confident weak-view classes are the labels of the strong view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F

from ...core.registry import Amount, hyperparameters
from ...core.types import IGNORE
from ...errors import InputError
from ...scores.pixels import sums_by_part
from ..base import Labeled, Models, Step, without_dropout
from .base import CutMix, PixelEvidence, UnlabeledPixels, labeled_loss, over_valid, supervised_step


@dataclass(frozen=True)
@hyperparameters
class DenseFixMatch:
    """`dice_ce` plus, at pixels with a confident pseudo-label, cross-entropy on the strong view.

    As the baseline of UniMatch (Yang et al., CVPR 2023), section 3.1, with one strong view.
    threshold  probability from which a pseudo-label counts (there: 0.95)
    weight     of the unlabeled term (there: 1)
    cutmix     exchange a box of the strong views between images
    by         pixel: each pixel has a pseudo-label of its own; region: all pixels of a region (`task.region`) have that
               of its mean probabilities, where it is confident. So Lai et al., Joint Semi-supervised and Active
               Learning for Segmentation of Gigapixel Pathology Images (ICCV workshops 2021), label slides
    """

    threshold: Amount = 0.95
    weight: Amount = 1.0
    cutmix: bool = True
    by: Literal["pixel", "region"] = "pixel"
    uses_unlabeled: ClassVar[bool] = True
    strong_views: ClassVar[int] = 1
    networks: ClassVar[int] = 1

    def step(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels | None, progress: float) -> Step:
        """See `DenseObjective.step`; pseudo-labels come from the student and carry no gradient."""
        if unlabeled is None:
            return supervised_step(models, labeled)
        with torch.no_grad(), without_dropout(models.student):
            weak = models.student(unlabeled.weak).softmax(dim=1)
        cut = CutMix.draw(unlabeled.strong, models.rng) if self.cutmix else None
        images = unlabeled.strong if cut is None else cut.mix(unlabeled.strong)
        logits = models.student(torch.cat([labeled.x, images]))
        logits_labeled, logits_mixed = logits.split([len(labeled.x), len(images)])
        logits_strong = logits_mixed if cut is None else cut.undo(logits_mixed)
        loss_labeled = labeled_loss(logits_labeled, labeled)

        confidence, pseudo = (weak if self.by == "pixel" else _of_regions(weak, unlabeled.parts)).max(dim=1)
        confident = (confidence >= self.threshold) & unlabeled.valid
        losses = F.cross_entropy(logits_strong, pseudo, reduction="none")
        loss_unlabeled = over_valid(losses * confident, unlabeled.valid)

        loss = loss_labeled + self.weight * loss_unlabeled
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            "mask_rate": over_valid(confident.float(), unlabeled.valid),
        }
        strong = logits_strong.detach().softmax(dim=1)
        return Step(loss, logs, PixelEvidence(unlabeled.indices, weak, strong, unlabeled.valid))


def _of_regions(probs_UCHW: torch.Tensor, parts_UHW: torch.Tensor | None) -> torch.Tensor:
    """The mean probabilities (U, C, H, W) of the region of each pixel; 0 where there is no region."""
    if parts_UHW is None:
        raise InputError("train.by", "pixel, where views have no regions (task.region)", "region")
    sums = sums_by_part(torch.cat([probs_UCHW, torch.ones_like(probs_UCHW[:, :1])], dim=1), parts_UHW, IGNORE)
    means = sums[:, :-1] / sums[:, -1:].clamp(min=1)
    means = torch.cat([means, torch.zeros_like(means[..., :1])], dim=2)  # of part `IGNORE`
    place = parts_UHW.long().flatten(1).unsqueeze(1).expand(-1, probs_UCHW.shape[1], -1)
    return means.gather(2, place).view_as(probs_UCHW)
