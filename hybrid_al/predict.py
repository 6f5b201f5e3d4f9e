"""Predictions of a trained network, streamed in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .data.loaders import Inputs, blocks
from .models.checkpoint import seeded
from .models.classifier import Classifier
from .rng import derive_seed
from .types import FloatArray, IntArray, PredictionBatch


@torch.no_grad()
def predict(
    network: Classifier, inputs: Inputs, indices: IntArray, *, samples: int, views: int, seed: int, batch: int = 512
) -> Iterator[PredictionBatch]:
    """Probabilities (B, samples * views, C), features (B, D) of the plain image, and the head.

    One sample is one pass in eval mode; more are passes with dropout on (batch norm stays as it is). One view is
    the plain image; more are random weak views.
    """
    generator = seeded(derive_seed(seed, "predict"))
    head = (network.head.weight.cpu().numpy(), network.head.bias.cpu().numpy())
    network.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "mc-dropout"))
        for block in blocks(indices, batch):
            plain = network.encoder(inputs.plain(block))
            seen = [plain] if views == 1 else [network.encoder(inputs.weak(block, generator)) for _ in range(views)]
            probs = torch.stack([_head(network, z, samples > 1) for z in seen for _ in range(samples)], dim=1)
            yield PredictionBatch(block, probs.cpu().numpy(), plain.cpu().numpy(), head)


def _head(network: Classifier, features: Tensor, dropout: bool) -> Tensor:
    dropped = nn.functional.dropout(features, network.dropout.p, training=dropout)
    probs: Tensor = network.head(dropped).softmax(dim=1)
    return probs


@torch.no_grad()
def embed(encoder: nn.Module, images: Tensor) -> FloatArray:
    """Embeddings (B, D) float32 of one batch of images (B, C, H, W), by an encoder in eval mode."""
    vectors: FloatArray = encoder.eval()(images.contiguous(memory_format=torch.channels_last)).float().cpu().numpy()
    return vectors
