"""What objectives of domain shift share: a network in two parts, and the sides of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..kernels.kmeans import k_means
from .base import Labeled, Models, without_dropout


def parts(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """What gives a network's features, and what is behind it; a network without an encoder is all head."""
    encoder = getattr(network, "encoder", None)
    if encoder is None:
        return nn.Identity(), network
    return encoder, Behind(network)


class Behind(nn.Module):
    """A classifier from its features on."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, C), or (B, 2, L)."""
        logits: Tensor = self.network.head(self.network.dropout(features))  # type: ignore[operator]
        if getattr(self.network, "multilabel", False):
            logits = self.network.questions(logits, 1)  # type: ignore[operator]
        return logits


def reverse_gradient(x: Tensor) -> Tensor:
    """x itself, whose gradient changes its sign."""
    return 2 * x.detach() - x


def through(head: nn.Module, features: Tensor) -> Tensor:
    """Logits of features by a head whose weights get no gradient."""
    weights = {name: weight.detach() for name, weight in head.named_parameters()}
    logits: Tensor = functional_call(head, weights, (features,))
    return logits


@torch.no_grad()
def plain(network: nn.Module, head: nn.Module, features: Tensor) -> Tensor:
    """Logits of features by a head of the network without dropout, for targets: without gradient."""
    with without_dropout(network):
        logits: Tensor = head(features)
    return logits


def of_source(labeled: Labeled) -> Tensor:
    """Whether each labeled sample is of the source (B,); where there is none all labels stand for it."""
    if labeled.source is None:
        return torch.ones(len(labeled.x), dtype=torch.bool, device=labeled.x.device)
    return labeled.source


def to_anchors(models: Models, features: Tensor, *, anchors: int, decay: float) -> Tensor:
    """MADA's soft distance of features (M, D) to anchors, mean over them; an anchor nearest to some moves to them.

    The distance is the harmonic mean over the anchors of the mean squared difference. `models.memory["anchors"]` holds
    them; where it does not, they are made of these features (`anchors_of`).
    """
    features = features.float()  # in half precision anchors could not move by a little
    if "anchors" not in models.memory:
        models.memory["anchors"] = anchors_of(features, anchors, models)
    centroids = models.memory["anchors"]
    squared = (torch.cdist(features, centroids).square() / features.shape[1]).clamp_min(1e-12)
    belongs = F.one_hot(squared.argmin(dim=1), len(centroids)).to(features)
    means = belongs.T @ features.detach() / belongs.sum(dim=0).clamp_min(1)[:, None]
    moved = belongs.any(dim=0)[:, None]
    models.memory["anchors"] = torch.where(moved, decay * centroids + (1 - decay) * means, centroids)
    return (len(centroids) / (1 / squared).sum(dim=1)).mean()


def anchors_of(features: Tensor, count: int, models: Models) -> Tensor:
    """At most `count` centroids of features (M, D) by k-means, in float32."""
    rows = features.detach().float().cpu().numpy()
    centroids, _ = k_means(rows, min(count, len(rows)), models.rng)
    return torch.from_numpy(centroids).to(features.device)


def entropy(logits: Tensor) -> Tensor:
    """Mean entropy in nats of logits (U, C)."""
    return -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1).mean()
