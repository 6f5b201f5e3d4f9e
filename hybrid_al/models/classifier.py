"""The network that both learners train: an encoder (or cached embeddings), dropout, one linear layer."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """x -> logits (B, C); `encoder` maps x to features (B, D)."""

    def __init__(self, encoder: nn.Module, dim: int, classes: int, *, dropout: float, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(dim, classes)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, C)."""
        return cast(Tensor, self.head(self.dropout(self.encoder(x))))


class Standardize(nn.Module):
    """Embeddings (B, D) shifted and scaled by fixed statistics of the pool (D,): the encoder of the frozen learner."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std.clamp_min(1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """Standardised embeddings (B, D)."""
        mean, std = cast(Tensor, self.mean), cast(Tensor, self.std)
        return (x - mean) / std
