"""WAAL's training: features in which labeled and unlabeled samples are close by the Wasserstein distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.registry import Amount, Count, Positive, hyperparameters
from .adversary import Adversary
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, cross_entropy_step
from .features import parts


@dataclass(frozen=True)
@hyperparameters
class WAAL:
    """Cross-entropy + weight x (critic of the unlabeled - critic of the labeled), of which the features get the slope.

    Shui et al., Deep Active Learning: Unified and Principled Method (AISTATS 2020), section 4.1. The critic is trained
    to make the difference large, with gradients of length 1. It needs no domains: with a source the labeled samples are
    those of both. The query that goes with it is `waal`.

    weight   of the difference
    penalty  on squared deviations of the gradient's length from 1
    turns    steps of the critic for each of the network
    width    hidden units of the critic; `rate` of its Adam
    """

    weight: Amount = 0.1
    penalty: Amount = 5.0
    turns: Count = 1
    width: Count = 128
    rate: Positive = 1e-3
    uses_unlabeled: ClassVar[bool] = True
    trains_features: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; strong views serve the evidence alone."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        encoder, head = parts(models.student)
        features = encoder(torch.cat([labeled.x, unlabeled.weak]))
        sizes = [len(labeled.x), len(unlabeled.weak)]
        logits, target = head(features).split(sizes)
        loss_labeled = F.cross_entropy(logits, labeled.y)
        critic = Adversary(models, features.shape[1], width=self.width, rate=self.rate, device=features.device)
        own, others = features.detach().split(sizes)
        for _ in range(self.turns):
            gap = critic(own, learns=True).mean() - critic(others, learns=True).mean()
            critic.descend(gap + self.penalty * steepness(critic, own, others))
        height = critic(features)
        distance = height[sizes[0] :].mean() - height[: sizes[0]].mean()
        with torch.no_grad():
            strong = models.student(unlabeled.strong)
        logs = {"loss_labeled": loss_labeled.detach(), "loss_domain": distance.detach()}
        evidence = LogitEvidence(unlabeled.indices, target.detach(), strong)
        return Step(loss_labeled + self.weight * distance, logs, evidence)


def steepness(critic: Adversary, own: Tensor, others: Tensor) -> Tensor:
    """Mean squared deviation from 1 of the gradient's length, at random places between pairs of both sides."""
    count = min(len(own), len(others))
    share = torch.rand(count, 1, device=own.device)
    between = (share * own[:count] + (1 - share) * others[:count]).requires_grad_()
    slope = torch.autograd.grad(critic(between, learns=True).sum(), between, create_graph=True)[0]
    deviation: Tensor = (slope.norm(dim=1) - 1).square().mean()
    return deviation
