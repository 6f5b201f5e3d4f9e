"""Adversarial twins: each labeled sample, moved across the nearest class boundary, keeps its label (DFAL)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.registry import Amount, Count, hyperparameters
from .base import Labeled, Models, Step, Unlabeled


@dataclass(frozen=True)
@hyperparameters
class AdversarialTwin:
    """Cross-entropy on labels and on the twins of labeled samples. Ducoffe, Precioso, DFAL (2018), section 3.

    Unlabeled samples take no part. The twin is made of what the network sees: of pixels, or of embeddings.
    weight     of the twins, beside 1 of the samples (paper: both are training samples alike)
    rivals     classes whose boundary may be the nearest: those most probable after the predicted one
    overshoot  how far beyond the boundary, relative to the way to it (DeepFool: 0.02)
    """

    weight: Amount = 1.0
    rivals: Count = 1
    overshoot: Amount = 0.02
    uses_unlabeled: ClassVar[bool] = False
    own_loss: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; ignores `unlabeled`."""
        moved = twins(models.student, labeled.x, self.rivals, self.overshoot)
        logits, logits_twin = models.student(torch.cat([labeled.x, moved])).chunk(2)
        loss_labeled, loss_twin = (F.cross_entropy(z, labeled.y) for z in (logits, logits_twin))
        loss = (loss_labeled + self.weight * loss_twin) / (1 + self.weight)
        return Step(loss, {"loss_labeled": loss_labeled.detach(), "loss_twin": loss_twin.detach()})


def twins(network: nn.Module, x: Tensor, rivals: int, overshoot: float) -> Tensor:
    """x (B, ...) moved by one step of DeepFool; Moosavi-Dezfooli et al. (CVPR 2016), algorithm 2.

    To first order the boundary to a class k is the plane on which its logit equals that of the predicted class; the
    step goes to the nearest plane of the `rivals`, and `overshoot` of it further. A sample without slope stays.
    """
    was_training = network.training
    network.eval()  # one plane a sample: without dropout and batch statistics
    with torch.enable_grad():
        inputs = x.detach().clone().requires_grad_()
        logits = network(inputs)
        order = logits.argsort(dim=1, descending=True)
        steps, lengths = list[Tensor](), list[Tensor]()
        for k in range(1, min(rivals, logits.shape[1] - 1) + 1):
            gap = logits.gather(1, order[:, :1]) - logits.gather(1, order[:, k : k + 1])
            (slope,) = torch.autograd.grad(gap.sum(), inputs, retain_graph=True)
            squared = slope.flatten(1).square().sum(dim=1)
            share = gap.detach()[:, 0] / squared.clamp_min(torch.finfo(squared.dtype).tiny)
            share = share.where(squared > 0, torch.zeros_like(share))
            steps.append(slope * -share.reshape(-1, *[1] * (x.ndim - 1)))
            far = torch.full_like(share, torch.inf)
            lengths.append((share * squared.sqrt()).where(squared > 0, far))
    network.train(was_training)
    nearest = torch.stack(lengths).argmin(dim=0)
    step = torch.stack(steps)[nearest, torch.arange(len(x), device=x.device)]
    return (x + (1 + overshoot) * step).detach()
