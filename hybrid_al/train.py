"""The one training loop of the semi-supervised stage, for both learners and every objective."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch.optim.lr_scheduler import LambdaLR

from .core.consistency import Recording
from .core.learner import Log
from .core.registry import Amount, Count, Decay, Few, Share, hyperparameters
from .core.rng import derive, derive_seed
from .core.types import BoolArray, IntArray
from .data.loaders import Inputs, batches_of_domains, blocks, unlabeled_batches
from .errors import InputError, NonFiniteLoss
from .models.checkpoint import seeded
from .models.classifier import Classifier
from .models.segmenter import Committee, Segmenter
from .scores.recorder import ConsistencyRecorder
from .semi.base import Evidence, Labeled, LogitEvidence, Models, Objective, Step, Unlabeled
from .semi.dense.base import UnlabeledPixels
from .semi.ema import averaging, make_teacher
from .semi.evidence import Evidences, testify
from .semi.prior import Prior


@dataclass(frozen=True)
@hyperparameters
class Schedule:
    """How long and how fast a fit trains.

    A fit takes `steps_per_label` steps a label, at least `min_steps` and at most `steps`.
    batch          labeled samples a step; `ratio` times as many unlabeled ones
    lr_head lr_encoder   AdamW learning rates, decayed to zero by a cosine
    ema_decay      of the teacher
    balanced       draw labeled samples equally often from every class
    target_share   share of the target's labels in a labeled batch, or in the loss of a solved head, where there are
                   given labels of a source; null: as many as there are; 1: labels of the source are read
                   only where there is none of the target (source-free training goes on from them: `start: last`)
    record         what goes into the consistency record (`Recording`)
    start          each round from the weights of stage 0, or from the teacher of the last round
    accumulate     batches whose mean gradient makes a step
    precision      of the networks' passes on a GPU (autocast); on a CPU always float32
    prior          share of the first labeled batch that holds pseudo-labels propagated on the embeddings of stage 0
                   (`semi/prior.py`); falls to 0 at the end
    members        networks of a committee, trained from different starts (deep ensemble, Lakshminarayanan et al.,
                   NeurIPS 2017)
    exclude        weight of the loss of answers that exclude a class (`oracle.answer: one_bit`), -log(1 - p)
    mistakes       weight of the same loss of the classes that the model of the round before guessed wrongly, of samples
                   that have a label since then (as ICAL, TMI 2024, pre-trains on)
    drop_noisy     leave labeled samples out that are noisy for their class by `kernels.triage`, where the embeddings of
                   stage 0 are least dense (as PathAL, TMI 2022); a class of fewer than 8 labels keeps all
    bootstrap      each member learns from labels drawn with replacement, as many of each class as there are
    cycles         of the cosine; the network at the end of each is a member too (snapshots, Huang et al., ICLR 2017)
    easy           share of the old labels that the last round's model gets right that a fit keeps; 0: only new ones and
                   those that it gets wrong (ACFT, Zhou et al., Medical Image Analysis 2021, with `start: last`)
    repeat         a label is there up to so many times more, in proportion to the entropy of the last round's model
                   (Nath et al., TMI 2021)
    """

    steps: Count = 150
    min_steps: Count = 100
    steps_per_label: Amount = 5.0
    batch: Count = 32
    ratio: Count = 3
    lr_head: Amount = 3e-3
    lr_encoder: Amount = 3e-4
    weight_decay: Amount = 1e-2
    ema_decay: Share = 0.98
    balanced: bool = True
    target_share: Share | None = 0.5
    record: Recording = field(default_factory=Recording)
    start: Literal["stage0", "last"] = "stage0"
    accumulate: Few = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    prior: Decay = 0.0
    exclude: Amount = 1.0
    mistakes: Amount = 0.0
    drop_noisy: bool = False
    members: Few = 1
    bootstrap: bool = False
    cycles: Few = 1
    easy: Share = 1.0
    repeat: Annotated[float, Field(ge=0, le=100)] = 0.0

    def __post_init__(self) -> None:
        """Refuse more cycles than steps."""
        if self.cycles > min(self.steps, self.min_steps):
            raise InputError(
                "Schedule.cycles",
                "a step each at least",
                f"{self.cycles} cycles in {min(self.steps, self.min_steps)} steps",
            )

    def length(self, labels: int) -> int:
        """Steps for a number of labels."""
        return int(np.clip(round(self.steps_per_label * labels), min(self.min_steps, self.steps), self.steps))


@dataclass(frozen=True)
class Fit:
    """Result of a training: both networks, the consistency recorder, and the metrics of the last steps.

    snapshots  the teacher at the end of each cycle but the last
    """

    student: Classifier
    teacher: Classifier
    recorder: ConsistencyRecorder
    metrics: dict[str, float]
    snapshots: tuple[Classifier, ...] = ()


@dataclass(frozen=True)
class Sets:
    """The samples of one fit: labeled positions (K,) with their classes (K,), and unlabeled positions (U,).

    With `multilabel`, targets are (K, L) in {0, 1}. n: rows of the manifest.
    prior  propagated pseudo-labels for the labeled batches, where there are any
    round  of the fit, 0 the first
    source (N,) whether a sample is of the source, whose labels are given; None where there is none
    excluded  sample -> classes that it is not, by its answer; `mistaken` by what a model guessed wrongly
    """

    labeled: IntArray
    targets: IntArray
    unlabeled: IntArray
    n: int
    prior: Prior | None = None
    round: int = 0
    source: BoolArray | None = None
    excluded: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    mistaken: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def recorder(self, recording: Recording) -> ConsistencyRecorder:
        """An empty record of a fit to these samples."""
        labels = self.targets.shape[1] if self.targets.ndim == 2 else 1
        return ConsistencyRecorder(self.n, recording, labels=labels)


Network = TypeVar("Network", bound=Classifier | Segmenter | Committee)
Views = TypeVar("Views", Unlabeled, UnlabeledPixels)
Batch = tuple[IntArray, Labeled, Views | None]
Penalty = Callable[[Network, Labeled], torch.Tensor]
"""A further term of the loss: of a network and a labeled batch, a scalar with gradient."""


class Clock:
    """Speed of a fit: its start, the seconds of waiting for batches, and the number of images."""

    def __init__(self) -> None:
        self.start, self.waiting, self.images = time.perf_counter(), 0.0, 0

    def waits(self, batches: Iterator[Batch[Views]]) -> Batch[Views]:
        """The next batch; the time until it comes counts as waiting."""
        start = time.perf_counter()
        ids, labeled, unlabeled = next(batches)
        self.waiting += time.perf_counter() - start
        self.images += len(ids) + (0 if unlabeled is None else len(unlabeled.indices))
        return ids, labeled, unlabeled

    def metrics(self, steps: int) -> dict[str, float]:
        """Steps a second, images a second (labeled and unlabeled, each once), and the share of time without a batch.

        Times are the host's: on a GPU the views of a batch may still be computed when it arrives.
        """
        seconds = time.perf_counter() - self.start
        return {
            "train/steps_per_second": steps / seconds,
            "train/images_per_second": self.images / seconds,
            "train/data_share": self.waiting / seconds,
        }


def fit(
    student: Classifier,
    objective: Objective,
    inputs: Inputs,
    sets: Sets,
    schedule: Schedule,
    *,
    seed: int,
    log: Log,
    penalty: Penalty[Classifier] | None = None,
) -> Fit:
    """Train `student` in place on samples with a class; see `learn`."""
    evidences = Evidences(sets.recorder(schedule.record))
    steps = schedule.length(len(sets.labeled))
    batches = _batches(objective, inputs, sets, schedule, seed, steps * schedule.accumulate)

    def record(models: Models, unlabeled: Unlabeled | None, evidence: Evidence | None) -> None:
        evidences.add(testify(schedule.record.witness, models, unlabeled, evidence))

    teacher, metrics, snapshots = learn(
        student,
        objective.step,
        batches,
        record,
        schedule,
        steps=steps,
        seed=seed,
        log=log,
        penalty=penalty,
        round=sets.round,
    )
    evidences.write()
    return Fit(student, teacher, evidences.recorder, metrics, snapshots)


def learn(
    student: Network,
    step_of: Callable[[Models, Labeled, Views | None, float], Step],
    batches: Iterator[Batch[Views]],
    record: Callable[[Models, Views | None, Evidence | None], None],
    schedule: Schedule,
    *,
    steps: int,
    seed: int,
    log: Log,
    penalty: Penalty[Network] | None = None,
    round: int = 0,
) -> tuple[Network, dict[str, float], tuple[Network, ...]]:
    """Train `student` in place; returns its teacher, metrics, and the teachers of earlier cycles.

    The metrics are those of the last step, but for the mean mask rate. `penalty` of the student is added to the loss of
    each batch. `record` gets the unlabeled views and the evidence of each step, after it. Deterministic on CPU given
    `seed`. A non-finite loss raises `NonFiniteLoss` with step, rate and batch.
    """
    models = Models(student.train(), teacher := make_teacher(student), rng=derive(seed, "objective"), round=round)
    optimizer, accumulate = _optimizer(student, schedule), schedule.accumulate
    average = averaging(teacher, student, decay=schedule.ema_decay)
    clock, logs, cycles, snapshots = Clock(), {}, schedule.cycles, list[Network]()
    mask_rates = list[torch.Tensor]()
    rates = LambdaLR(optimizer, lambda t: 0.5 * (1 + math.cos(math.pi * (t * cycles % steps) / steps)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "dropout"))
        for t in range(steps):
            optimizer.zero_grad(set_to_none=True)
            views_and_evidence: list[tuple[Views | None, Evidence | None]] = []
            for _ in range(accumulate):
                ids, labeled, unlabeled = clock.waits(batches)
                with _autocast(labeled.x.device, schedule.precision):
                    step = step_of(models, labeled, unlabeled, t / steps)
                    loss = step.loss if penalty is None else step.loss + penalty(student, labeled)
                _check_finite(step, t, float(optimizer.param_groups[0]["lr"]), ids, unlabeled)
                (loss if accumulate == 1 else loss / accumulate).backward()  # type: ignore[no-untyped-call]
                views_and_evidence.append((unlabeled, step.evidence))
            if "mask_rate" in step.logs:
                mask_rates.append(step.logs["mask_rate"].detach())
            optimizer.step()
            average(t)
            rates.step()
            if t * cycles // steps < (t + 1) * cycles // steps < cycles:
                snapshots.append(copy.deepcopy(teacher))
            if t >= schedule.record.skip * steps:
                for views, evidence in views_and_evidence:
                    record(models, views, evidence)
            if t % 10 == 9 or t == steps - 1:
                logs = _numbers(step)
                log(logs, t + 1)
    if mask_rates:
        logs["train/mask_rate"] = torch.stack(mask_rates).mean().item()
    return teacher, {**logs, **clock.metrics(steps)}, tuple(snapshots)


def _autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Mixed precision for bfloat16 on a GPU, where the loss needs no scaling; else none."""
    if precision == "bfloat16" and device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


@torch.no_grad()
def top_up(result: Fit, inputs: Inputs, rows: IntArray, *, visits: int, seed: int) -> int:
    """Give rows their missing weak and strong passes by the teacher, up to `visits`; returns the number of passes."""
    generator, evidences, passes = seeded(derive_seed(seed, "top-up")), Evidences(result.recorder), 0
    for _ in range(visits):
        missing = rows[result.recorder.seen[rows] < visits]
        for block in blocks(missing, 512):
            weak, strong = inputs.weak(block, generator), inputs.strong(block, generator)
            evidences.add(LogitEvidence(block, *result.teacher(torch.cat([weak, strong])).split(len(block))))
        evidences.write()
        passes += 2 * len(missing)
    return passes


def _batches(
    objective: Objective, inputs: Inputs, sets: Sets, schedule: Schedule, seed: int, count: int
) -> Iterator[Batch[Unlabeled]]:
    generator, prior_rng = seeded(derive_seed(seed, "views")), derive(seed, "prior")
    of_source = None if sets.source is None else sets.source[sets.labeled]
    rng, share, balanced = derive(seed, "labeled"), schedule.target_share, schedule.balanced
    labeled_rows = batches_of_domains(sets.targets, of_source, schedule.batch, share, rng, balanced=balanced)
    unlabeled_rows = None
    if objective.uses_unlabeled and len(sets.unlabeled):
        unlabeled_rows = unlabeled_batches(sets.unlabeled, schedule.batch * schedule.ratio, derive(seed, "unlabeled"))
    for t, rows in enumerate(labeled_rows):
        labeled_ids, y = sets.labeled[rows], sets.targets[rows]
        if sets.prior is not None:
            prior_count = round(schedule.batch * schedule.prior * (1 - t / count))
            labeled_ids, y = sets.prior.mix_into(labeled_ids, y, prior_count, prior_rng)
        x = inputs.weak(labeled_ids, generator)
        source = None if sets.source is None else torch.from_numpy(sets.source[labeled_ids]).to(x.device)
        labeled = Labeled(x, torch.from_numpy(y).to(x.device), source=source)
        unlabeled = None
        if unlabeled_rows is not None:
            ids = next(unlabeled_rows)
            unlabeled = Unlabeled(ids, inputs.weak(ids, generator), inputs.strong(ids, generator), sets.unlabeled)
        yield labeled_ids, labeled, unlabeled


def _optimizer(student: Classifier | Segmenter | Committee, schedule: Schedule) -> torch.optim.Optimizer:
    """AdamW; biases and the factors of normalisation are free of decay."""
    groups: list[dict[str, object]] = []
    modules = [(student.head, schedule.lr_head), (student.encoder, schedule.lr_encoder)]
    if (loss_head := getattr(student, "loss_head", None)) is not None:
        modules.append((loss_head, schedule.lr_head))
    for module, rate in modules:
        trained = [p for p in module.parameters() if p.requires_grad]
        for decay, parameters in (
            (schedule.weight_decay, [p for p in trained if p.ndim > 1]),
            (0.0, [p for p in trained if p.ndim <= 1]),
        ):
            if parameters:
                groups.append({"params": parameters, "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, fused=True)


def _check_finite(
    step: Step, t: int, rate: float, ids: IntArray, unlabeled: Unlabeled | UnlabeledPixels | None
) -> None:
    if not math.isfinite(step.loss.item()):
        unlabeled_ids = [] if unlabeled is None else sorted(unlabeled.indices.tolist())
        labeled_ids = sorted(set(ids.tolist()))
        raise NonFiniteLoss(step.loss.item(), step=t, rate=rate, labeled=labeled_ids, unlabeled=unlabeled_ids)


def _numbers(step: Step) -> dict[str, float]:
    terms = {"loss": step.loss.detach(), **step.logs}
    return {f"train/{name}": value.item() for name, value in terms.items()}
