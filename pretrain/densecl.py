"""DenseCL (Wang et al. 2021): contrast of places of the feature map and of whole images; for segmentation encoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from lightly.models.modules import DenseCLProjectionHead
from lightly.models.utils import select_most_similar
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from hybrid_al.core.registry import Amount, Count, Positive, Share, hyperparameters
from hybrid_al.data.views.policies import View
from hybrid_al.errors import InputError
from hybrid_al.models.encoder import Encoder

from .base import Loss, dim_of, follow, local_rows, of_all, rising, teacher_of


@dataclass(frozen=True)
@hyperparameters
class DenseCL:
    """Image-level and dense InfoNCE against a momentum encoder; section 3, equations 1 to 4 of the paper.

    The key of a place is the place of the other view with the most similar backbone features (section 3.4). The
    other keys of a place are the dense vectors of the other images of the batch, averaged over each image; the paper
    keeps a queue of 65536 such averages, larger than most pools here, and shuffles batch norm between devices.

    share        weight of the dense loss; 0.5 as published
    temperature  0.2 as published
    momentum     start of the teacher's; paper: 0.999 throughout, over a million steps
    hidden, out  paper: 2048 and 128; narrower for small encoders
    optimiser    AdamW in the place of SGD with momentum
    """

    epochs: Count = 8
    batch: Count = 256
    accumulate: Count = 1
    lr: Positive = 2e-3
    weight_decay: Amount = 1e-4
    share: Share = 0.5
    temperature: Positive = 0.2
    momentum: Share = 0.99
    hidden: Count = 512
    out: Count = 128

    def network(self, encoder: Encoder, example: Tensor) -> nn.ModuleDict:
        """The encoder, a head for images and one for places, and the slow copies of all three."""
        dim = dim_of(encoder, example)
        with torch.no_grad():
            places = _places(encoder.eval(), encoder.normalize(example))[1]
        if places.shape[1] < 4 or places.shape[2] != dim:
            expected = "a feature map of at least 2 x 2 for densecl (encoder.options={output_stride: 8} makes it finer)"
            raise InputError("encoder", expected, f"{places.shape[1]} places of {places.shape[2]} features")
        heads = {name: DenseCLProjectionHead(dim, self.hidden, self.out) for name in ("image", "dense")}
        students = {"encoder": encoder, **heads}
        return nn.ModuleDict({**students, "teacher": teacher_of(students)})

    def loss(
        self, network: nn.ModuleDict, images: Tensor, views: View, generator: torch.Generator, progress: float
    ) -> Loss:
        """See `Method.loss`; the confidence is the softmax probability of the image's own key."""
        query, key = (views(images, generator).contiguous(memory_format=torch.channels_last) for _ in range(2))
        features, q, q_dense = _project(network, query)
        with torch.no_grad():
            features_key, k, k_dense = _project(cast(nn.ModuleDict, network["teacher"]), key)
            match = select_most_similar(features, features_key, k_dense)
            k, pooled = of_all(k), of_all(normalize(k_dense.mean(dim=1), dim=1))
        targets = local_rows(images)
        costs = cross_entropy(q @ k.T / self.temperature, targets, reduction="none")

        is_key = (targets[:, None] == torch.arange(len(k), device=images.device))[:, None]
        positive = (q_dense * match).sum(dim=2, keepdim=True)
        logits = torch.where(is_key, positive, q_dense @ pooled.T) / self.temperature
        dense = cross_entropy(logits.transpose(1, 2), targets[:, None].expand(logits.shape[:2]), reduction="none")

        per_sample = (1 - self.share) * costs + self.share * dense.mean(dim=1)
        return Loss(per_sample.mean(), per_sample.detach(), costs.detach().neg().exp())

    def after_step(self, network: nn.ModuleDict, progress: float) -> None:
        """Update the teacher."""
        follow(network, cast(nn.ModuleDict, network["teacher"]), rising(self.momentum, progress))


def _project(network: nn.ModuleDict, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Backbone features of the S places (B, S, D), unit vectors of images (B, d) and of places (B, S, d)."""
    encoder = cast(Encoder, network["encoder"])
    whole, places = _places(encoder, encoder.normalize(images))
    return places, normalize(network["image"](whole), dim=1), normalize(network["dense"](places), dim=2)


def _places(encoder: Encoder, images: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings (B, D) of normalised images and features (B, S, D) of their places: cells of a map, or patches."""
    backbone = encoder.backbone
    features = backbone.forward_features(images)  # type: ignore[operator]
    whole = backbone.forward_head(features)  # type: ignore[operator]
    if features.ndim == 4:
        return whole, features.flatten(2).transpose(1, 2)
    return whole, features[:, int(getattr(backbone, "num_prefix_tokens", 0)) :]
