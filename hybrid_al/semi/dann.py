"""Domain-adversarial training (DANN): features in which a discriminator cannot tell source and target apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.registry import Amount, Count, Positive, hyperparameters
from .adversary import Adversary
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, cross_entropy_step, one_hot, running_mean
from .features import entropy, of_source, parts
from .virtual import virtual_adversarial

SURE = 0.8  # margin of the two largest probabilities from which a pseudo-label counts in the shares (LAMDA)


@dataclass(frozen=True)
@hyperparameters
class DANN:
    """Cross-entropy - weight x the loss of a discriminator, of which the features get the gradient.

    Ganin et al., Domain-Adversarial Training of Neural Networks (JMLR 2016), section 4. With more terms it is the
    training of other papers: AADA has `known: labeled`, VADA and S3VAADA `entropy` and `virtual`, LAMDA `resample`.

    weight    of the discriminator's loss, which grows as 2 / (1 + exp(-10 t)) - 1 over the fit
    known     what the discriminator tells the rest from: the source, or all that is labeled
    entropy   weight of the entropy of the unlabeled
    virtual   weight of the virtual adversarial divergence of both sides; `radius` of its change of the input
    resample  the source counts as if drawn by the class shares of the target: those of the sure predictions
    width     hidden units of the discriminator; `rate` of its Adam
    """

    weight: Amount = 1.0
    known: Literal["source", "labeled"] = "source"
    entropy: Amount = 0.0
    virtual: Amount = 0.0
    radius: Positive = 0.1
    resample: bool = False
    width: Count = 128
    rate: Positive = 1e-3
    uses_unlabeled: ClassVar[bool] = True
    trains_features: ClassVar[bool] = True
    of_domains: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; strong views serve the evidence alone."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        encoder, head = parts(models.student)
        x = torch.cat([labeled.x, unlabeled.weak])
        features = encoder(x)
        logits, target = head(features).split([len(labeled.x), len(unlabeled.weak)])
        source = of_source(labeled)
        loss = loss_labeled = self._labeled(models, logits, labeled.y, source, target.detach())
        logs = {"loss_labeled": loss_labeled.detach()}

        first = torch.cat([source | (self.known == "labeled"), source.new_zeros(len(target))])
        if first.any():
            adversary = Adversary(models, features.shape[1], width=self.width, rate=self.rate, device=features.device)
            fixed = features.detach()
            adversary.descend(told_apart(adversary(fixed, learns=True), first))
            loss_domain = told_apart(adversary(features), first)
            loss = loss - self.weight * (2 / (1 + math.exp(-10 * progress)) - 1) * loss_domain
            logs["loss_domain"] = loss_domain.detach()
        if self.entropy:
            loss = loss + self.entropy * entropy(target)
        if self.virtual:
            loss_virtual = virtual_adversarial(models.student, x, self.radius)
            loss, logs["loss_virtual"] = loss + self.virtual * loss_virtual, loss_virtual.detach()
        with torch.no_grad():
            strong = models.student(unlabeled.strong)
        return Step(loss, logs, LogitEvidence(unlabeled.indices, target.detach(), strong))

    def _labeled(self, models: Models, logits: Tensor, y: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy, the source's share of it by the classes of the target where it is resampled."""
        if not self.resample or not source.any():
            return F.cross_entropy(logits, y)
        top = target.softmax(dim=1).topk(2, dim=1)
        sure = (top.values[:, 0] - top.values[:, 1] > SURE).float() * top.values[:, 0]
        counts = (one_hot(top.indices[:, 0], logits.shape[1]) * sure[:, None]).sum(dim=0) + 1
        shares = running_mean(models, "target_shares", counts / counts.sum(), decay=0.9)
        own = y[source]
        weight = (shares / one_hot(own, len(shares)).sum(dim=0).clamp_min(1))[own]
        weights = torch.ones_like(logits[:, 0])
        weights[source] = weight * len(own) / weight.sum()
        return (weights * F.cross_entropy(logits, y, reduction="none")).mean()


def told_apart(outputs: Tensor, first: Tensor) -> Tensor:
    """Cross-entropy of log odds (B,) of not being of the first side, both sides with the same weight."""
    return (F.softplus(outputs[first]).mean() + F.softplus(-outputs[~first]).mean()) / 2
