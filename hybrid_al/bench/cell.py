"""What a worker of a bench does: make a stage 0, or play one loop on one that exists."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import filelock
import numpy as np

from .. import loop, stage0
from ..assemble import Project, experiment, open_project
from ..core.rundir import RunDir
from ..core.temporary import clear_left_overs, temporary_name
from ..experiment import Experiment
from ..oracles.simulated import SimulatedOracle
from ..recipe import Recipe
from ..track.base import Trackers
from .results import CHEATING, END, Cell, Row
from .stratified import ClassStratified


@dataclass(frozen=True)
class Stage0:
    """A stage 0 to make: `folder` is its run directory, `recipe` holds nothing of the loop."""

    variant: str
    recipe: Recipe
    folder: Path
    device: str

    @property
    def exists(self) -> bool:
        """Whether it is complete: its probes are written last."""
        return (self.folder / "stage0" / "probe.json").is_file()


@dataclass(frozen=True)
class Loop:
    """A cell to play in `folder`, which goes once its rows are safe.

    cheats   whether the cold start and the query read the truth
    metrics  those of each round that the bench keeps
    """

    variant: str
    cell: Cell
    recipe: Recipe
    cheats: tuple[bool, bool]
    stage0: Stage0
    folder: Path
    metrics: tuple[str, ...]


def work(task: Stage0 | Loop) -> tuple[Row, ...]:
    """Do a task; the rows of a cell, none for a stage 0. The task of a killed worker goes on where it stopped."""
    if isinstance(task, Stage0):
        make_stage0(task)
        return ()
    return play(task)


def make_stage0(task: Stage0) -> Project:
    """The project of a stage 0, which is made by the first process that asks for it."""
    project = open_project(task.recipe, run_dir=task.folder, device=task.device, stage0_alone=True)
    project.run.path.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(task.folder / ".bench.lock"):
        clear_left_overs(task.folder)
        project.claim()
        stage0.ensure(project, Trackers())
    return project


_projects: dict[Path, Project] = {}  # of this worker: the data of a variant is read once


def play(task: Loop) -> tuple[Row, ...]:
    """All rounds of a cell; its last row says how long they took, those of an interrupted start not counted."""
    if (where := task.stage0.folder) not in _projects:
        _projects[where] = make_stage0(task.stage0)
    base = _projects[where]
    project = replace(base, recipe=task.recipe, run=RunDir(task.folder), base=task.stage0.folder)
    with project.run.lock():
        project.claim()
        setup = _cheat(experiment(project), task.cheats)  # makes the cache of views where there is none
        began = time.perf_counter()
        loop.run(setup, project.run, Trackers())
    rows = _rows(setup, project.run, task.metrics)
    return (*rows, Row(rows[-1].round, rows[-1].labels, END, time.perf_counter() - began))


def _cheat(setup: Experiment, cheats: tuple[bool, bool]) -> Experiment:
    """Put the strategy that reads the simulated oracle's truth where the grid asks for it."""
    if not any(cheats):
        return setup
    assert isinstance(setup.oracle, SimulatedOracle)  # the grid was checked
    cheating = (CHEATING, ClassStratified(setup.oracle.truth))
    return replace(
        setup,
        cold_start=cheating if cheats[0] else setup.cold_start,
        query=cheating if cheats[1] else setup.query,
    )


def _rows(setup: Experiment, run: RunDir, metrics: tuple[str, ...]) -> list[Row]:
    """The metrics of each round that a bench keeps, the number of labeled images of each class, and the seconds.

    With several labels a sample each of them counts; masks are not counted.
    """
    counts = np.zeros(len(setup.classes), dtype=np.int64)
    targets = run.labels(len(setup.manifest)).current
    masks = any(isinstance(a.target, str) for a in targets.values())
    rows = []
    for r in run.rounds():
        for i in r.query:
            a = targets[setup.manifest.position[i]]
            if isinstance(a.target, int | tuple) and a.kind != "not" and a.round == r.index:
                counts[np.atleast_1d(np.asarray(a.target, dtype=np.int64))] += 1
        values = {name: value for name, value in r.metrics.items() if name in metrics}
        if not masks:
            values |= {f"labels/{name}": float(n) for name, n in zip(setup.classes, counts.tolist(), strict=True)}
        values |= {f"seconds/{stage}": r.seconds[stage] for stage in ("query", "train")}
        rows += [Row(r.index, r.labeled, name, value) for name, value in values.items()]
    return rows


@contextlib.contextmanager
def discarding(task: Loop) -> Iterator[None]:
    """Remove what a finished cell left on disk, once the block is done; an error in it leaves the folder as it was.

    Meanwhile it lies beside as a temporary one, so that a bench that is killed leaves nothing that the next one keeps.
    """
    aside = temporary_name(task.folder)
    is_there = task.folder.is_dir()
    if is_there:
        task.folder.rename(aside)
    try:
        yield
    except BaseException:
        if is_there:
            aside.rename(task.folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)
