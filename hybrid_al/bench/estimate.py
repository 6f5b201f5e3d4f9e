"""What the missing cells of a bench will take: seconds, from finished cells or a few timed steps, and disk."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .. import stage0
from ..assemble import Project
from ..components import make_encoder, setting_of, task_of, training
from ..models.encoder import Encoder
from .cell import Loop, Stage0
from .results import END, FULL, Arm, Results

STEPS = 5
STRONG_VIEWS = 6
SOLVED = 0.2  # seconds of a round beside steps and passes


@dataclass(frozen=True)
class Need:
    """Seconds of wall time and bytes of disk."""

    seconds: float
    disk: float


@dataclass(frozen=True)
class _Speed:
    """Of one encoder: embedding size, parameters, seconds to embed and to train on one image."""

    dim: int
    weights: int
    embed: float
    train: float


def estimate(loops: Sequence[Loop], projects: Mapping[str, Project], results: Mapping[str, Results], jobs: int) -> Need:
    """What some loops and their missing stage 0 need.

    A cell takes what finished cells of its variant, objective and learner took; where there are none, a few training
    steps on noise are timed and multiplied. Selection itself is not counted. Learner `linear` takes no steps, and
    embeds no views.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        speeds: dict[tuple[object, ...], _Speed] = {}
        steps: dict[tuple[object, ...], float] = {}
        seconds = disk = largest = 0.0
        stages: dict[object, Stage0] = {}
        viewed: set[object] = set()  # those whose pool is embedded in several views
        for task in loops:
            project = projects[task.variant]
            key = _network(project)
            speed = speeds[key] if key in speeds else speeds.setdefault(key, _measure(project))
            arm = task.cell[0]
            kind = (task.variant, arm.objective, arm.learner, arm.strategy == FULL)
            if kind not in steps:
                steps[kind] = _seconds_of_cells(arm, results[task.variant]) or _loop(task, project, speed)
            seconds += steps[kind]
            weights = 0 if _frozen(task) else speed.weights
            model = 8 * (speed.dim * 4 + weights) * len(task.recipe.loop.budgets)
            largest = max(largest, float(model))
            stages.setdefault(task.stage0.folder, task.stage0)
            if arm.learner == "frozen":
                viewed.add(task.stage0.folder)
        for folder, stage in stages.items():
            if not stage.exists:
                project = projects[stage.variant]
                cost = _stage0(stage, project, speeds[_network(project)], views=folder in viewed)
                seconds, disk = seconds + cost.seconds, disk + cost.disk
    finally:
        torch.set_num_threads(before)
    return Need(seconds / jobs, disk + jobs * largest)


def _network(project: Project) -> tuple[object, ...]:
    spec = project.recipe.encoder
    return spec.name, str(spec.options), spec.input_size, spec.pool, project.recipe.data.image_size, _channels(project)


def _channels(project: Project) -> int:
    return project.recipe.data.channels or project.dataset.channels


def _measure(project: Project) -> _Speed:
    """Time an encoder on noise."""
    size, channels = project.recipe.data.image_size, _channels(project)
    encoder = _encoder(project)
    images = torch.rand(64, channels, size, size)
    with torch.no_grad():
        dim = encoder.eval()(images).shape[1]
        began = time.perf_counter()
        encoder(images)
        embed = (time.perf_counter() - began) / len(images)
    encoder.train()
    began = time.perf_counter()
    encoder(images).sum().backward()
    train = (time.perf_counter() - began) / len(images)
    return _Speed(dim, sum(p.numel() for p in encoder.parameters()), embed, train)


def _encoder(project: Project) -> Encoder:
    spec = project.recipe.encoder
    size = project.recipe.data.image_size
    return make_encoder(spec, channels=_channels(project), image_size=size, seed=0, weights=None)


def _seconds_of_cells(arm: Arm, results: Results) -> float | None:
    """Mean seconds of the finished cells that train like this one."""
    same = [a for a in {a for a, _ in results.cells} if a.objective == arm.objective and a.learner == arm.learner]
    seconds = [v for a in same if (a.strategy == FULL) == (arm.strategy == FULL) for v in results.values(END, a)]
    return float(np.mean(seconds)) if seconds else None


def _loop(task: Loop, project: Project, speed: _Speed) -> float:
    """Seconds of a cell: steps of training, and the passes over pool and holdout between them.

    Over fixed features a head is solved, and no step follows where the objective looks at no unlabeled sample.
    """
    objective, schedule = training(task.recipe)
    rounds = len(task.recipe.loop.budgets)
    if _frozen(task) and not (objective.uses_unlabeled or getattr(objective, "own_loss", False)):
        return SOLVED * rounds
    total = schedule.members * sum(schedule.length(n) for n in np.cumsum(task.recipe.loop.budgets).tolist())
    passes = 0.0 if _frozen(task) else 3 * len(project.dataset.manifest) * rounds * speed.embed
    return float(total) * _step(task, project) + passes + SOLVED * rounds


def _frozen(task: Loop) -> bool:
    """Whether the learner of a cell leaves the encoder as it is."""
    return bool(setting_of(task.recipe).learner[1].frozen)


def _step(task: Loop, project: Project) -> float:
    """Seconds of a step of training, on noise."""
    objective, schedule = training(task.recipe)
    began = time.perf_counter()
    task_of(task.recipe).rehearse(setting_of(task.recipe), project.dataset, objective, schedule, STEPS)
    return (time.perf_counter() - began) / STEPS


def _stage0(stage: Stage0, project: Project, speed: _Speed, *, views: bool) -> Need:
    """Pretraining on two views of each image, then the embeddings, and those of the `views` for `frozen`."""
    method = stage0.check(stage.recipe)
    pool, n = len(project.dataset.manifest.indices("pool")), len(project.dataset.manifest)
    seconds = 0.0 if method is None else 2 * method.epochs * pool * speed.train
    disk = 4.0 * speed.weights * (4 if method else 1) + 4 * n * speed.dim
    seconds += n * speed.embed
    if views:
        seconds += STRONG_VIEWS * pool * speed.embed
        disk += 2 * STRONG_VIEWS * n * speed.dim
    return Need(seconds, disk)
