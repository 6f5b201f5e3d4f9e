"""Cross pseudo supervision (Chen et al., CVPR 2021): two networks that learn each other's hard pseudo-labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.registry import Amount, Share, hyperparameters
from ..base import Labeled, Models, Step, ramp_up, without_dropout
from .base import CutMix, PixelEvidence, UnlabeledPixels, labeled_loss, over_valid


@dataclass(frozen=True)
@hyperparameters
class CrossPseudoSupervision:
    """`dice_ce` of both networks, plus cross-entropy on the strong view with the other's weak-view pseudo-labels.

    Section 3 of the paper; no threshold. The networks differ in the random weights of their heads and decoders.
    weight   of the unlabeled term at the end of its ramp-up (paper: 1.5 on VOC, 6 on Cityscapes)
    rampup   share of the fit over which the weight grows as exp(-5 (1 - t)^2)
    cutmix   exchange a box of the strong views between images; pseudo-labels are of whole images, as in section 3.4
    """

    weight: Amount = 1.5
    rampup: Share = 0.4
    cutmix: bool = True
    uses_unlabeled: ClassVar[bool] = True
    strong_views: ClassVar[int] = 1
    networks: ClassVar[int] = 2

    def step(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels | None, progress: float) -> Step:
        """See `DenseObjective.step`; pseudo-labels come from the students and carry no gradient."""
        first, second = cast(nn.ModuleList, models.student.members)
        if unlabeled is None:
            loss = labeled_loss(first(labeled.x), labeled) + labeled_loss(second(labeled.x), labeled)
            return Step(loss, {"loss_labeled": loss.detach()})
        with torch.no_grad(), without_dropout(models.student):
            weak = [network(unlabeled.weak).softmax(dim=1) for network in (first, second)]
        cut = CutMix.draw(unlabeled.strong, models.rng) if self.cutmix else None
        images = unlabeled.strong if cut is None else cut.mix(unlabeled.strong)
        loss_labeled, loss_unlabeled, strong = torch.zeros(()), torch.zeros(()), list[Tensor]()
        for network, target in ((first, weak[1]), (second, weak[0])):
            logits_labeled, logits_mixed = network(torch.cat([labeled.x, images])).split([len(labeled.x), len(images)])
            logits = logits_mixed if cut is None else cut.undo(logits_mixed)
            losses = F.cross_entropy(logits, target.argmax(dim=1), reduction="none")
            loss_labeled = loss_labeled + labeled_loss(logits_labeled, labeled)
            loss_unlabeled = loss_unlabeled + over_valid(losses, unlabeled.valid)
            strong.append(logits.detach().softmax(dim=1))

        loss = loss_labeled + self.weight * ramp_up(progress, self.rampup) * loss_unlabeled
        logs = {"loss_labeled": loss_labeled.detach(), "loss_unlabeled": loss_unlabeled.detach()}
        mean_weak, mean_strong = (torch.stack(probs).mean(dim=0) for probs in (weak, strong))
        return Step(loss, logs, PixelEvidence(unlabeled.indices, mean_weak, mean_strong, unlabeled.valid))
