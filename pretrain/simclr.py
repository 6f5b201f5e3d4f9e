"""SimCLR (Chen et al. 2020): two views of an image attract, views of other images of the batch repel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor, nn

from hybrid_al.core.registry import Amount, Count, Positive, hyperparameters
from hybrid_al.data.views.policies import View
from hybrid_al.models.encoder import Encoder

from .base import Loss, dim_of, two_views


@dataclass(frozen=True)
@hyperparameters
class SimCLR:
    """Normalised temperature-scaled cross-entropy over a batch of view pairs; section 2.1 of the paper.

    temperature  paper: 0.1 to 0.5 by batch size
    optimiser    AdamW in the place of LARS, which the paper needs for batches of thousands
    """

    epochs: Count = 8
    batch: Count = 256
    accumulate: Count = 1
    lr: Positive = 2e-3
    weight_decay: Amount = 1e-4
    temperature: Positive = 0.2
    hidden: Count = 512
    out: Count = 128

    def network(self, encoder: Encoder, example: Tensor) -> nn.ModuleDict:
        """The encoder and a projection head of two layers; section 4.2."""
        head = SimCLRProjectionHead(dim_of(encoder, example), self.hidden, self.out)
        return nn.ModuleDict({"encoder": encoder, "head": head})

    def loss(
        self, network: nn.ModuleDict, images: Tensor, views: View, generator: torch.Generator, progress: float
    ) -> Loss:
        """See `Method.loss`; both views go through the network as one batch, an image's share is that of its two.

        The confidence of a view is the softmax probability of its other view among all others of the batch.
        """
        first, second = network["head"](network["encoder"](two_views(images, views, generator))).chunk(2)
        contrast = NTXentLoss(temperature=self.temperature, gather_distributed=True)
        contrast.cross_entropy.reduction = "none"
        costs = cast(Tensor, contrast(first, second)).view(2, -1)
        values = costs.detach()
        return Loss(costs.mean(), values.mean(dim=0), values.neg().exp().mean(dim=0))

    def after_step(self, network: nn.ModuleDict, progress: float) -> None:
        """No updates."""
