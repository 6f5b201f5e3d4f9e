"""What a self-supervised method is to the loop: the only module that methods share."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from hybrid_al.data.views import ViewPolicy
from hybrid_al.models.encoder import Encoder


class Method(Protocol):
    """A frozen dataclass of hyper-parameters; its whole loss is in `loss`."""

    @property
    def epochs(self) -> int:
        """Passes over the pool."""
        ...

    @property
    def batch(self) -> int:
        """Images a step."""
        ...

    @property
    def lr(self) -> float:
        """Peak learning rate of AdamW."""
        ...

    @property
    def weight_decay(self) -> float:
        """Decoupled weight decay."""
        ...

    def head(self, dim: int) -> nn.Module:
        """What is trained beside the encoder (embeddings of size `dim`) and thrown away afterwards."""
        ...

    def loss(
        self, encoder: Encoder, head: nn.Module, images: Tensor, views: ViewPolicy, generator: torch.Generator
    ) -> Tensor:
        """Loss of one batch of images (B, C, H, W) in [0, 1]."""
        ...
