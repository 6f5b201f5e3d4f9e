"""Encoders: any timm network as a function from images in [0, 1] to embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import timm
import torch
from torch import Tensor, nn

from ..errors import InputError, UnknownName
from .checkpoint import load_into, load_weights


class Encoder(nn.Module):
    """images (B, C, H, W) in [0, 1] -> embeddings (B, D)."""

    def __init__(self, backbone: nn.Module, mean: float = 0.5, std: float = 0.25) -> None:
        super().__init__()
        self.backbone = backbone
        self.mean, self.std = mean, std

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (B, D)."""
        return cast(Tensor, self.backbone((images - self.mean) / self.std))


def build_encoder(name: str, *, channels: int, image_size: int, seed: int, weights: Path | None = None) -> Encoder:
    """A timm network without its classifier, from random weights or from those of a previous stage 0.

    Errors: an unknown name (the nearest is named), weights of another architecture, images too small for the net.
    """
    if name not in timm.list_models():
        raise UnknownName("encoder.name", name, timm.list_models())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = timm.create_model(name, pretrained=False, in_chans=channels, num_classes=0)
    encoder = Encoder(backbone)
    if weights is not None:
        load_into(encoder, load_weights(weights), weights)
    try:
        with torch.no_grad():
            encoder.eval()(torch.zeros(2, channels, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError("data.image_size", f"images that {name} can take", f"{image_size}: {reason}") from error
    return encoder.to(memory_format=torch.channels_last)
