"""The one training loop of the semi-supervised stage, for both learners and every objective."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from .consistency import ConsistencyRecorder
from .data.loaders import Inputs, blocks, labeled_batches, unlabeled_batches
from .errors import HybridALError
from .learner import Log
from .models.checkpoint import seeded
from .models.classifier import Classifier
from .recording import Evidences
from .rng import derive, derive_seed
from .semi.base import Evidence, Labeled, Models, Objective, Step, Unlabeled
from .semi.ema import make_teacher, update_teacher
from .types import IntArray


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a fit trains.

    A fit takes `steps_per_label` steps a label, at least `min_steps` and at most `steps`.
    batch          labeled samples a step; `ratio` times as many unlabeled ones
    lr_head lr_encoder   AdamW learning rates, decayed to zero by a cosine
    ema_decay      of the teacher
    balanced       draw labeled samples equally often from every class
    decay          of the consistency record, per visit
    """

    steps: int = 150
    min_steps: int = 100
    steps_per_label: float = 5.0
    batch: int = 32
    ratio: int = 3
    lr_head: float = 3e-3
    lr_encoder: float = 3e-4
    weight_decay: float = 1e-2
    ema_decay: float = 0.98
    balanced: bool = True
    decay: float = 0.9

    def length(self, labels: int) -> int:
        """Steps for a number of labels."""
        return int(np.clip(round(self.steps_per_label * labels), min(self.min_steps, self.steps), self.steps))


@dataclass(frozen=True)
class Fit:
    """What training leaves: both networks, the evidence, and the numbers of the last steps."""

    student: Classifier
    teacher: Classifier
    recorder: ConsistencyRecorder
    metrics: dict[str, float]


@dataclass(frozen=True)
class Sets:
    """The samples of one fit: labeled positions (K,) with their classes (K,), and unlabeled positions (U,)."""

    labeled: IntArray
    targets: IntArray
    unlabeled: IntArray
    n: int


Batch = tuple[IntArray, Labeled, Unlabeled | None]


class Clock:
    """How fast a fit goes: seconds since it was made, those of them that it waited for batches, and what came."""

    def __init__(self) -> None:
        self.began, self.waited, self.steps, self.images = time.perf_counter(), 0.0, 0, 0

    def waits(self, batches: Iterator[Batch]) -> Batch:
        """The next batch."""
        began = time.perf_counter()
        ids, labeled, unlabeled = next(batches)
        self.waited += time.perf_counter() - began
        self.steps += 1
        self.images += len(ids) + (0 if unlabeled is None else len(unlabeled.indices))
        return ids, labeled, unlabeled

    def metrics(self) -> dict[str, float]:
        """Steps and images a second, labeled and unlabeled ones once each, and the share of the time without a batch.

        Both are the host's: on a GPU the views of a batch may be under way when it comes.
        """
        seconds = time.perf_counter() - self.began
        return {
            "train/steps_per_second": self.steps / seconds,
            "train/images_per_second": self.images / seconds,
            "train/data_share": self.waited / seconds,
        }


def fit(
    student: Classifier, objective: Objective, inputs: Inputs, sets: Sets, schedule: Schedule, *, seed: int, log: Log
) -> Fit:
    """Train `student` in place; deterministic on CPU given `seed`. A non-finite loss stops with what led to it."""
    models = Models(student.train(), teacher := make_teacher(student), rng=derive(seed, "objective"))
    evidences = Evidences(ConsistencyRecorder(sets.n, decay=schedule.decay))
    optimizer = _optimizer(student, schedule)
    steps = schedule.length(len(sets.labeled))
    peaks = [float(group["lr"]) for group in optimizer.param_groups]
    batches = _batches(objective, inputs, sets, schedule, seed)
    clock, logs = Clock(), {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "dropout"))
        for t in range(steps):
            ids, labeled, unlabeled = clock.waits(batches)
            step = objective.step(models, labeled, unlabeled, t / steps)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * 0.5 * (1 + math.cos(math.pi * t / steps))
            _check_finite(step, t, float(optimizer.param_groups[0]["lr"]), ids)
            optimizer.zero_grad(set_to_none=True)
            step.loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            update_teacher(teacher, student, t, decay=schedule.ema_decay)
            evidences.add(step.evidence)
            if t % 10 == 9 or t == steps - 1:
                logs = _numbers(step)
                log(logs, t + 1)
        evidences.write()
    return Fit(student, teacher, evidences.recorder, {**logs, **clock.metrics()})


@torch.no_grad()
def top_up(done: Fit, inputs: Inputs, rows: IntArray, *, visits: int, seed: int, batch: int = 512) -> int:
    """Give rows seen fewer than `visits` times their missing weak + strong passes by the teacher; passes made."""
    generator, evidences, passes = seeded(derive_seed(seed, "top-up")), Evidences(done.recorder), 0
    for _ in range(visits):
        missing = rows[done.recorder.seen[rows] < visits]
        for block in blocks(missing, batch):
            weak, strong = inputs.weak(block, generator), inputs.strong(block, generator)
            both = done.teacher(torch.cat([weak, strong])).softmax(dim=1)
            evidences.add(Evidence(block, *both.split(len(block))))
        evidences.write()
        passes += 2 * len(missing)
    return passes


def _batches(objective: Objective, inputs: Inputs, sets: Sets, schedule: Schedule, seed: int) -> Iterator[Batch]:
    generator = seeded(derive_seed(seed, "views"))
    chosen = labeled_batches(sets.targets, schedule.batch, derive(seed, "labeled"), balanced=schedule.balanced)
    others = None
    if objective.uses_unlabeled and len(sets.unlabeled):
        others = unlabeled_batches(sets.unlabeled, schedule.batch * schedule.ratio, derive(seed, "unlabeled"))
    for rows in chosen:
        x = inputs.weak(sets.labeled[rows], generator)
        labeled = Labeled(x, torch.from_numpy(sets.targets[rows]).to(x.device))
        unlabeled = None
        if others is not None:
            ids = next(others)
            unlabeled = Unlabeled(ids, inputs.weak(ids, generator), inputs.strong(ids, generator), sets.unlabeled)
        yield sets.labeled[rows], labeled, unlabeled


def _optimizer(student: Classifier, schedule: Schedule) -> torch.optim.Optimizer:
    groups: list[dict[str, object]] = [{"params": list(student.head.parameters()), "lr": schedule.lr_head}]
    encoder = [p for p in student.encoder.parameters() if p.requires_grad]
    if encoder:
        groups.append({"params": encoder, "lr": schedule.lr_encoder})
    return torch.optim.AdamW(groups, weight_decay=schedule.weight_decay, fused=True)


def _check_finite(step: Step, t: int, lr: float, ids: IntArray) -> None:
    if not torch.isfinite(step.loss):
        raise HybridALError(
            f"training step {t}: the loss is {step.loss.item()} at learning rate {lr:.2e}; "
            f"labeled samples of the batch: {sorted(set(ids.tolist()))}"
        )


def _numbers(step: Step) -> dict[str, float]:
    named = {"loss": step.loss.detach(), **step.logs}
    return {f"train/{name}": value.item() for name, value in named.items()}
