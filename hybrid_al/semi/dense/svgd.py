"""A committee of networks that are kept apart by Stein variational gradient descent (Nath et al. 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from ...core.registry import Amount, Passes, hyperparameters
from ..base import Labeled, Models, Step
from .base import UnlabeledPixels, labeled_loss


@dataclass(frozen=True)
@hyperparameters
class SteinCommittee:
    """`dice_ce` of each network, with gradients of Stein variational gradient descent. Unlabeled images take no part.

    Nath et al., Diminishing Uncertainty within the Training Pool (TMI 2021), section III; Liu and Wang, Stein
    Variational Gradient Descent (NeurIPS 2016), algorithm 1: a network goes along the mean gradient of all, weighted by
    their nearness, and away from networks near to it.
    particles  networks of the committee
    repulsion  weight of the second part (Liu and Wang: 1 beside the gradient of a sum over the samples, so 1 / samples
               beside that of a mean; 0.01 is ours)
    """

    particles: Passes = 3
    repulsion: Amount = 0.01
    uses_unlabeled: ClassVar[bool] = False
    strong_views: ClassVar[int] = 1

    @property
    def networks(self) -> int:
        """Number of networks that are trained together."""
        return self.particles

    def step(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels | None, progress: float) -> Step:
        """See `DenseObjective.step`; ignores `unlabeled`. The loss has the value of the sum, and Stein's gradient."""
        networks = list(cast(nn.ModuleList, models.student.members))
        losses = [labeled_loss(network(labeled.x), labeled) for network in networks]
        parameters = [[p for p in network.parameters() if p.requires_grad] for network in networks]
        slopes = [
            torch.autograd.grad(loss, own, materialize_grads=True) for loss, own in zip(losses, parameters, strict=True)
        ]
        flat = torch.stack([flattened(own) for own in parameters]).detach()
        direction, nearness = stein(flat, torch.stack([flattened(s) for s in slopes]), self.repulsion)
        product = torch.stack([flattened(own) @ row for own, row in zip(parameters, direction, strict=True)]).sum()
        total = torch.stack(losses).sum().detach()
        return Step(total + (product - product.detach()), {"loss_labeled": total, "nearness": nearness})


def flattened(tensors: list[nn.Parameter] | tuple[Tensor, ...]) -> Tensor:
    """All numbers of some tensors in a row."""
    return torch.cat([t.reshape(-1) for t in tensors])


def stein(theta_NP: Tensor, slopes_NP: Tensor, repulsion: float) -> tuple[Tensor, Tensor]:
    """The gradient (N, P) that each of N particles is to descend, and the mean nearness of two of them.

    (1/N) sum over j of k(j, i) slope_j - repulsion grad_j k(j, i), with k(j, i) = exp(-|theta_j - theta_i|^2 / h) and h
    the median of the squared distances / log(N + 1).
    """
    squared = torch.cdist(theta_NP, theta_NP).square()
    n = len(theta_NP)
    pairs = squared[~torch.eye(n, dtype=torch.bool, device=squared.device)]
    width = (pairs.median() / math.log(n + 1)).clamp_min(torch.finfo(squared.dtype).tiny)
    kernel = torch.exp(-squared / width)
    # grad_j k(j, i) = -2 (theta_j - theta_i) k(j, i) / h
    away = -2 / width * (kernel @ theta_NP - kernel.sum(dim=1, keepdim=True) * theta_NP)
    nearness = torch.exp(-pairs / width).mean()
    return (kernel @ slopes_NP - repulsion * away) / n, nearness
