"""Virtual adversarial training: predictions that stay as they are under the worst small change of the input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import without_dropout

FIRST = 1e-2  # of the length of the change: that of the random one whose slope gives the direction


def virtual_adversarial(network: nn.Module, x: Tensor, radius: float) -> Tensor:
    """Mean divergence in nats between the predictions of x (B, ...) and of its worst change; without dropout.

    Miyato et al. (TPAMI 2019), section 3.3, with one step of power iteration. `radius` is the length of the change,
    relative to the mean distance of x from the batch's mean: so it means the same for pixels and for embeddings.
    """
    length = radius * (x - x.mean(dim=0)).flatten(1).norm(dim=1).mean()
    with without_dropout(network):
        with torch.no_grad():
            probs = network(x).softmax(dim=1)
        change = (FIRST * length * _unit(torch.randn_like(x))).requires_grad_()
        slope = torch.autograd.grad(_divergence(probs, network(x + change)), change)[0]
        return _divergence(probs, network(x + length * _unit(slope)))


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x.flatten(1), dim=1, eps=1e-20).reshape(x.shape)


def _divergence(probs: Tensor, logits: Tensor) -> Tensor:
    """Mean over rows of the divergence from logits (B, C) to probabilities (B, C)."""
    return (torch.xlogy(probs, probs) - probs * logits.log_softmax(dim=1)).sum(dim=1).mean()
