"""What a network's last layer would learn from an image if its own prediction were true: BADGE's vector of masks."""

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
    mean over the networks. As the survey's code does BADGE on masks: cross-entropy and Dice with the own prediction as
    label, one vector an image; without the bias. It is a sum over pixels of outer products, error times what the
    convolution sees, so unlike that of a sample with one class it has no two factors to be kept by. So it is kept
    whole: G = classes x channels x side^2 numbers of each network, which is 1152 bytes an image for two classes, 16
    channels and a side of 3. Feature maps live for a block of images on the device, the graph for one image.
    """
    size = images.shape[-2:]
    decoded = [network.decoded(images) for network in networks]
    said = sum(network.classify(seen, size).softmax(dim=1) for network, seen in zip(networks, decoded, strict=True))
    assert isinstance(said, Tensor)
    labels = said.argmax(dim=1).where(valid, valid.new_full((), IGNORE, dtype=torch.long))
    found = [
        torch.stack([_gradient(network, seen[i : i + 1], labels[i : i + 1]) for i in range(len(images))])
        for network, seen in zip(networks, decoded, strict=True)
    ]
    return torch.cat(found, dim=1)


def _gradient(network: Segmenter, decoded: Tensor, labels: Tensor) -> Tensor:
    layers = {name: m for name, m in network.classifier.named_modules() if isinstance(m, nn.Conv2d)}
    name, last = list(layers.items())[-1]
    with torch.enable_grad():
        weight = last.weight.detach().clone().requires_grad_()
        logits: Tensor = torch.func.functional_call(network.classifier, {f"{name}.weight": weight}, (decoded,))
        loss = dice_ce(logits[..., : labels.shape[1], : labels.shape[2]], labels)
        (gradient,) = torch.autograd.grad(loss, weight)
    return gradient.flatten()
