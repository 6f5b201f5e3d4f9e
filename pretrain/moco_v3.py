"""MoCo v3 (Chen, Xie, He 2021): find the slow copy's vector of the same image among those of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from lightly.models.modules import MoCoProjectionHead
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from hybrid_al.core.registry import Amount, Count, Positive, Share, hyperparameters
from hybrid_al.data.views.policies import View
from hybrid_al.models.encoder import Encoder

from .base import Loss, dim_of, follow, local_rows, of_all, rising, teacher_of, two_views


@dataclass(frozen=True)
@hyperparameters
class MoCoV3:
    """InfoNCE between queries and the keys of a momentum encoder, both ways; section 3, algorithm 1 of the paper.

    temperature  paper: 0.2 for ViT
    momentum     start of the teacher's; paper: 0.99
    hidden, out  paper: 4096 and 256; narrower for small encoders
    optimiser    AdamW, as the paper for ViT; it uses LARS for ResNets. The patch embedding of a ViT is trained, where
                 section 4.2 freezes it against instabilities of batches of thousands
    """

    epochs: Count = 8
    batch: Count = 256
    accumulate: Count = 1
    lr: Positive = 2e-3
    weight_decay: Amount = 1e-4
    temperature: Positive = 0.2
    momentum: Share = 0.99
    hidden: Count = 512
    out: Count = 128

    def network(self, encoder: Encoder, example: Tensor) -> nn.ModuleDict:
        """Encoder, projection head of three layers, prediction head of two; the teacher has no prediction head."""
        head = MoCoProjectionHead(dim_of(encoder, example), self.hidden, self.out, num_layers=3, batch_norm=True)
        predict = MoCoProjectionHead(self.out, self.hidden, self.out, num_layers=2, batch_norm=True)
        teacher = teacher_of({"encoder": encoder, "head": head})
        return nn.ModuleDict({"encoder": encoder, "head": head, "predict": predict, "teacher": teacher})

    def loss(
        self, network: nn.ModuleDict, images: Tensor, views: View, generator: torch.Generator, progress: float
    ) -> Loss:
        """See `Method.loss`; an image's share is the sum of its two directions, each times 2 temperature.

        The confidence is the softmax probability of the image's own key, the mean of both directions.
        """
        pair = two_views(images, views, generator)
        queries = normalize(network["predict"](network["head"](network["encoder"](pair))), dim=1)
        with torch.no_grad():
            teacher = cast(nn.ModuleDict, network["teacher"])
            first, second = normalize(teacher["head"](teacher["encoder"](pair)), dim=1).chunk(2)
        keys = of_all(second), of_all(first)
        logits = torch.stack([q @ k.T for q, k in zip(queries.chunk(2), keys, strict=True)])
        targets = local_rows(images).repeat(2)
        costs = cross_entropy(logits.flatten(0, 1) / self.temperature, targets, reduction="none").view(2, -1)
        per_sample = 2 * self.temperature * costs.sum(dim=0)
        return Loss(per_sample.mean(), per_sample.detach(), costs.detach().neg().exp().mean(dim=0))

    def after_step(self, network: nn.ModuleDict, progress: float) -> None:
        """Update the teacher."""
        follow(network, cast(nn.ModuleDict, network["teacher"]), rising(self.momentum, progress))
