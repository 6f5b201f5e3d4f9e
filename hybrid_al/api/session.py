"""A run in use: project opened and checked, directory locked and claimed, stage 0 done; for verbs and library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .. import stage0
from ..core.progress import Progress
from ..core.temporary import IDLE, clear_left_overs
from ..errors import InputError

if TYPE_CHECKING:
    from ..assemble import Project
    from ..recipe import Recipe
    from ..track.base import Trackers


def project_of(
    recipe: Recipe,
    run_dir: Path | None,
    device: str,
    *,
    alone: bool = True,
    stage0_alone: bool = False,
    progress: Progress = lambda *_: None,
) -> Project:
    """The project of a recipe, images decoded: the gate of every verb. It refuses all that can be known.

    alone         refuses to be one of several processes of torchrun
    stage0_alone  the recipe says nothing of the loop, which is not looked at
    """
    from ..assemble import check_images, open_project
    from ..components import trackers_of
    from ..report.embedding_map import check_map

    if alone and stage0.world() > 1:
        expected = "hybrid-al pretrain, the only command that several processes share"
        raise InputError("torchrun", expected, f"another one, {stage0.world()} times")
    stage0.check(recipe)
    for tracker in trackers_of(recipe).values():
        tracker.check()
    check_map(recipe.report.map)
    project = open_project(recipe, run_dir=run_dir, device=device, stage0_alone=stage0_alone)
    read_images(project, progress)
    if not stage0_alone:
        check_images(project)
    if not project.has_stage0:
        stage0.check_project(project)
    return project


@contextmanager
def session(project: Project) -> Iterator[Trackers]:
    """The run locked and claimed, answers of its ledger taken in, its trackers open."""
    from ..oracles.ledger import collect

    with project.run.lock():
        clear_left_overs(project.cache, idle=IDLE)
        project.claim()
        collect(project.run)
        tracker = project.trackers()
        try:
            yield tracker
        finally:
            tracker.close()


def read_images(project: Project, progress: Progress = lambda *_: None) -> None:
    """Decode the images, or find them decoded."""
    project.store(lambda step, total: progress(step, total, "reading images"))


def stage0_of(project: Project, tracker: Trackers, progress: Progress = lambda *_: None) -> dict[str, float]:
    """Stage 0 where it is not done yet; its probe metrics."""
    return stage0.ensure(project, tracker, progress)
