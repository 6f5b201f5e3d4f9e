"""Evidential learning: logits give the amount of evidence for each class, not only its proportions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.registry import Amount, Share, hyperparameters
from .base import Evidence, Labeled, LogitEvidence, Models, Step, Unlabeled, passes, ramp_linear, ramp_up

LARGEST = 15.0  # of a logit in the penalty: its exponential is a count of 3 million


@dataclass(frozen=True)
@hyperparameters
class Evidential:
    """Cross-entropy, and a penalty on evidence for wrong classes. Sensoy et al. (NeurIPS 2018), section 4.

    exp(logits) are the parameters alpha of a Dirichlet distribution over class probabilities, whose mean is the
    softmax; the cross-entropy is its negative log marginal likelihood (their eq. 3). The penalty is the divergence of
    the Dirichlet from the uniform one, without the evidence for the true class. An alpha below that of the uniform one
    counts as no evidence: else the penalty's slope has no bound. Of several labels a sample each has an alpha for no
    and for yes.
    weight  of the penalty, which grows from 0 to it over `rampup` of the fit (Sensoy et al.: 1, over ten epochs)
    unlabeled  what unlabeled samples add (CSEAL, Balaram et al., MICCAI 2022): nothing; the squared distance of the
               student's expected probabilities on the strong view to the teacher's; or, where the expected probability
               of a class is at least `threshold`, both terms above with that class as the label; or (DUC, Xie et al.,
               ICLR 2023, section 3.2, with the query `duc`) the uncertainty of the class probabilities + `data` times
               that which the class has given them, of weak views
    consistency  weight of what they add, which grows over `rampup`
    data       see above (0.05 as published)
    """

    weight: Amount = 1.0
    rampup: Share = 0.4
    unlabeled: Literal["none", "mean_teacher", "pseudo_label", "uncertainty"] = "none"
    consistency: Amount = 1.0
    threshold: Share = 0.95
    data: Amount = 0.05
    own_loss: ClassVar[bool] = True
    pairs: ClassVar[bool] = True

    @property
    def uses_unlabeled(self) -> bool:
        """Whether `step` uses unlabeled batches."""
        return self.unlabeled != "none"

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; targets of unlabeled samples carry no gradient."""
        if unlabeled is None or not self.uses_unlabeled:
            loss, logs = self._supervised(models.student(labeled.x), labeled.y, progress)
            return Step(loss, logs)
        evidence: Evidence
        if self.unlabeled == "mean_teacher":
            with torch.no_grad():
                target = models.teacher(unlabeled.weak).softmax(dim=1)
            logits = models.student(torch.cat([labeled.x, unlabeled.strong]))
            logits_labeled, logits_strong = logits.split([len(labeled.x), len(unlabeled.strong)])
            strong = logits_strong.softmax(dim=1)
            added = (strong - target).square().sum(dim=1).mean()
            evidence = Evidence(unlabeled.indices, target, strong.detach())
        elif self.unlabeled == "uncertainty":
            logits = models.student(torch.cat([labeled.x, unlabeled.weak]))
            logits_labeled, logits_weak = logits.split([len(labeled.x), len(unlabeled.weak)])
            distribution, data = uncertainties(logits_weak)
            added = (distribution + self.data * data).mean()
            with torch.no_grad():
                logits_strong = models.student(unlabeled.strong)
            evidence = LogitEvidence(unlabeled.indices, logits_weak.detach(), logits_strong)
        else:
            logits_labeled, logits_strong, logits_weak = passes(models, labeled, unlabeled)
            confidence, pseudo = logits_weak.softmax(dim=1).max(dim=1)
            mask = (confidence >= self.threshold).float()
            penalty = ramp_linear(progress, self.rampup) * misleading_evidence(logits_strong, pseudo)
            losses = F.cross_entropy(logits_strong, pseudo, reduction="none") + self.weight * penalty
            added = (losses * mask).mean()
            evidence = LogitEvidence(unlabeled.indices, logits_weak, logits_strong.detach())
        loss, logs = self._supervised(logits_labeled, labeled.y, progress)
        loss = loss + self.consistency * ramp_up(progress, self.rampup) * added
        return Step(loss, {**logs, "loss_unlabeled": added.detach()}, evidence)

    def _supervised(self, logits: Tensor, y: Tensor, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        loss_labeled, penalty = F.cross_entropy(logits, y), misleading_evidence(logits, y).mean()
        loss = loss_labeled + self.weight * ramp_linear(progress, self.rampup) * penalty
        return loss, {"loss_labeled": loss_labeled.detach(), "loss_misleading": penalty.detach()}


def uncertainties(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Those of the class probabilities and of the data, in nats, of Dir(exp(logits)): (U, C, ...) -> (U, ...) each.

    Data: the expected entropy of the class, sum of m (psi(S + 1) - psi(alpha + 1)), m = alpha / S; the other is the
    rest of the entropy of m.
    """
    alpha = logits.double().clamp(max=LARGEST).exp()
    total = alpha.sum(dim=1, keepdim=True)
    mean = alpha / total
    data = (mean * (torch.digamma(total + 1) - torch.digamma(alpha + 1))).sum(dim=1)
    distribution = torch.special.entr(mean).sum(dim=1) - data
    return distribution.to(logits.dtype), data.to(logits.dtype)


def misleading_evidence(logits: Tensor, y: Tensor) -> Tensor:
    """Divergence of Dir(alpha) from Dir(1, ..., 1) in nats; alpha is 1 at least, and 1 for the true class.

    (B, C) and (B,) -> (B,); further axes, those of labels, stay.
    """
    alpha = logits.double().clamp(0, LARGEST).exp()
    alpha = alpha.scatter(1, y[:, None], 1.0)
    total = alpha.sum(dim=1, keepdim=True)
    ones = torch.full_like(total[:, 0], alpha.shape[1])
    normalizer = torch.lgamma(total[:, 0]) - torch.lgamma(ones) - torch.lgamma(alpha).sum(dim=1)
    divergence = normalizer + ((alpha - 1) * (torch.digamma(alpha) - torch.digamma(total))).sum(dim=1)
    return divergence.to(logits.dtype)
