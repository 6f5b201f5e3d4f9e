"""Evidential learning: logits give the amount of evidence for each class, not only its proportions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.registry import Amount, Share, hyperparameters
from .base import Labeled, Models, Step, Unlabeled, ramp_linear

LARGEST = 15.0  # of a logit in the penalty: its exponential is a count of 3 million


@dataclass(frozen=True)
@hyperparameters
class Evidential:
    """Cross-entropy, and a penalty on evidence for wrong classes. Sensoy et al. (NeurIPS 2018), section 4.

    exp(logits) are the parameters alpha of a Dirichlet distribution over class probabilities, whose mean is the
    softmax; the cross-entropy is its negative log marginal likelihood (their eq. 3). The penalty is the divergence of
    the Dirichlet from the uniform one, without the evidence for the true class. An alpha below that of the uniform one
    counts as no evidence: else the penalty's slope has no bound. Unlabeled samples take no part.
    weight  of the penalty, which grows from 0 to it over `rampup` of the fit (Sensoy et al.: 1, over ten epochs)
    """

    weight: Amount = 1.0
    rampup: Share = 0.4
    uses_unlabeled: ClassVar[bool] = False
    own_loss: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; ignores `unlabeled`."""
        logits = models.student(labeled.x)
        loss_labeled = F.cross_entropy(logits, labeled.y)
        penalty = misleading_evidence(logits, labeled.y).mean()
        loss = loss_labeled + self.weight * ramp_linear(progress, self.rampup) * penalty
        return Step(loss, {"loss_labeled": loss_labeled.detach(), "loss_misleading": penalty.detach()})


def misleading_evidence(logits_BC: Tensor, y_B: Tensor) -> Tensor:
    """Divergence (B,) of Dir(alpha) from Dir(1, ..., 1) in nats; alpha is 1 at least, and 1 for the true class."""
    alpha = logits_BC.double().clamp(0, LARGEST).exp()
    alpha = alpha.scatter(1, y_B[:, None], 1.0)
    total = alpha.sum(dim=1, keepdim=True)
    ones = torch.full_like(total[:, 0], alpha.shape[1])
    normalizer = torch.lgamma(total[:, 0]) - torch.lgamma(ones) - torch.lgamma(alpha).sum(dim=1)
    divergence = normalizer + ((alpha - 1) * (torch.digamma(alpha) - torch.digamma(total))).sum(dim=1)
    return divergence.to(logits_BC.dtype)
