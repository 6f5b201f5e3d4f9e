"""What the trainer costs: its FixMatch step against a bare loop, and the share that the consistency record takes.

    OMP_NUM_THREADS=1 python benchmarks/trainer.py [frozen finetune] [--pairs 30] [--steps N]
    OMP_NUM_THREADS=2 python benchmarks/trainer.py rounds [--pairs 5]

One process, one thread, and CPU seconds of that process, so that another program on the machine disturbs little. Two
arms take turns, the first of a pair alternates; a pair gives one ratio. Printed: the median over the pairs and its
distribution-free 95 % interval (order statistics).

    loop    CPU seconds of a bare loop / of `train.fit`: 1 = as fast, above 0.9 is the goal
    record  share of `train.fit` that goes away without the record: at most 0.03 is the goal

`rounds` plays a whole loop of 5 rounds (10, 10, 20, 40, 80 labels; TypiClust, then hybrid; mean teacher, frozen) on
5,000 drawn images of 32 px and 1,000 for the test, on the embeddings of a random encoder; stage 0 and the cache of
views come before it and are timed apart. Printed: seconds of wall time and of CPU; the goal is 15 s of wall time on 2
cores.

The bare loop has the same network, views and batches' sizes, draws its batches with `randint`, and does what FixMatch
needs: weak, strong, mask, AdamW (fused), cosine, moving average. It checks, logs and records nothing.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import scipy.stats
import torch
import torch.nn.functional as F

from hybrid_al import loop, train
from hybrid_al.assemble import experiment, open_project
from hybrid_al.core.rundir import RunDir
from hybrid_al.data.loaders import EmbeddingInputs, ImageInputs, Inputs
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.learners.finetune import Finetune
from hybrid_al.learners.frozen import Frozen
from hybrid_al.models.classifier import Classifier, Standardize
from hybrid_al.models.encoder import build_encoder
from hybrid_al.recipe import parse
from hybrid_al.semi.ema import averaging, make_teacher
from hybrid_al.semi.evidence import Evidences
from hybrid_al.semi.fixmatch import FixMatch
from hybrid_al.track.base import Trackers
from pretrain.stage0 import ensure

N, LABELS, CLASSES, CPU = 5000, 40, 2, torch.device("cpu")
Arm = Callable[[], object]


def main() -> None:
    """Time the learners that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("learners", nargs="*", default=["frozen", "finetune"])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--steps", type=int, default=0)
    args = parser.parse_args()
    if args.learners == ["rounds"]:
        rounds(args.pairs)
        return
    torch.set_num_threads(1)
    for name in args.learners:
        make, inputs, schedule, steps = {"frozen": frozen, "finetune": finetune}[name]()
        steps = args.steps or steps
        schedule = train.Schedule(**{**schedule.__dict__, "steps": steps, "min_steps": steps})
        ours, without, bare = arms(make, inputs, schedule)
        seconds, ratios = pairs(bare, ours, args.pairs)
        print(f"{name}: {1000 * seconds / steps:.2f} ms a step over {steps} steps", flush=True)
        print(f"{name}: loop {summary(ratios)}", flush=True)
        print(f"{name}: record {summary(1 - pairs(without, ours, args.pairs)[1])}", flush=True)


def frozen() -> tuple[Callable[[], Classifier], Inputs, train.Schedule, int]:
    """A head on embeddings of 512 numbers, six strong views, 224 unlabeled samples a step."""
    rng, dim = np.random.default_rng(0), 512
    plain = rng.normal(size=(N, dim)).astype(np.float32)
    strong = (plain + 0.3 * rng.normal(size=(6, N, dim))).astype(np.float16)
    inputs = EmbeddingInputs(plain, np.zeros((0, N, dim), np.float16), strong, CPU)

    def make() -> Classifier:
        return Classifier(Standardize(torch.zeros(dim), torch.ones(dim)), dim, CLASSES, dropout=0.2, seed=0)

    return make, inputs, Frozen.schedule, 100


def finetune() -> tuple[Callable[[], Classifier], Inputs, train.Schedule, int]:
    """A small ResNet on grey images of 28 px, chest X-ray views, 96 unlabeled samples a step."""
    pixels = np.random.default_rng(0).integers(256, size=(N, 28, 28, 1), dtype=np.uint8)
    inputs = ImageInputs(ImageStore(pixels, "random", ()), VIEWS["chest_xray"], CPU)

    def make() -> Classifier:
        encoder = build_encoder("resnet10t", channels=1, image_size=28, seed=0)
        return Classifier(encoder, 512, CLASSES, dropout=0.2, seed=0)

    return make, inputs, Finetune.schedule, 5


def rounds(count: int) -> None:
    """Time whole loops, each in a run directory of its own over the same stage 0 and cache."""
    with TemporaryDirectory() as folder:
        recipe = parse(
            {
                "name": "loop",
                "data": {"source": "phantom", "image_size": 32, "n_pool": 5000, "n_val": 0, "n_test": 1000},
                "pretrain": "none",
                "learner": "frozen",
                "loop": {"budgets": [10, 10, 20, 40, 80]},
                "track": {"wandb": {"mode": "off"}},
            }
        )
        base = open_project(recipe, run_dir=Path(folder) / "stage0")
        base.claim()
        began = time.perf_counter()
        ensure(base, Trackers())
        stage0 = time.perf_counter() - began
        began = time.perf_counter()
        experiment(base)
        print(f"stage 0 {stage0:.1f} s, cache of six views {time.perf_counter() - began:.1f} s", flush=True)
        walls, cpus = [], []
        for k in range(count):
            project = replace(base, run=RunDir(Path(folder) / f"run{k}"), base=base.run.path)
            project.claim()
            began, cpu = time.perf_counter(), time.process_time()
            done = loop.run(experiment(project), project.run, project.trackers())
            walls.append(time.perf_counter() - began)
            cpus.append(time.process_time() - cpu)
            by_stage = {s: f"{sum(r.seconds[s] for r in done):.1f}" for s in done[0].seconds}
            print(f"wall {walls[-1]:.1f} s, CPU {cpus[-1]:.1f} s; {by_stage}", flush=True)
        print(f"wall: median {np.median(walls):.1f} s; CPU: median {np.median(cpus):.1f} s ({count} loops)")


def arms(make: Callable[[], Classifier], inputs: Inputs, schedule: train.Schedule) -> tuple[Arm, Arm, Arm]:
    """A fit as it is, one that records nothing, and the bare loop."""
    labeled = np.arange(LABELS)
    sets = train.Sets(labeled, labeled % CLASSES, np.arange(LABELS, N), N)

    def ours() -> object:
        return train.fit(make(), FixMatch(), inputs, sets, schedule, seed=0, log=lambda *_: None)

    def without() -> object:
        with patch.object(Evidences, "add", lambda *_: None):
            return ours()

    return ours, without, lambda: bare(make(), inputs, sets, schedule)


def bare(student: Classifier, inputs: Inputs, sets: train.Sets, schedule: train.Schedule) -> Classifier:
    """FixMatch by hand: nothing but what the method needs."""
    generator, rng, threshold = torch.Generator().manual_seed(0), np.random.default_rng(0), FixMatch().threshold
    student.train()
    teacher = make_teacher(student)
    average = averaging(teacher, student, decay=schedule.ema_decay)
    groups = [{"params": list(student.head.parameters()), "lr": schedule.lr_head}]
    if encoder := list(student.encoder.parameters()):
        groups.append({"params": encoder, "lr": schedule.lr_encoder})
    optimizer = torch.optim.AdamW(groups, weight_decay=schedule.weight_decay, fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: 0.5 * (1 + math.cos(math.pi * t / schedule.steps))
    )
    for t in range(schedule.steps):
        rows = rng.integers(len(sets.labeled), size=schedule.batch)
        others = sets.unlabeled[rng.integers(len(sets.unlabeled), size=schedule.batch * schedule.ratio)]
        x, y = inputs.weak(sets.labeled[rows], generator), torch.from_numpy(sets.targets[rows])
        weak, strong = inputs.weak(others, generator), inputs.strong(others, generator)
        with torch.no_grad():
            confidence, pseudo = student(weak).softmax(dim=1).max(dim=1)
        on_labels, on_strong = student(torch.cat([x, strong])).split([len(x), len(strong)])
        losses = F.cross_entropy(on_strong, pseudo, reduction="none")
        loss = F.cross_entropy(on_labels, y) + (losses * (confidence >= threshold).float()).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
        average(t)
    return teacher


def pairs(first: Arm, second: Arm, count: int) -> tuple[float, np.ndarray]:
    """Median CPU seconds of `second`, and first / second of each pair (count,)."""
    took: dict[Arm, list[float]] = {first: [], second: []}
    for arm in (first, second):  # not counted: what is built on first use
        arm()
    for pair in range(count):
        for arm in (first, second) if pair % 2 else (second, first):
            began = time.process_time()
            arm()
            took[arm].append(time.process_time() - began)
    return float(np.median(took[second])), np.asarray(took[first]) / np.asarray(took[second])


def summary(values: np.ndarray) -> str:
    """Median [95 % interval] (pairs)."""
    ordered, n = np.sort(values), len(values)
    low = max(int(scipy.stats.binom.ppf(0.025, n, 0.5)) - 1, 0)
    return f"{np.median(values):.3f} [{ordered[low]:.3f}, {ordered[n - 1 - low]:.3f}] ({n} pairs)"


if __name__ == "__main__":
    main()
