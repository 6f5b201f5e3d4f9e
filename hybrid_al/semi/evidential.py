"""Evidential learning: logits give the amount of evidence for each class, not only its proportions; DUC's training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.registry import Amount, Share, hyperparameters
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, ramp_linear

LARGEST = 15.0  # of a logit in the penalty: its exponential is a count of 3 million


@dataclass(frozen=True)
@hyperparameters
class Evidential:
    """Cross-entropy, and a penalty on evidence for wrong classes. Sensoy et al. (NeurIPS 2018), section 4.

    exp(logits) are the parameters alpha of a Dirichlet distribution over class probabilities, whose mean is the
    softmax; the cross-entropy is its negative log marginal likelihood (their eq. 3). The penalty is the divergence of
    the Dirichlet from the uniform one, without the evidence for the true class. An alpha below that of the uniform one
    counts as no evidence: else the penalty's slope has no bound. Unlabeled samples take no part, unless their
    uncertainty has a weight. With `distribution: 1` and `data: 0.05` it is the training of DUC (Xie et al., ICLR 2023,
    section 3.2), which lowers both on the target; the query that goes with it is `duc`.

    weight  of the penalty, which grows from 0 to it over `rampup` of the fit (Sensoy et al.: 1, over ten epochs)
    distribution, data  weights of the two uncertainties of unlabeled samples: of the class probabilities, and of the
            class given them
    """

    weight: Amount = 1.0
    rampup: Share = 0.4
    distribution: Amount = 0.0
    data: Amount = 0.0

    @property
    def uses_unlabeled(self) -> bool:
        """Where their uncertainty has a weight."""
        return self.distribution > 0 or self.data > 0

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; strong views serve the evidence alone."""
        if unlabeled is None or not self.uses_unlabeled:
            return self._labeled(models.student(labeled.x), labeled.y, progress)
        logits, target = models.student(torch.cat([labeled.x, unlabeled.weak])).split(
            [len(labeled.x), len(unlabeled.weak)]
        )
        step = self._labeled(logits, labeled.y, progress)
        distribution, data = (u.mean() for u in uncertainties(target))
        with torch.no_grad():
            strong = models.student(unlabeled.strong)
        loss = step.loss + self.distribution * distribution + self.data * data
        logs = {**step.logs, "loss_distribution": distribution.detach(), "loss_data": data.detach()}
        return Step(loss, logs, LogitEvidence(unlabeled.indices, target.detach(), strong))

    def _labeled(self, logits: Tensor, y: Tensor, progress: float) -> Step:
        loss_labeled = F.cross_entropy(logits, y)
        penalty = misleading_evidence(logits, y).mean()
        loss = loss_labeled + self.weight * ramp_linear(progress, self.rampup) * penalty
        return Step(loss, {"loss_labeled": loss_labeled.detach(), "loss_misleading": penalty.detach()})


def uncertainties(logits_UC: Tensor) -> tuple[Tensor, Tensor]:
    """Those of the class probabilities and of the data (U,), in nats, of Dir(exp(logits)).

    Data: the expected entropy of the class, sum of m (psi(S + 1) - psi(alpha + 1)), m = alpha / S; the other is the
    rest of the entropy of m.
    """
    alpha = logits_UC.double().clamp(max=LARGEST).exp()
    total = alpha.sum(dim=1, keepdim=True)
    mean = alpha / total
    data = (mean * (torch.digamma(total + 1) - torch.digamma(alpha + 1))).sum(dim=1)
    distribution = torch.special.entr(mean).sum(dim=1) - data
    return distribution.to(logits_UC.dtype), data.to(logits_UC.dtype)


def misleading_evidence(logits_BC: Tensor, y_B: Tensor) -> Tensor:
    """Divergence (B,) of Dir(alpha) from Dir(1, ..., 1) in nats; alpha is 1 at least, and 1 for the true class."""
    alpha = logits_BC.double().clamp(0, LARGEST).exp()
    alpha = alpha.scatter(1, y_B[:, None], 1.0)
    total = alpha.sum(dim=1, keepdim=True)
    ones = torch.full_like(total[:, 0], alpha.shape[1])
    normalizer = torch.lgamma(total[:, 0]) - torch.lgamma(ones) - torch.lgamma(alpha).sum(dim=1)
    divergence = normalizer + ((alpha - 1) * (torch.digamma(alpha) - torch.digamma(total))).sum(dim=1)
    return divergence.to(logits_BC.dtype)
