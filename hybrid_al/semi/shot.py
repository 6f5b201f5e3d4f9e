"""SHOT: a model of the source adapts to the target alone, by sure, even predictions and centroids' pseudo-labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.registry import Amount, Decay, hyperparameters
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, running_mean
from .features import entropy, parts, plain, through


@dataclass(frozen=True)
@hyperparameters
class SHOT:
    """Cross-entropy on labels, and on the target information maximisation and pseudo-labels of class centroids.

    Liang et al., Do We Really Need to Access the Source Data? (ICML 2020), sections 3.2 and 3.3. The terms of the
    target move the features, not the head: mean entropy - entropy of the mean prediction, and `weight` x cross-entropy
    against the class whose running centroid, weighted by the predictions, has the largest cosine. Where all labels are
    of the source (a first round without labels of the target) it learns from them alone: that is the paper's source
    model. With `train.start: last` and `train.target_share: 1` later rounds read nothing of the source.

    weight     of the pseudo-labels (0.3; on VisDA 0.1)
    smoothing  of the labels in the cross-entropy
    decay      of the running centroids, which the paper takes anew over the whole target each epoch
    """

    weight: Amount = 0.3
    smoothing: Decay = 0.1
    decay: Decay = 0.9
    uses_unlabeled: ClassVar[bool] = True
    trains_features: ClassVar[bool] = True
    of_domains: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; strong views serve the evidence alone."""
        encoder, head = parts(models.student)
        x = labeled.x if unlabeled is None else torch.cat([labeled.x, unlabeled.weak])
        features = encoder(x)
        loss = F.cross_entropy(head(features[: len(labeled.x)]), labeled.y, label_smoothing=self.smoothing)
        logs = {"loss_labeled": loss.detach()}
        if unlabeled is None:
            return Step(loss, logs)
        target = features[len(labeled.x) :]
        targets = plain(models.student, head, target)
        # a batch without a label of the target says nothing of the fit, once another one had some
        if labeled.source is None or not labeled.source.all() or "centroids" in models.memory:
            logits = through(head, target)
            mean = logits.softmax(dim=1).mean(dim=0)
            loss_information = entropy(logits) - torch.special.entr(mean).sum()
            pseudo = self._of_centroids(models, target.detach(), targets)
            loss_pseudo = F.cross_entropy(logits, pseudo)
            loss = loss + loss_information + self.weight * loss_pseudo
            logs |= {"loss_information": loss_information.detach(), "loss_unlabeled": loss_pseudo.detach()}
        with torch.no_grad():
            strong = models.student(unlabeled.strong)
        return Step(loss, logs, LogitEvidence(unlabeled.indices, targets, strong))

    def _of_centroids(self, models: Models, features: Tensor, logits: Tensor) -> Tensor:
        """Pseudo-labels (U,) by the running sums of features (C, D) that predictions weight."""
        sums = logits.softmax(dim=1).T @ features
        centroids = running_mean(models, "centroids", sums, decay=self.decay)
        return (F.normalize(features, dim=1) @ F.normalize(centroids, dim=1).T).argmax(dim=1)
