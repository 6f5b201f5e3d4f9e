"""What the decoder makes of an image, for queries: mean features of its parts, and of each class predicted in it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..models.pooling import class_vectors, mean_features
from ..models.segmenter import Segmenter


@torch.no_grad()
def class_features(networks: Sequence[Segmenter], images: Tensor, valid: Tensor) -> Tensor:
    """`class_vectors` (B, K) of images (B, C, H, W), of networks in eval mode side by side; K = classes x channels.

    valid (B, H, W) is False in padding. The class of a pixel is the most probable in the mean over the networks.
    """
    size = images.shape[-2:]
    feature_maps = [network.decoded(images) for network in networks]
    logits = [network.classify(maps, size) for network, maps in zip(networks, feature_maps, strict=True)]
    probs = torch.stack(logits).softmax(dim=2).mean(dim=0)
    predicted, classes = probs.argmax(dim=1), probs.shape[1]
    vectors = [
        class_vectors(maps, predicted, valid, classes=classes, stride=network.stride)
        for network, maps in zip(networks, feature_maps, strict=True)
    ]
    return torch.cat(vectors, dim=1)


@torch.no_grad()
def part_features(networks: Sequence[Segmenter], images: Tensor, parts: Tensor, count: int) -> Tensor:
    """Mean features (B, count, D) of the parts of images, of networks in eval mode side by side.

    parts (B, H, W): the part of each pixel, from 0; others, as `IGNORE`, are none. A part without pixels has 0.
    """
    maps = (parts[:, None] == torch.arange(count, device=parts.device)[:, None, None]).to(images.dtype)
    means = [mean_features(network.decoded(images), maps, network.stride) for network in networks]
    return torch.cat(means, dim=2)
