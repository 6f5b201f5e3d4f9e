"""A head that learns, with the network, how good the network's own mask of an image is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.types import IGNORE
from ..models.segmenter import Segmenter
from ..semi.base import Labeled
from ..train import Penalty


def quality_loss(weight: float) -> Penalty[Segmenter]:
    """`weight` times the squared error of the head's Dice on a labeled batch; no gradient reaches the network's rest.

    The quality module of Zhou et al. (MICCAI 2021), section 2.3. The masks that it learns from are those that the
    network makes of its labeled images while it trains, bad ones first.
    """

    def penalty(network: Segmenter, labeled: Labeled) -> Tensor:
        with torch.no_grad():
            decoded = network.decoded(labeled.x)
            probs = network.classify(decoded, labeled.x.shape[-2:]).softmax(dim=1)
            truth = dice_of_images(probs.argmax(dim=1), labeled.y, probs.shape[1])
            known = (labeled.y != IGNORE).flatten(1).any(dim=1)
        gaps = (network.expected_quality(decoded, probs) - truth).square()
        return weight * (gaps * known).sum() / known.sum().clamp(min=1)

    return penalty


def dice_of_images(predicted: Tensor, y: Tensor, classes: int) -> Tensor:
    """Dice (B,) of class maps (B, H, W) over labeled pixels, smoothing 1, mean over the classes but the background."""
    known = y != IGNORE
    one_hot = [
        (F.one_hot(labels.where(known, torch.zeros_like(labels)), classes) * known[..., None]).flatten(1, 2)
        for labels in (predicted, y)
    ]
    overlap, total = (one_hot[0] * one_hot[1]).sum(dim=1), (one_hot[0] + one_hot[1]).sum(dim=1)
    dice: Tensor = ((2 * overlap + 1) / (total + 1))[:, 1:].mean(dim=1)
    return dice


@torch.no_grad()
def expected_error(networks: Sequence[Segmenter], images: Tensor) -> Tensor:
    """1 - the Dice (B,) that each network expects of its own prediction, mean over the networks."""
    errors = list[Tensor]()
    for network in networks:
        decoded = network.decoded(images)
        probs = network.classify(decoded, images.shape[-2:]).softmax(dim=1)
        errors.append(1 - network.expected_quality(decoded, probs))
    return torch.stack(errors).mean(dim=0)
