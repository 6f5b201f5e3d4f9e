"""MADA's training: features of the target stay near its own anchors, which follow them slowly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from ..core.registry import Amount, Decay, Few, hyperparameters
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, cross_entropy_step
from .features import of_source, parts, plain, to_anchors


@dataclass(frozen=True)
@hyperparameters
class Anchors:
    """Cross-entropy on labels and on the target's own predictions, and a soft distance of the target to its anchors.

    Ning et al., Multi-Anchor Active Domain Adaptation for Semantic Segmentation (ICCV 2021), section 3.3. The anchors
    are centroids by k-means of the target's features in the first batch; in each step the one nearest to a feature
    moves to it by 1 - decay. The distance is the harmonic mean over the anchors of the mean squared difference. The
    query that goes with it is `mada`.

    anchors  of the target (10 as published)
    weight   of the distance
    pseudo   weight of the cross-entropy against the target's own most probable classes
    decay    of an anchor (0.999 in the published code, whose trainings are far longer)
    """

    anchors: Few = 10
    weight: Amount = 1.0
    pseudo: Amount = 1.0
    decay: Decay = 0.99
    uses_unlabeled: ClassVar[bool] = True
    trains_features: ClassVar[bool] = True
    of_domains: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; strong views serve the evidence alone."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        encoder, head = parts(models.student)
        features = encoder(torch.cat([labeled.x, unlabeled.weak]))
        logits, target = head(features).split([len(labeled.x), len(unlabeled.weak)])
        loss_labeled = F.cross_entropy(logits, labeled.y)
        targets = plain(models.student, head, features[len(labeled.x) :])
        loss_unlabeled = F.cross_entropy(target, targets.argmax(dim=1))
        of_target = torch.cat([~of_source(labeled), torch.ones_like(target[:, 0], dtype=torch.bool)])
        distance = to_anchors(models, features[of_target], anchors=self.anchors, decay=self.decay)
        with torch.no_grad():
            strong = models.student(unlabeled.strong)
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            "loss_anchors": distance.detach(),
        }
        loss = loss_labeled + self.pseudo * loss_unlabeled + self.weight * distance
        return Step(loss, logs, LogitEvidence(unlabeled.indices, targets, strong))
