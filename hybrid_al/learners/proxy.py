"""Proxy tasks for a cold start: a small network learns pseudo-masks and hidden squares of the pool's images.

How unsure it is of an image, and how badly it restores one, says something before any label is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor, nn

from ..core.files import read_arrays, read_seal, replacement, seal
from ..core.types import FloatArray, IntArray
from ..data.loaders import blocks
from ..data.stores.images import ImageStore
from ..data.tissue import Tissue, foreground
from ..data.views.draws import rand
from ..models.checkpoint import seeded

VERSION = "1"
"""Raise it when the values become others than before: the keys of caches contain it."""

SIDES = (32, 64)  # of the images that the network sees
GRID = 8  # cells along a side, which are hidden and scored one by one
HIDDEN = 0.25  # share of the cells
DROPOUT = 0.2
PASSES = 20  # as published (COLosSAL)
HIDINGS = 8  # times that cells are hidden to score them
BATCH = 32


class ProxyNet(nn.Module):
    """images (B, C, S, S) -> logits of background and foreground, and the images restored (B, 2 + C, S, S)."""

    def __init__(self, channels: int, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.middle = nn.Conv2d(2 * width, 4 * width, 3, padding=1)
        self.up_second = nn.Conv2d(6 * width, 2 * width, 3, padding=1)
        self.up_first = nn.Conv2d(3 * width, width, 3, padding=1)
        self.out = nn.Conv2d(width, 2 + channels, 1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Feature maps of each scale, the finest first."""
        first = F.relu(self.first(x))
        second = F.relu(self.second(F.max_pool2d(first, 2)))
        return first, second, F.relu(self.middle(F.max_pool2d(second, 2)))

    def decode(self, maps: tuple[Tensor, Tensor, Tensor], generator: torch.Generator | None = None) -> Tensor:
        """The output; with a generator it drops channels."""
        first, second, middle = maps
        x = F.interpolate(_dropped(middle, generator), scale_factor=2.0)
        x = F.relu(self.up_second(torch.cat([x, second], dim=1)))
        x = F.interpolate(_dropped(x, generator), scale_factor=2.0)
        x = F.relu(self.up_first(torch.cat([x, first], dim=1)))
        output: Tensor = self.out(_dropped(x, generator))
        return output


def proxy_values(
    store: ImageStore, pool: IntArray, tissue: Tissue, device: torch.device, *, cache: Path, steps: int = 200
) -> Mapping[str, FloatArray]:
    """Arrays of `EXTRAS["proxy"]` for all images, nan outside of the pool, from the folder `cache` or computed.

    `tissue` makes the pseudo-masks. Time O(P (passes + steps BATCH / P)) passes over images of 64 pixels a side.
    """
    origin = f"{VERSION}\x1f{store.digest}\x1f{tissue.threshold}\x1f{tissue.background}\x1f{steps}\x1f"
    file = cache / f"proxy-{hashlib.sha256(origin.encode() + pool.tobytes()).hexdigest()[:32]}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):  # a second process waits for the first one's work
        if read_seal(file) is None:
            network = train(store, pool, tissue, device, steps)
            values = score(network, store, pool, tissue, device)
            with replacement(file) as out:
                np.savez(out, **values)  # type: ignore[arg-type]
            seal(file)
        return read_arrays(file)


def train(store: ImageStore, pool: IntArray, tissue: Tissue, device: torch.device, steps: int) -> ProxyNet:
    """The network after `steps` batches: cross-entropy of the pseudo-mask, and squared error of the hidden cells."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ProxyNet(store.channels).to(device)
    generator, rng = seeded(0), np.random.default_rng(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(steps):
        block = np.sort(rng.choice(pool, min(BATCH, len(pool)), replace=False))
        images, masks = _inputs(store, block, tissue, device)
        hidden = _hidden(images, generator)
        output = network.decode(network.encode(images * ~hidden), generator)
        restored = ((output[:, 2:] - images).square() * hidden).mean() / HIDDEN
        loss = F.cross_entropy(output[:, :2], masks.long()) + restored
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network.eval()


@torch.no_grad()
def score(
    network: ProxyNet, store: ImageStore, pool: IntArray, tissue: Tissue, device: torch.device
) -> dict[str, FloatArray]:
    """See `proxy_values`."""
    pairs = ("proxy_entropy", "proxy_variance", "reconstruction_variance")
    values: dict[str, FloatArray] = {name: np.full((len(store), 2), np.nan) for name in pairs}
    values["surprisal"] = np.full((len(store), GRID**2), np.nan)
    generator = seeded(1)
    for block in blocks(pool, BATCH):
        images, masks = _inputs(store, block, tissue, device)
        maps = network.encode(images)
        outputs = torch.stack([network.decode(maps, generator) for _ in range(PASSES)])
        shares = outputs[:, :, 1] - outputs[:, :, 0]
        probs = shares.sigmoid()
        mean = probs.mean(dim=0)
        entropy = (torch.special.entr(mean) + torch.special.entr(1 - mean)) / np.log(2)
        of_pixels = (entropy, 2 * probs.var(dim=0, correction=0), outputs[:, :, 2:].var(dim=0, correction=0).sum(dim=1))
        box = _box(masks)
        for name, pixels in zip(pairs, of_pixels, strict=True):
            local = (pixels * box).sum(dim=(1, 2)) / box.sum(dim=(1, 2))
            values[name][block] = torch.stack([pixels.mean(dim=(1, 2)), local], dim=1).double().cpu().numpy()
        values["surprisal"][block] = _surprisal(network, images, generator).double().cpu().numpy()
    return values


def _surprisal(network: ProxyNet, images: Tensor, generator: torch.Generator) -> Tensor:
    """Mean squared error of each cell (B, cells) where it is hidden; 0 of a cell that never was."""
    errors, times = torch.zeros(len(images), GRID**2), torch.zeros(len(images), GRID**2)
    for _ in range(HIDINGS):
        hidden = _hidden(images, generator)
        error = (network.decode(network.encode(images * ~hidden))[:, 2:] - images).square().mean(dim=1, keepdim=True)
        cells = [F.adaptive_avg_pool2d(x, GRID).flatten(1).cpu() for x in (error * hidden, hidden.float())]
        errors, times = errors + cells[0], times + cells[1]
    return errors / times.clamp(min=1)


def _inputs(store: ImageStore, block: IntArray, tissue: Tissue, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images (B, C, S, S) and pseudo-masks (B, S, S) in the size of the network, 32 or 64."""
    side = SIDES[0] if store.size <= SIDES[0] else SIDES[1]
    images = store.batch(block).to(device)
    masks = torch.from_numpy(foreground(store, block, tissue)).float().unsqueeze(1).to(device)
    images = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
    return images, F.interpolate(masks, (side, side), mode="area")[:, 0] >= 0.5


def _hidden(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels (B, 1, S, S) of the cells that are hidden."""
    cells = rand((len(images), 1, GRID, GRID), generator) < HIDDEN
    side = images.shape[-1] // GRID
    return cells.repeat_interleave(side, dim=2).repeat_interleave(side, dim=3).to(images.device)


def _box(masks: Tensor) -> Tensor:
    """Pixels (B, S, S) of the box around each mask with a margin of a tenth; all where the mask is empty."""
    margin = masks.shape[-1] // 10
    spans = []
    for axis in (2, 1):
        line = masks.any(dim=axis)
        wide = F.max_pool1d(line.float().unsqueeze(1), 2 * margin + 1, 1, margin)[:, 0] > 0
        inside = (wide.cumsum(dim=1) > 0) & (wide.flip(1).cumsum(dim=1).flip(1) > 0)
        spans.append(inside | ~line.any(dim=1, keepdim=True))
    return spans[0].unsqueeze(2) & spans[1].unsqueeze(1)


def _dropped(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Channels dropped with `DROPOUT`, the others scaled up; as they are without a generator."""
    if generator is None:
        return x
    kept = (rand((*x.shape[:2], 1, 1), generator) >= DROPOUT).to(x.device)
    return x * kept / (1 - DROPOUT)
