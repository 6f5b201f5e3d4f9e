"""UniMatch (Yang et al., CVPR 2023): FixMatch pixel by pixel with two strong views and one of perturbed features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.registry import Amount, Decay, hyperparameters
from ..base import Labeled, Models, Step, without_dropout
from .base import CutMix, PixelEvidence, UnlabeledPixels, labeled_loss, over_valid, supervised_step


@dataclass(frozen=True)
@hyperparameters
class UniMatch:
    """`dice_ce` plus cross-entropy with confident pseudo-labels, of two strong views and of perturbed features.

    Sections 3.2 to 3.4 of the paper.
    threshold  probability from which a pseudo-label counts (paper: 0.95)
    features   weight of the pass with perturbed features (paper: 0.5); the strong views have `views` together (0.5)
    dropped    share of the encoder's channels that this pass sets to zero (paper: 0.5)
    cutmix     exchange a box of the strong views between images, a new box for each view
    """

    threshold: Amount = 0.95
    features: Amount = 0.5
    views: Amount = 0.5
    dropped: Decay = 0.5
    cutmix: bool = True
    uses_unlabeled: ClassVar[bool] = True
    strong_views: ClassVar[int] = 2
    networks: ClassVar[int] = 1

    def step(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels | None, progress: float) -> Step:
        """See `DenseObjective.step`; pseudo-labels come from the student and carry no gradient."""
        if unlabeled is None:
            return supervised_step(models, labeled)
        with torch.no_grad(), without_dropout(models.student):
            weak = models.student(unlabeled.weak).softmax(dim=1)
        strong_views = (unlabeled.strong, *unlabeled.others)
        cuts = [CutMix.draw(view, models.rng) if self.cutmix else None for view in strong_views]
        mixed = [view if cut is None else cut.mix(view) for view, cut in zip(strong_views, cuts, strict=True)]
        logits_labeled, *logits_mixed = models.student(torch.cat([labeled.x, *mixed])).split(
            [len(v) for v in (labeled.x, *mixed)]
        )
        strong = [logits if cut is None else cut.undo(logits) for logits, cut in zip(logits_mixed, cuts, strict=True)]
        perturbed = cast(Any, models.student).perturbed(unlabeled.weak, self.dropped)

        confidence, pseudo = weak.max(dim=1)
        confident = (confidence >= self.threshold) & unlabeled.valid

        def masked_loss(logits: Tensor) -> Tensor:
            return over_valid(F.cross_entropy(logits, pseudo, reduction="none") * confident, unlabeled.valid)

        loss_views = torch.stack([masked_loss(logits) for logits in strong]).mean()
        loss_unlabeled = self.views * loss_views + self.features * masked_loss(perturbed)
        loss_labeled = labeled_loss(logits_labeled, labeled)
        loss = loss_labeled + loss_unlabeled
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            "mask_rate": over_valid(confident.float(), unlabeled.valid),
        }
        probs_strong = strong[0].detach().softmax(dim=1)
        return Step(loss, logs, PixelEvidence(unlabeled.indices, weak, probs_strong, unlabeled.valid))
