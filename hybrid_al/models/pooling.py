"""Mean features of parts of images, at the decoder's own resolution: parts that are given, and classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST = 10  # pixels of a class that an image must show, as in the published code of MADA


def mean_features(decoded: Tensor, maps: Tensor, stride: int) -> Tensor:
    """Means (B, K, D) of a decoder's features (B, D, h, w), weighted by maps (B, K, H, W); 0 where a map is.

    stride  of the network, to a multiple of which images were padded on the right and below (`Segmenter.decoded`)
    """
    height, width = (-(-side // stride) * stride for side in maps.shape[-2:])
    padded = F.pad(maps, (0, width - maps.shape[3], 0, height - maps.shape[2]))
    weights = F.adaptive_avg_pool2d(padded, (decoded.shape[2], decoded.shape[3]))
    sums = torch.einsum("bdhw,bkhw->bkd", decoded, weights)
    return sums / weights.sum(dim=(2, 3)).clamp_min(1e-6)[..., None]


def class_vectors(decoded: Tensor, predicted: Tensor, valid: Tensor, *, classes: int, stride: int) -> Tensor:
    """Mean features of the pixels of each class, one behind the other (B, classes * D); gradients go to `decoded`.

    Ning et al., Multi-Anchor Active Domain Adaptation for Semantic Segmentation (ICCV 2021), equation 1. A class of
    fewer than `LEAST` pixels has 0.

    predicted  class of each pixel (B, H, W); `valid` is False in padding
    """
    maps = F.one_hot(predicted, classes).movedim(-1, 1) * valid[:, None]
    means = mean_features(decoded, maps.to(decoded.dtype), stride)
    few = maps.sum(dim=(2, 3)) < LEAST
    return means.masked_fill(few[..., None], 0).flatten(1)
