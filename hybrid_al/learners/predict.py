"""Predictions of a trained network, streamed in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ..core.rng import derive_seed
from ..core.types import FloatArray, IntArray, PredictionBatch
from ..data.loaders import Inputs, blocks
from ..errors import InputError
from ..models.checkpoint import seeded
from ..models.classifier import Classifier

# tf_efficientnet_lite0, one thread, 500 images at once against chunks: 28 px 0.6 and 0.45 ms an image, 64 px 4.2 and
# 1.75, 96 px 8.1 and 3.6, 128 px 17 and 5.8; the same bits, as long as no chunk is small
CHUNK_PIXELS, SMALLEST_CHUNK = 2**17, 16


@torch.no_grad()
def predict(
    network: Classifier, inputs: Inputs, indices: IntArray, *, samples: int, views: int, seed: int, batch: int = 512
) -> Iterator[PredictionBatch]:
    """Probabilities (B, samples * views, C), or (B, samples * views, 2, L), features (B, D) of the plain image, head.

    One sample is one pass in eval mode; more are passes with dropout on the features (batch norm stays as it is). A
    pass drops the same features of every image, so the prediction for an image does not depend on the others, and all
    passes are one product with the head; as in BatchBALD (Kirsch et al., NeurIPS 2019). One view is the plain image;
    more are weak views.
    """
    generator = seeded(derive_seed(seed, "predict"))
    head = (network.head.weight.cpu().numpy(), network.head.bias.cpu().numpy())
    heads = _heads(network, samples, seeded(derive_seed(seed, "mc-dropout")))
    network.eval()
    for block in blocks(indices, batch):
        plain = network.encoder(inputs.plain(block))
        features = [plain] if views == 1 else [network.encoder(x) for x in inputs.views(block, views, generator)]
        logits = torch.stack([nn.functional.linear(z, *heads) for z in features], dim=1)
        logits = logits.reshape(len(block), views * samples, -1)
        probs = (network.questions(logits, 2) if network.multilabel else logits).softmax(dim=2)
        losses = None if network.loss_head is None else network.predicted_losses(plain).cpu().numpy()
        yield PredictionBatch(block, probs.cpu().numpy(), plain.cpu().numpy(), head, losses)


def _heads(network: Classifier, samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The heads of all passes, stacked: weight (S * C, D), bias (S * C,); weights of dropped features are 0.

    A single pass drops none.
    """
    weight, bias = network.head.weight, network.head.bias
    share = 1 - network.dropout.p if samples > 1 else 1.0
    masks = torch.empty(samples, 1, weight.shape[1]).bernoulli_(share, generator=generator) / share
    return (masks.to(weight.device) * weight).flatten(0, 1), bias.repeat(samples)


@torch.no_grad()
def embed(encoder: nn.Module, images: Tensor) -> FloatArray:
    """Embeddings (B, D) float32 of one batch of images (B, C, H, W), by an encoder in eval mode.

    InputError where one is not finite.

    On a CPU in chunks of equal size, about `CHUNK_PIXELS` each: their feature maps then stay in its caches.
    """
    chunks = 1
    if images.device.type == "cpu":
        pixels = len(images) * (getattr(encoder, "input_size", 0) ** 2 or images[0, 0].numel())
        chunks = max(1, min(round(pixels / CHUNK_PIXELS), len(images) // SMALLEST_CHUNK))
    encoder.eval()
    split = images.contiguous(memory_format=torch.channels_last).tensor_split(chunks)
    vectors: FloatArray = torch.cat([encoder(chunk) for chunk in split]).float().cpu().numpy()
    if not np.isfinite(vectors).all():
        bad = int((~np.isfinite(vectors).all(axis=1)).sum())
        raise InputError("embeddings", "finite numbers", f"nan or inf for {bad} of {len(vectors)} images of a batch")
    return vectors
