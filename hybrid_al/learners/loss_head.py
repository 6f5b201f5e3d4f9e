"""A second head that learns, with the network, which samples have large losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..models.classifier import Classifier
from ..scores.losses import ranking_loss
from ..semi.base import Labeled
from ..train import Penalty

MARGIN = 1.0  # Yoo and Kweon, section 4


def loss_ranking(weight: float) -> Penalty[Classifier]:
    """`weight` times the ranking loss of the second head on a labeled batch.

    Yoo and Kweon, Learning Loss for Active Learning (CVPR 2019), section 3. The losses are those of the network at the
    batch, without gradient; the gradient of the ranking reaches the encoder throughout.
    """

    def penalty(network: Classifier, labeled: Labeled) -> torch.Tensor:
        features = network.encoder(labeled.x)
        with torch.no_grad():
            logits = network.head(features)
            logits = network.questions(logits, 1) if network.multilabel else logits
            losses = F.cross_entropy(logits, labeled.y, reduction="none").reshape(len(features), -1).mean(dim=1)
        return weight * ranking_loss(network.predicted_losses(features), losses, MARGIN)

    return penalty
