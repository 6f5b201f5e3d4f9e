"""MADA's training for masks: the features of each class stay near anchors of the target, which follow them slowly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.registry import Amount, Decay, Few, Share, hyperparameters
from ...models.pooling import class_vectors
from ...models.segmenter import Segmenter
from ..base import Labeled, Models, Step, without_dropout
from ..features import anchors_of, to_anchors
from .base import PixelEvidence, UnlabeledPixels, labeled_loss, over_valid, supervised_step

KEPT = 20  # vectors of the first stage that an anchor is made of, at most


@dataclass(frozen=True)
@hyperparameters
class DenseAnchors:
    """`dice_ce` on labels; then also cross-entropy on the target's own predictions, and a distance to its anchors.

    Ning et al., Multi-Anchor Active Domain Adaptation for Semantic Segmentation (ICCV 2021), section 3.3. An image is
    the mean decoder features of each class that it is predicted to show, one behind the other. A first stage trains on
    labels alone; k-means of the target's vectors at its end makes the anchors. From then on the vectors are drawn to
    them (`features.to_anchors`). The query that goes with it is `mada` with `by: classes`.

    anchors  of the target (10 as published)
    weight   of the distance
    pseudo   weight of the cross-entropy against the target's own most probable classes
    decay    of an anchor (0.999 in the published code, whose trainings are far longer)
    alone    share of the fit that is the first stage
    """

    anchors: Few = 10
    weight: Amount = 1.0
    pseudo: Amount = 1.0
    decay: Decay = 0.99
    alone: Share = 0.5
    uses_unlabeled: ClassVar[bool] = True
    strong_views: ClassVar[int] = 1
    networks: ClassVar[int] = 1
    of_domains: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels | None, progress: float) -> Step:
        """See `DenseObjective.step`; strong views serve the evidence alone."""
        if unlabeled is None:
            return supervised_step(models, labeled)
        if progress < self.alone:
            return self._first_stage(models, labeled, unlabeled)
        network, count = cast(Segmenter, models.student), len(labeled.x)
        decoded = network.decoded(torch.cat([labeled.x, unlabeled.weak]))
        own, target = network.classify(decoded, labeled.x.shape[-2:]).tensor_split([count])
        with torch.no_grad(), without_dropout(network):
            weak = network.classify(decoded[count:], labeled.x.shape[-2:]).softmax(dim=1)
            strong = network(unlabeled.strong).softmax(dim=1)
        loss_labeled, pseudo = labeled_loss(own, labeled), weak.argmax(dim=1)
        loss_unlabeled = over_valid(F.cross_entropy(target, pseudo, reduction="none"), unlabeled.valid)
        if "vectors" in models.memory:
            models.memory["anchors"] = anchors_of(models.memory.pop("vectors"), self.anchors, models)
        vectors = _vectors(network, decoded[count:], weak, unlabeled.valid)
        distance = to_anchors(models, vectors, anchors=self.anchors, decay=self.decay)
        logs = {
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            "loss_anchors": distance.detach(),
        }
        loss = loss_labeled + self.pseudo * loss_unlabeled + self.weight * distance
        return Step(loss, logs, PixelEvidence(unlabeled.indices, weak, strong, unlabeled.valid))

    def _first_stage(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels) -> Step:
        """The labels alone; the target's last vectors are kept for the anchors."""
        network = cast(Segmenter, models.student)
        loss = labeled_loss(network(labeled.x), labeled)
        with torch.no_grad(), without_dropout(network):
            decoded = network.decoded(torch.cat([unlabeled.weak, unlabeled.strong]))
            weak, strong = network.classify(decoded, labeled.x.shape[-2:]).softmax(dim=1).chunk(2)
            vectors = _vectors(network, decoded[: len(weak)], weak, unlabeled.valid)
        kept = torch.cat([models.memory.get("vectors", vectors[:0]), vectors])
        models.memory["vectors"] = kept[-KEPT * self.anchors :]
        evidence = PixelEvidence(unlabeled.indices, weak, strong, unlabeled.valid)
        return Step(loss, {"loss_labeled": loss.detach()}, evidence)


def _vectors(network: Segmenter, decoded: Tensor, probs: Tensor, valid: Tensor) -> Tensor:
    return class_vectors(decoded, probs.argmax(dim=1), valid, classes=probs.shape[1], stride=network.stride)
