"""SimCLR (Chen et al. 2020): two views of an image attract, views of other images of the batch repel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor, nn

from hybrid_al.data.views import ViewPolicy
from hybrid_al.models.encoder import Encoder


@dataclass(frozen=True)
class SimCLR:
    """Normalised temperature-scaled cross-entropy over a batch of view pairs; section 2.1 of the paper.

    temperature  paper: 0.1 to 0.5 by batch size
    optimiser    AdamW in the place of LARS, which the paper needs for batches of thousands
    """

    epochs: int = 8
    batch: int = 256
    lr: float = 2e-3
    weight_decay: float = 1e-4
    temperature: float = 0.2
    hidden: int = 512
    out: int = 128

    def head(self, dim: int) -> nn.Module:
        """Two-layer projection head; section 4.2."""
        return cast(nn.Module, SimCLRProjectionHead(dim, self.hidden, self.out))

    def loss(
        self, encoder: Encoder, head: nn.Module, images: Tensor, views: ViewPolicy, generator: torch.Generator
    ) -> Tensor:
        """See `Method.loss`; both views go through the network as one batch."""
        pair = torch.cat([views(images, generator), views(images, generator)])
        first, second = head(encoder(pair.contiguous(memory_format=torch.channels_last))).chunk(2)
        return cast(Tensor, NTXentLoss(temperature=self.temperature)(first, second))
