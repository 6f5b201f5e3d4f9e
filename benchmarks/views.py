"""Where random views are made: whole batches in the training process, or in workers, image by image or by batches.

    OMP_NUM_THREADS=1 python benchmarks/views.py [--sizes 28,64,224] [--rounds 5]
    OMP_NUM_THREADS=1 python benchmarks/views.py --change FOLDER

CPU seconds of all processes a view, one thread each; the ways take turns, printed is the median of the rounds. Workers
are torch's DataLoader: one process, which hands batches over in shared memory. On a GPU the first way runs on the
device, and costs the training process no more than the launches (`--device cuda` times it by the wall clock).

--change says how much the views of masks change the pixels of the images in a folder (PNG or JPEG, up to 32, at 96 px):
mean absolute difference of weak view and image, and of strong and weak view, without the geometry that both share.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.views.pixels import pixel_views
from hybrid_al.data.views.policies import VIEWS
from hybrid_al.models.checkpoint import seeded

BATCH, BATCHES, POLICY = 256, 8, VIEWS["chest_xray"].pretrain


class Worker(Dataset[Tensor]):
    """Views as a worker makes them: of the images of a list, one by one or as one batch."""

    def __init__(self, store: ImageStore, *, together: bool) -> None:
        self.store, self.together, self.generator = store, together, seeded(0)

    def __getitem__(self, rows: Sequence[int]) -> Tensor:  # type: ignore[override]
        """Views (B, C, H, W)."""
        images = self.store.batch(np.asarray(rows))
        if self.together:
            return POLICY(images, self.generator)
        return torch.cat([POLICY(image[None], self.generator) for image in images])


def ways(store: ImageStore, device: torch.device) -> dict[str, Callable[[], Iterator[Tensor]]]:
    """Name -> batches of views."""
    rows = [list(range(i * BATCH, (i + 1) * BATCH)) for i in range(BATCHES)]

    def inline() -> Iterator[Tensor]:
        generator = seeded(0)
        return (POLICY(store.batch(np.asarray(r)).to(device), generator) for r in rows)

    def loader(*, together: bool) -> Iterator[Tensor]:
        torch.manual_seed(0)
        made = Worker(store, together=together)
        return iter(DataLoader(made, batch_size=None, sampler=rows, num_workers=1))  # type: ignore[arg-type]

    return {
        "whole batches, in the process": inline,
        "whole batches, in a worker": lambda: loader(together=True),
        "image by image, in a worker": lambda: loader(together=False),
    }


def change(folder: Path) -> None:
    """Print the mean change of the pixels by the weak and the strong view of masks, modality by modality."""
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in (".png", ".jpg", ".jpeg"))[:32]
    pixels = np.stack([np.asarray(Image.open(f).convert("RGB").resize((96, 96), Image.Resampling.BOX)) for f in files])
    images = torch.from_numpy(pixels).movedim(-1, 1) / 255
    grey = images if (images != images[:, :1]).any() else images[:, :1]
    for modality, kinds in VIEWS.items():
        views, generator, changes = pixel_views(kinds), seeded(0), []
        for _ in range(1000 // len(grey)):
            weak = views.weak(grey, generator)
            strong = views.strong(weak, generator)
            changes.append([float((weak - grey).abs().mean()), float((strong - weak).abs().mean())])
        print(
            f"{modality}: weak {np.mean(changes, axis=0)[0]:.3f}, strong {np.mean(changes, axis=0)[1]:.3f}", flush=True
        )


def main() -> None:
    """Time the three ways at some sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="28,64,224")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--change", type=Path)
    args = parser.parse_args()
    if args.change is not None:
        change(args.change)
        return
    torch.set_num_threads(1)
    device = torch.device(args.device)
    for size in map(int, args.sizes.split(",")):
        shape = (BATCH * BATCHES, size, size, 1)
        store = ImageStore(np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8), "random", ())
        found = ways(store, device)
        took: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(args.rounds + 1):
            for name, way in found.items():
                began = clock(device)
                for batch in way():
                    batch.sum()
                took[name].append((clock(device) - began) / (BATCH * BATCHES))
        for name, seconds in took.items():
            print(f"{size} px, {name}: {1e6 * statistics.median(seconds[1:]):.0f} us a view", flush=True)


def clock(device: torch.device) -> float:
    """CPU seconds of this process and of those that it waited for; on a GPU those of the wall clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


if __name__ == "__main__":
    main()
