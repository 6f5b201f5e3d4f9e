"""What the loop of stage 0 costs: its steps against a bare loop with the same network, views and loss.

    OMP_NUM_THREADS=1 python benchmarks/pretraining.py [simclr rotation] [--pairs 20] [--steps 6] [--batch 128]

One process, one thread, and CPU seconds of that process, so that another program on the machine disturbs little. Two
arms take turns, the first of a pair alternates; a pair gives one ratio. Printed: the median over the pairs and its
distribution-free 95 % interval (order statistics) of the CPU seconds of the bare loop / those of `pretrain.loop`:
1 = as fast, above 0.9 is the goal. To compare another method, add its bare loss to `BARE`.

A ResNet on random grey images of 28 px in chest X-ray views. The bare loop draws its batches with `randint` and does
fused AdamW with a cosine; it checks, records, logs and saves nothing.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from trainer import pairs, summary

from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.data.views.policies import ViewPolicy
from hybrid_al.models.encoder import build_encoder
from pretrain import METHODS
from pretrain.base import two_views
from pretrain.loop import Job, pretrain

VIEW, CPU = VIEWS["chest_xray"].pretrain, torch.device("cpu")


def simclr(network: nn.ModuleDict, images: Tensor, generator: torch.Generator) -> Tensor:
    """Two views, all other views of the batch as negatives."""
    z = F.normalize(network["head"](network["encoder"](two_views(images, VIEW, generator))), dim=1)
    logits = (z @ z.T / 0.2).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(images)))


def rotation(network: nn.ModuleDict, images: Tensor, generator: torch.Generator) -> Tensor:
    """All four quarter turns of one view."""
    upright: ViewPolicy = replace(VIEW, rotate=0.0, vflip=False)
    view = upright(images, generator)
    turned = torch.cat([view.rot90(k, (2, 3)) for k in range(4)]).contiguous(memory_format=torch.channels_last)
    return F.cross_entropy(network["head"](network["encoder"](turned)), torch.arange(4).repeat_interleave(len(images)))


BARE: dict[str, Callable[[nn.ModuleDict, Tensor, torch.Generator], Tensor]] = {"simclr": simclr, "rotation": rotation}


def main() -> None:
    """Time the methods that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(BARE))
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=128)
    args = parser.parse_args()
    torch.set_num_threads(1)
    n = args.steps * args.batch
    pixels = np.random.default_rng(0).integers(256, size=(n, 28, 28, 1), dtype=np.uint8)
    store = ImageStore(pixels, "random", ())
    for name in args.methods:
        method = replace(METHODS[name](), epochs=1, batch=args.batch)  # type: ignore[type-var]

        def ours(method=method) -> None:  # type: ignore[no-untyped-def]
            encoder = build_encoder("resnet10t", channels=1, image_size=28, seed=0)
            with tempfile.TemporaryDirectory() as folder:
                job = Job(method, encoder, store, np.arange(n), VIEW, 0, CPU, Path(folder) / "resume.pt")
                pretrain(job, log=lambda *_: None, progress=lambda *_: None)

        def bare(method=method, loss_of=BARE[name]) -> None:  # type: ignore[no-untyped-def]
            encoder = build_encoder("resnet10t", channels=1, image_size=28, seed=0)
            network = method.network(encoder, torch.zeros(2, 1, 28, 28)).train()
            weights = network.parameters()
            optimizer = torch.optim.AdamW(weights, lr=method.lr, weight_decay=method.weight_decay, fused=True)
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
            generator = torch.Generator().manual_seed(0)
            for _ in range(args.steps):
                rows = np.random.default_rng(0).integers(n, size=args.batch)
                images = torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2).float().div_(255)
                loss = loss_of(network, images, generator)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                scheduler.step()

        seconds, ratios = pairs(bare, ours, args.pairs)
        print(f"{name}: {n / seconds:.0f} images a CPU second; loop {summary(ratios)}", flush=True)


if __name__ == "__main__":
    main()
