"""The one door to `pretrain`, which makes the encoder and the embeddings that all else starts from; imported late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .core.progress import Progress

if TYPE_CHECKING:
    from pretrain.base import Method

    from .assemble import Project
    from .models.encoder import Encoder
    from .recipe import Recipe
    from .track.base import Trackers


def world() -> int:
    """How many processes torchrun started; 1 without it."""
    from pretrain import processes

    return processes.world()


def leads() -> bool:
    """Whether this process writes and speaks; the others that torchrun started only train along."""
    from pretrain import processes

    return processes.rank() == 0


def leave_with_launcher() -> None:
    """End this process, where torchrun started it, once torchrun is no more."""
    from pretrain import processes

    processes.leave_with_launcher()


def check(recipe: Recipe) -> Method | None:
    """The method of a recipe, None for `none`; refuses what stage 0 would, before data is read."""
    from pretrain import stage0

    return stage0.check(recipe)


def check_project(project: Project) -> None:
    """Refuse what stage 0 would once it has the data: weights of another network, a small pool, nothing to probe."""
    from pretrain import stage0

    stage0.check_project(project)


def start(project: Project) -> Encoder:
    """The encoder as it is before stage 0."""
    from pretrain import stage0

    return stage0.start(project)


def notes(project: Project) -> list[str]:
    """Remarks on a stage 0 before it runs, a line each."""
    from pretrain import stage0

    return stage0.notes(project)


def ensure(project: Project, tracker: Trackers, progress: Progress = lambda *_: None) -> dict[str, float]:
    """Run stage 0 where the run directory does not hold it yet; its probe metrics."""
    from pretrain import stage0

    return stage0.ensure(project, tracker, progress)


def assist(project: Project) -> None:
    """Stage 0 in a process of torchrun other than the first."""
    from pretrain import stage0

    stage0.assist(project)


def code(recipe: Recipe) -> list[str]:
    """The modules that the stage 0 of a recipe runs, for the code digest of a bench."""
    from pretrain import METHODS

    method = METHODS.get(recipe.pretrain.name)
    return ["pretrain.stage0", *([method.__module__] if method else [])]
