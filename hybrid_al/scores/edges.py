"""Scores of pixels that look at the image too, in torch: its edges, and a conditional random field on it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .pixels import bald, entropy

ImageScore = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(probabilities (B, S, C, H, W), images (B, K, H, W), valid pixels (B, H, W)) -> (B, H, W)."""

STEPS, STRENGTH, CONTRAST = 5, 1.0, 0.1
"""Of `mean_field`: updates, weight of a neighbour, and the standard deviation of the kernel of grey values."""


def sobel(images_BKHW: Tensor, valid_BHW: Tensor) -> Tensor:
    """Strength of the edges of images (B, H, W) in [0, 1]: the Sobel gradient of the mean channel over its largest.

    A pixel whose 3 x 3 surroundings leave the image or the valid pixels has 0; so has an image without any edge.
    """
    grey = images_BKHW.mean(dim=1, keepdim=True)
    across = grey.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    gradient = F.conv2d(grey, torch.stack([across, across.T]).unsqueeze(1), padding=1)
    outside = F.max_pool2d(F.pad((~valid_BHW).to(grey), (1, 1, 1, 1), value=1.0).unsqueeze(1), 3, 1)[:, 0]
    strength = gradient.square().sum(dim=1).sqrt().masked_fill(outside > 0, 0)
    return strength / strength.amax(dim=(1, 2), keepdim=True).clamp(min=1e-6)


def edge_entropy(probs_BSCHW: Tensor, images_BKHW: Tensor, valid_BHW: Tensor) -> Tensor:
    """`wholes.edge_entropy` of every pixel, with the edges of `sobel`: (B, H, W), in [0, 1]."""
    return entropy(probs_BSCHW) * sobel(images_BKHW, valid_BHW)


def edge_divergence(probs_BSCHW: Tensor, images_BKHW: Tensor, valid_BHW: Tensor) -> Tensor:
    """`wholes.edge_divergence` of every pixel, with the edges of `sobel`: (B, H, W), in [0, 1]."""
    return bald(probs_BSCHW) * sobel(images_BKHW, valid_BHW)


def crf_entropy(probs_BSCHW: Tensor, images_BKHW: Tensor, valid_BHW: Tensor) -> Tensor:
    """Entropy of every pixel (B, H, W) after `mean_field`, in [0, 1]."""
    return entropy(mean_field(probs_BSCHW.mean(dim=1), images_BKHW, valid_BHW).unsqueeze(1))


def mean_field(probs_BCHW: Tensor, images_BKHW: Tensor, valid_BHW: Tensor) -> Tensor:
    """Class probabilities (B, C, H, W) of a conditional random field, by `STEPS` parallel updates of its mean field.

    The unary term is -log p. Two valid pixels side by side, or corner to corner, that differ in class cost `STRENGTH`
    times exp(-d^2 / (2 `CONTRAST`^2)), with d^2 the mean square of their difference over the channels: a Potts model
    that costs less across an edge. Krähenbühl and Koltun (NeurIPS 2011) join all pixels in the place of eight.
    """
    unary = probs_BCHW.clamp(min=1e-6).log()
    pairs = [(1, 0), (0, 1), (1, 1), (1, -1)]
    weights = [_affinity(images_BKHW, valid_BHW, pair) for pair in pairs]
    field = probs_BCHW
    for _ in range(STEPS):
        support = torch.zeros_like(field)
        for pair, weight in zip(pairs, weights, strict=True):
            here, there = _windows(pair)
            support[here] += weight * field[there]
            support[there] += weight * field[here]
        field = (unary + STRENGTH * support).softmax(dim=1)
    return field


def _affinity(images: Tensor, valid: Tensor, pair: tuple[int, int]) -> Tensor:
    """Weight (B, 1, h, w) of the pairs of pixels that lie `pair` rows and columns apart; 0 where one is padding."""
    here, there = _windows(pair)
    distance = (images[here] - images[there]).square().mean(dim=1, keepdim=True)
    known = valid.unsqueeze(1)[here] & valid.unsqueeze(1)[there]
    return torch.exp(-distance / (2 * CONTRAST**2)) * known


def _windows(pair: tuple[int, int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The slices of maps (B, C, H, W) whose pixels lie `pair` rows and columns apart."""
    here, there = [slice(None)] * 2, [slice(None)] * 2
    for step in pair:
        low, high = slice(None, -abs(step) or None), slice(abs(step), None)
        here.append(low if step >= 0 else high)
        there.append(high if step >= 0 else low)
    return tuple(here), tuple(there)


IMAGE_SCORES: dict[str, ImageScore] = {
    "edge_entropy": edge_entropy,
    "edge_divergence": edge_divergence,
    "crf_entropy": crf_entropy,
}
"""Scores of a pixel by name; the function of that name in `wholes` is the same in NumPy, where edges are given."""
