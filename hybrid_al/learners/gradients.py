"""Gradients of a network's last layer with its own prediction as the label: BADGE's vectors for masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..core.types import IGNORE
from ..models.segmenter import Segmenter
from ..semi.dense.base import dice_ce


@torch.no_grad()
def last_layer_gradients(networks: Sequence[Segmenter], images: Tensor, valid: Tensor) -> Tensor:
    """Gradients (B, G) of `dice_ce` in the weights of the last convolution, of networks in eval mode, side by side.

    images (B, C, H, W); valid (B, H, W) is False in padding. The label of a pixel is the class most probable in the
    mean over the networks. This is BADGE on masks as in the survey's code: cross-entropy and Dice with the prediction
    as label, one vector an image; without the bias. The gradient is a sum over pixels of outer products, error times
    input of the convolution. Unlike that of a sample with one class it has no two factors, so it is stored in full:
    G = classes x channels x side^2 numbers of each network, or 1152 bytes an image for two classes, 16 channels and a
    side of 3. The device holds the feature maps of a block of images, and the graph of one image.
    """
    size = images.shape[-2:]
    feature_maps = [network.decoded(images) for network in networks]
    probs = sum(
        network.classify(features, size).softmax(dim=1)
        for network, features in zip(networks, feature_maps, strict=True)
    )
    assert isinstance(probs, Tensor)
    labels = probs.argmax(dim=1).where(valid, valid.new_full((), IGNORE, dtype=torch.long))
    gradients = [
        torch.stack([_gradient(network, features[i : i + 1], labels[i : i + 1]) for i in range(len(images))])
        for network, features in zip(networks, feature_maps, strict=True)
    ]
    return torch.cat(gradients, dim=1)


def _gradient(network: Segmenter, decoded: Tensor, labels: Tensor) -> Tensor:
    layers = {name: m for name, m in network.classifier.named_modules() if isinstance(m, nn.Conv2d)}
    name, last = list(layers.items())[-1]
    with torch.enable_grad():
        weight = last.weight.detach().clone().requires_grad_()
        logits: Tensor = torch.func.functional_call(network.classifier, {f"{name}.weight": weight}, (decoded,))
        loss = dice_ce(logits[..., : labels.shape[1], : labels.shape[2]], labels)
        (gradient,) = torch.autograd.grad(loss, weight)
    return gradient.flatten()
