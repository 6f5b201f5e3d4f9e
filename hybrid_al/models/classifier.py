"""The network that both learners train: an encoder (or cached embeddings), dropout, one linear layer."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError

LOSS_WIDTH = 128


class Classifier(nn.Module):
    """x -> logits (B, C); `encoder` maps x to features (B, D).

    multilabel  the classes are L labels that do not exclude each other: logits (B, 2, L) are 0 for no and the head's
                output for yes, so their softmax is the sigmoid
    pairs       with `multilabel`: the head has two outputs a label, for no and for yes, each an amount of evidence
    loss_head   with a second head, which predicts the loss of a sample from its features (`predicted_losses`)
    """

    def __init__(
        self,
        encoder: nn.Module,
        dim: int,
        classes: int,
        *,
        dropout: float,
        seed: int,
        multilabel: bool = False,
        pairs: bool = False,
        loss_head: bool = False,
    ) -> None:
        super().__init__()
        self.multilabel, self.pairs, self.classes = multilabel, multilabel and pairs, classes
        self.encoder = encoder
        self.dropout = Dropout(dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(dim, 2 * classes if self.pairs else classes)
            hidden = nn.Sequential(nn.Linear(dim, LOSS_WIDTH), nn.ReLU(), nn.Linear(LOSS_WIDTH, 1))
        self.loss_head = hidden if loss_head else None
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, C), or (B, 2, L)."""
        logits = cast(Tensor, self.head(self.dropout(self.encoder(x))))
        return self.questions(logits, 1) if self.multilabel else logits

    def predicted_losses(self, features: Tensor) -> Tensor:
        """What the second head says of features (B, D): (B,), up to an increasing function."""
        assert self.loss_head is not None
        return cast(Tensor, self.loss_head(features))[:, 0]

    def questions(self, logits: Tensor, axis: int) -> Tensor:
        """The outputs (..., L) of L labels, or (..., 2 L) with `pairs`, as logits of no and yes, along a new axis."""
        no, yes = logits.chunk(2, dim=-1) if self.pairs else (torch.zeros_like(logits), logits)
        return torch.stack([no, yes], dim=axis)


class Dropout(nn.Module):
    """Dropout of features (B, D) with probability `p`, which a CPU rounds to the nearest 1/256.

    torch draws one Mersenne-Twister number a feature on a CPU: 2 ms for 480 x 512, two thirds of a FixMatch step of the
    frozen learner. One byte of a fast generator, seeded by a draw of torch's, takes 0.2 ms.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise InputError("dropout", "a probability in [0, 1)", str(p))
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """x with dropped features, the others scaled up so that the mean stays; x itself in eval mode."""
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.p, self.training)
        limit = round(256 * self.p)
        if not self.training or limit == 0:
            return x
        bits = np.random.Generator(np.random.SFC64(int(torch.randint(2**63 - 1, ())))).bytes(x.numel())
        mask = torch.from_numpy(np.frombuffer(bits, dtype=np.uint8).reshape(x.shape) >= limit)
        return x * mask.to(x.dtype).mul_(256 / (256 - limit))


class Adapter(nn.Module):
    """features (B, D) + two layers of them: in the beginning the features themselves, as the second layer is 0."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(dim, width), nn.Linear(width, dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, D)."""
        return x + cast(Tensor, self.up(self.down(x).relu()))


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
