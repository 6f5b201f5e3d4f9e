"""Patterns of an image: centres of those tokens of a vision transformer that its class token attends to."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ..core.files import memory_mapped, read_seal, seal
from ..core.types import FloatArray, IntArray
from ..data.loaders import blocks
from ..data.stores.images import ImageStore
from ..errors import InputError
from ..models.checkpoint import digest_of
from ..models.encoder import Encoder

VERSION = "1"
"""Raise it when the patterns become others than before: the keys of caches contain it."""

PATTERNS = 5  # of an image, and the share of the attention that its tokens have: FreeSel's code for VOC
ATTENTION = 0.5
TURNS = 10  # of k-means
BATCH = 64


def image_patterns(
    encoder: Encoder, store: ImageStore, pool: IntArray, device: torch.device, *, cache: Path
) -> FloatArray:
    """Patterns (N, PATTERNS, D) float16, nan outside of the pool, memory-mapped from the folder `cache`.

    InputError for a network that gives no tokens.
    """
    check(encoder)
    origin = f"{VERSION}\x1f{store.digest}\x1f{digest_of(encoder)}\x1f".encode() + pool.tobytes()
    file = cache / f"patterns-{hashlib.sha256(origin).hexdigest()[:32]}.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):  # a second process waits for the first one's work
        if read_seal(file) is None:
            _compute(encoder.eval(), store, pool, device, file)
            seal(file)
    patterns: FloatArray = np.load(file, mmap_mode="r", allow_pickle=False)
    return patterns


def check(encoder: Encoder) -> None:
    """InputError for a network whose tokens are not known: vision transformers, and timm's convolutional ones."""
    if not (isinstance(encoder.backbone, VisionTransformer) or hasattr(encoder.backbone, "forward_features")):
        expected = "a network of timm, for a strategy that reads patterns (freesel)"
        raise InputError("encoder.name", expected, type(encoder.backbone).__name__)


def _compute(encoder: Encoder, store: ImageStore, pool: IntArray, device: torch.device, file: Path) -> None:
    out = None
    for block in blocks(pool, BATCH):
        tokens, attention = tokens_of(encoder, store.batch(block).to(device))
        if out is None:
            out = memory_mapped(file, np.float16, (len(store), PATTERNS, tokens.shape[2]))
            out[:] = np.nan
        out[block] = centres(tokens, attended(attention)).half().cpu().numpy()
    if out is not None:
        out.flush()


@torch.no_grad()
def tokens_of(encoder: Encoder, images: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (B, T, D) and the attention to each (B, T), which sums to 1.

    Of a vision transformer: what enters the last block, and the attention of its class token there, the mean over
    heads; that of all tokens where it has none. Of a convolutional network: the cells of its last feature map,
    with the share of their length.
    """
    network: Any = encoder.backbone
    images = encoder.normalize(images)
    if not isinstance(network, VisionTransformer):
        maps: Tensor = network.forward_features(images)
        if maps.ndim == 4 and maps.shape[1] == network.num_features:  # some have the channels last
            maps = maps.permute(0, 2, 3, 1)
        cells = maps.flatten(1, -2)
        length = cells.norm(dim=2)
        return cells, length / length.sum(dim=1, keepdim=True).clamp(min=1e-12)
    x = network.norm_pre(network.patch_drop(network._pos_embed(network.patch_embed(images))))
    for layer in network.blocks[:-1]:
        x = layer(x)
    last: Any = network.blocks[-1]
    prefix = network.num_prefix_tokens
    q, k, _ = last.attn.qkv(last.norm1(x)).unflatten(2, (3, last.attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    q, k = last.attn.q_norm(q), last.attn.k_norm(k)
    q = q[:, :, :1] if network.cls_token is not None else q
    weights = (q @ k.transpose(2, 3) * q.shape[-1] ** -0.5).softmax(dim=3).mean(dim=(1, 2))[:, prefix:]
    return network.norm(x)[:, prefix:], weights / weights.sum(dim=1, keepdim=True)


def attended(attention_BT: Tensor) -> Tensor:
    """The tokens (B, T) of most attention that together have more than `ATTENTION` of it; one at least."""
    values, order = attention_BT.sort(dim=1, descending=True)
    before = values.cumsum(dim=1) - values
    chosen = torch.zeros_like(attention_BT, dtype=torch.bool)
    return chosen.scatter(1, order, before < ATTENTION)


def centres(tokens_BTD: Tensor, chosen_BT: Tensor) -> Tensor:
    """k-means centres of each image's chosen tokens (B, PATTERNS, D); of fewer tokens the first comes again.

    From tokens that are far from each other, the one of largest length first; `TURNS` turns.
    """
    place = torch.arange(len(tokens_BTD), device=tokens_BTD.device)
    far = torch.where(chosen_BT, tokens_BTD.norm(dim=2), -1.0)
    seeds = []
    reach = torch.full_like(far, torch.inf)
    for _ in range(PATTERNS):
        seeds.append(tokens_BTD[place, far.argmax(dim=1)])
        reach = reach.minimum((tokens_BTD - seeds[-1][:, None]).norm(dim=2))
        far = torch.where(chosen_BT, reach, -1.0)
    centroids = torch.stack(seeds, dim=1)
    for _ in range(TURNS):
        nearest = torch.cdist(tokens_BTD, centroids).argmin(dim=2)
        member = _one_hot(nearest, PATTERNS) * chosen_BT[:, :, None]
        counts = member.sum(dim=1)[:, :, None]
        sums = member.transpose(1, 2) @ tokens_BTD
        centroids = torch.where(counts > 0, sums / counts.clamp(min=1), centroids)
    return centroids


def _one_hot(classes_BT: Tensor, count: int) -> Tensor:
    """One-hot rows (B, T, count) in float."""
    return (classes_BT[:, :, None] == torch.arange(count, device=classes_BT.device)).float()
