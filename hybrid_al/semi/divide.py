"""DiaNA's training: each quarter of the target, by sure and consistent predictions, has a loss of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.registry import Amount, Decay, Share, hyperparameters
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, cross_entropy_step, one_hot
from .features import parts, plain


@dataclass(frozen=True)
@hyperparameters
class Divide:
    """Cross-entropy; sure and consistent samples are pseudo-labeled, of unsure and consistent ones the entropy falls.

    Huang et al., Divide and Adapt (CVPR 2023), section 3.3. A sample is sure by its largest probability, consistent
    where its class is that of the nearest running class mean of the labeled features. A pseudo-label is the class of
    the weak view, learned on the strong one. Sure and inconsistent samples take no part, unsure and inconsistent ones
    are what the query `diana` asks about.

    sure     largest probability from which a sample is sure
    weight   of the pseudo-labels
    entropy  weight of the entropy
    decay    of the class means
    """

    sure: Share = 0.8
    weight: Amount = 1.0
    entropy: Amount = 0.1
    decay: Decay = 0.9
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        encoder, head = parts(models.student)
        features = encoder(torch.cat([labeled.x, unlabeled.weak, unlabeled.strong]))
        sizes = [len(labeled.x), len(unlabeled.weak), len(unlabeled.strong)]
        own, weak, _ = features.detach().split(sizes)
        targets = plain(models.student, head, weak)
        logits, logits_weak, logits_strong = head(features).split(sizes)
        loss_labeled = F.cross_entropy(logits, labeled.y)
        confidence, pseudo = targets.softmax(dim=1).max(dim=1)
        consistent = pseudo == self._nearest(models, own, labeled.y, weak, logits.shape[1])
        learned = consistent & (confidence >= self.sure)
        losses = F.cross_entropy(logits_strong, pseudo, reduction="none")
        loss_unlabeled = (losses * learned).mean()
        entropies = -(logits_weak.softmax(dim=1) * logits_weak.log_softmax(dim=1)).sum(dim=1)
        loss_entropy = (entropies * (consistent & ~learned)).mean()
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            "loss_entropy": loss_entropy.detach(),
            "mask_rate": learned.float().mean(),
        }
        evidence = LogitEvidence(unlabeled.indices, targets, logits_strong.detach())
        return Step(loss_labeled + self.weight * loss_unlabeled + self.entropy * loss_entropy, logs, evidence)

    def _nearest(self, models: Models, own: Tensor, y: Tensor, weak: Tensor, classes: int) -> Tensor:
        """The class (U,) whose running mean of labeled features has the largest cosine; never one without a label."""
        belongs = one_hot(y, classes).to(own)
        present = belongs.any(dim=0)[:, None]
        means = belongs.T @ own / belongs.sum(dim=0).clamp_min(1)[:, None]
        old = models.memory.get("class_means")
        if old is not None:
            seen = old.abs().sum(dim=1, keepdim=True) > 0
            means = torch.where(seen & present, self.decay * old + (1 - self.decay) * means, means.where(present, old))
        models.memory["class_means"] = means
        cosines = F.normalize(weak, dim=1) @ F.normalize(means, dim=1).T
        return cosines.masked_fill(~means.any(dim=1), -torch.inf).argmax(dim=1)
