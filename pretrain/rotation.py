"""Rotation prediction (Gidaris et al. 2018): the task is to tell by how many quarter turns an image is rotated"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hybrid_al.core.registry import Amount, Count, Positive, hyperparameters
from hybrid_al.data.views.policies import View, ViewPolicy
from hybrid_al.models.encoder import Encoder

from .base import Loss, dim_of

TURNS = 4


@dataclass(frozen=True)
@hyperparameters
class Rotation:
    """Cross-entropy over the four rotations of each image, all of them in every batch; section 2 of the paper.

    An image's loss is the pretext loss of PT4AL (Yi et al., ECCV 2022), whose 15 epochs are the default.
    It carries little information for images without an upright position, such as cells.

    views      without free rotation and vertical flip, which would change the answer
    optimiser  AdamW in the place of SGD with momentum
    """

    epochs: Count = 15
    batch: Count = 128
    accumulate: Count = 1
    lr: Positive = 1e-3
    weight_decay: Amount = 1e-4

    def network(self, encoder: Encoder, example: Tensor) -> nn.ModuleDict:
        """The encoder and one linear layer."""
        return nn.ModuleDict({"encoder": encoder, "head": nn.Linear(dim_of(encoder, example), TURNS)})

    def loss(
        self, network: nn.ModuleDict, images: Tensor, views: View, generator: torch.Generator, progress: float
    ) -> Loss:
        """See `Method.loss`; share and confidence of an image are means over its rotations."""
        assert isinstance(views, ViewPolicy)  # see stage0.check
        upright = replace(views, rotate=0.0, vflip=False)(images, generator)
        turned = torch.cat([upright.rot90(k, (2, 3)) for k in range(TURNS)])
        logits = network["head"](network["encoder"](turned.contiguous(memory_format=torch.channels_last)))
        turns = torch.arange(TURNS, device=images.device).repeat_interleave(len(images))
        costs = cross_entropy(logits, turns, reduction="none").view(TURNS, -1)
        values = costs.detach()
        return Loss(costs.mean(), values.mean(dim=0), values.neg().exp().mean(dim=0))

    def after_step(self, network: nn.ModuleDict, progress: float) -> None:
        """No updates."""
