"""BYOL (Grill et al. 2020): predict the output of a slow copy of the network for the other view; no negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from hybrid_al.core.registry import Amount, Count, Positive, Share, hyperparameters
from hybrid_al.data.views.policies import View
from hybrid_al.models.encoder import Encoder

from .base import Loss, dim_of, follow, rising, teacher_of, two_views


@dataclass(frozen=True)
@hyperparameters
class BYOL:
    """Squared distance of unit vectors, in both directions; section 3.1 of the paper.

    momentum     start of the teacher's; paper: 0.996 over 300,000 steps. A stage 0 here has hundreds to
                 thousands, too few for such a teacher to leave its random start: 0.99
    hidden, out  paper: 4096 and 256 for 2048 features (appendix A); narrower for small encoders
    optimiser    AdamW in the place of LARS, which the paper needs for batches of thousands; lr as for SimCLR
    """

    epochs: Count = 8
    batch: Count = 256
    accumulate: Count = 1
    lr: Positive = 2e-3
    weight_decay: Amount = 1e-4
    momentum: Share = 0.99
    hidden: Count = 512
    out: Count = 128

    def network(self, encoder: Encoder, example: Tensor) -> nn.ModuleDict:
        """Online encoder, projection and prediction head; the teacher has no prediction head."""
        head = BYOLProjectionHead(dim_of(encoder, example), self.hidden, self.out)
        predict = BYOLPredictionHead(self.out, self.hidden, self.out)
        teacher = teacher_of({"encoder": encoder, "head": head})
        return nn.ModuleDict({"encoder": encoder, "head": head, "predict": predict, "teacher": teacher})

    def loss(
        self, network: nn.ModuleDict, images: Tensor, views: View, generator: torch.Generator, progress: float
    ) -> Loss:
        """See `Method.loss`; an image's share is the sum of its two directions, in [0, 8]."""
        pair = two_views(images, views, generator)
        online = network["predict"](network["head"](network["encoder"](pair)))
        with torch.no_grad():
            teacher = cast(nn.ModuleDict, network["teacher"])
            first, second = teacher["head"](teacher["encoder"](pair)).chunk(2)
        costs = 2 - 2 * cosine_similarity(online, torch.cat([second, first]), dim=1)
        per_sample = costs.view(2, -1).sum(dim=0)
        return Loss(per_sample.mean(), per_sample.detach())

    def after_step(self, network: nn.ModuleDict, progress: float) -> None:
        """Update the teacher."""
        follow(network, cast(nn.ModuleDict, network["teacher"]), rising(self.momentum, progress))
