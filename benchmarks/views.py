"""Where random views are made: whole batches in the training process, or in workers, image by image or by batches.

    OMP_NUM_THREADS=1 python benchmarks/views.py [--sizes 28,64,224] [--rounds 5]
    OMP_NUM_THREADS=1 python benchmarks/views.py --change FOLDER
    OMP_NUM_THREADS=1 python benchmarks/views.py --engines [--sizes 28,64,224] [--rounds 3]
    OMP_NUM_THREADS=1 python benchmarks/views.py --accuracy ../shared/data/pneumoniamnist [--seeds 5]

CPU seconds of all processes a view, one thread each; the ways take turns, printed is the median of the rounds. Workers
are torch's DataLoader: one process, which hands batches over in shared memory. On a GPU the first way runs on the
device, and costs the training process no more than the launches (`--device cuda` times it by the wall clock).

--change says how much the views of masks change the pixels of the images in a folder (PNG or JPEG, up to 32, at 96 px):
mean absolute difference of weak view and image, and of strong and weak view, without the geometry that both share.

--engines times the views of a modality against pipelines of albumentations with like operations (`like`): CPU
microseconds a view in this process, the engines by turns; median of the rounds.

--accuracy trains `frozen` with mean teacher on random labels of 1200 images of the pool of PneumoniaMNIST, with the
strong view of the modality and with that of `like`: test AUROC, seeds paired.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hybrid_al.assemble import open_project
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.views.albumentations import Pipeline
from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.data.views.pixels import pixel_views
from hybrid_al.data.views.policies import View
from hybrid_al.learners.frozen import Frozen
from hybrid_al.learners.network import Foundation
from hybrid_al.models.checkpoint import seeded
from hybrid_al.models.encoder import build_encoder
from hybrid_al.recipe import load
from hybrid_al.semi import OBJECTIVES
from pretrain.export import export

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


def like(kind: str, size: int) -> Pipeline:
    """The weak or strong view of a chest X-ray by albumentations: the same limits, where its operations have such."""

    def node(name: str, p: float = 1.0, **settings: object) -> dict[str, object]:
        return {"__class_fullname__": name, "p": p, **settings}

    area, shift, angle = (0.85, 0.03, 5) if kind == "weak" else (0.5, 0.05, 15)
    moves = {"rotate": [-angle, angle], "translate_percent": [-shift, shift], "border_mode": 4}
    nodes = [node("RandomResizedCrop", size=[size, size], scale=[area, 1.0]), node("Affine", **moves)]
    if kind == "strong":
        nodes += [
            node("RandomBrightnessContrast", brightness_limit=0.3, contrast_limit=0.4),
            node("GaussianBlur", 0.3, blur_limit=0, sigma_limit=[0.1, 1.5]),
            node("CoarseDropout", hole_height_range=[0.05, 0.4], hole_width_range=[0.05, 0.4]),
        ]
    return Pipeline.of({"transform": node("Compose", transforms=nodes)}, f"views.{kind}")


def engines(sizes: Sequence[int], rounds: int) -> None:
    """Print CPU microseconds a view of both engines, and their ratio."""
    for size in sizes:
        images = torch.rand(BATCH if size < 128 else 64, 1, size, size, generator=seeded(0))
        for kind in ("weak", "strong"):
            views: tuple[View, View] = (getattr(VIEWS["chest_xray"], kind), like(kind, size))
            took: list[list[float]] = [[], []]
            for i in range(rounds + 1):
                for seconds, view in zip(took, views, strict=True):
                    began = time.process_time()
                    view(images, seeded(i))
                    seconds.append((time.process_time() - began) / len(images))
            torch_us, other_us = (1e6 * statistics.median(seconds[1:]) for seconds in took)
            line = f"{size} px, {kind}: torch {torch_us:.0f} us, albumentations {other_us:.0f} us"
            print(f"{line}, {other_us / torch_us:.1f} times", flush=True)


def accuracy(root: Path, seeds: int, *, most: int = 1200, budgets: Sequence[int] = (20, 60)) -> None:
    """Print the test AUROC of both strong views by seed, and the mean difference with its standard error."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        where = {"source": "npz", "root": str(root / "pneumoniamnist.npz"), "image_size": 28, "group": "none"}
        plain = {"name": "views", "modality": "chest_xray", "data": where, "oracle": "worklist"}
        project = open_project(load(plain, {"data.classes": ["normal", "pneumonia"]}), run_dir=folder / "run")
        data, store, device = project.dataset, project.store(), torch.device("cpu")
        pool = np.random.default_rng(0).permutation(data.manifest.indices("pool"))[:most]
        encoder = build_encoder("tf_efficientnet_lite0", channels=1, image_size=28, seed=0, weights="pretrained")
        fingerprint = data.manifest.fingerprint
        embeddings = export(encoder, store, fingerprint, folder, device, cache=folder)
        modality, test = VIEWS["chest_xray"], data.manifest.indices("test")
        arms = {"torch": modality, "albumentations": replace(modality, strong=like("strong", 28))}
        scores: dict[tuple[str, int], list[float]] = {}
        for arm, views in arms.items():
            base = Foundation(encoder, embeddings, store, views, len(data.classes), np.sort(pool), device, folder)
            learner = Frozen().build(base, OBJECTIVES["mean_teacher"](), Frozen.schedule)
            for seed in range(seeds):
                picks = np.random.default_rng(seed).permutation(pool)
                for budget in budgets:
                    labels = LabelStore(len(store)).add(
                        Annotation(int(i), "class", int(data.truth[i]), "t", 0) for i in picks[:budget]
                    )
                    learner.fit(labels, round=0, seed=seed, log=lambda *_: None)
                    probs = np.concatenate([batch.probs[:, 0, 1] for batch in learner.predict(test)])
                    scores.setdefault((arm, budget), []).append(float(roc_auc_score(data.truth[test], probs)))
        for budget in budgets:
            first, second = (np.asarray(scores[arm, budget]) for arm in arms)
            gap = second - first
            error = gap.std(ddof=1) / np.sqrt(seeds)
            print(f"{budget} labels: torch {first.mean():.4f}, albumentations {second.mean():.4f}, ", end="")
            print(f"difference {gap.mean():+.4f} +- {error:.4f}; by seed {np.round(gap, 4).tolist()}", flush=True)


def main() -> None:
    """Time the three ways at some sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="28,64,224")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--change", type=Path)
    parser.add_argument("--engines", action="store_true")
    parser.add_argument("--accuracy", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    if args.change is not None:
        change(args.change)
        return
    torch.set_num_threads(1)
    if args.accuracy is not None:
        accuracy(args.accuracy, args.seeds)
        return
    if args.engines:
        engines([*map(int, args.sizes.split(","))], args.rounds)
        return
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
