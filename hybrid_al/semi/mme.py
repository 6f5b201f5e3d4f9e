"""Minimax entropy (MME): the head spreads over the target, the features gather around the head's classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from ..core.registry import Amount, hyperparameters
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, cross_entropy_step
from .features import entropy, parts, reverse_gradient


@dataclass(frozen=True)
@hyperparameters
class MME:
    """Cross-entropy, and entropy of the unlabeled that the head raises and the features lower.

    Saito et al., Semi-Supervised Domain Adaptation via Minimax Entropy (ICCV 2019), section 3.2: the gradient changes
    its sign between head and features. The paper's head has unit features and weights and a temperature of 0.05; here
    it is that of the learner. The training of CLUE. `frozen` gathers the features of its adapter; where features are
    fixed (`linear`) there is nothing to gather.

    weight  of the entropy (0.1 as published)
    """

    weight: Amount = 0.1
    uses_unlabeled: ClassVar[bool] = True
    trains_features: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; strong views serve the evidence alone."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        encoder, head = parts(models.student)
        features, target = encoder(torch.cat([labeled.x, unlabeled.weak])).split([len(labeled.x), len(unlabeled.weak)])
        loss_labeled = F.cross_entropy(head(features), labeled.y)
        logits = head(reverse_gradient(target))
        loss_unlabeled = entropy(logits)
        with torch.no_grad():
            strong = models.student(unlabeled.strong)
        logs = {"loss_labeled": loss_labeled.detach(), "loss_unlabeled": loss_unlabeled.detach()}
        evidence = LogitEvidence(unlabeled.indices, logits.detach(), strong)
        return Step(loss_labeled - self.weight * loss_unlabeled, logs, evidence)
