"""The program and what its verbs share: arguments, and the project of a recipe."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import __version__
from ..errors import InputError
from ..report import console

if TYPE_CHECKING:
    from ..assemble import Project
    from ..recipe import Recipe
    from ..track.base import Trackers

app = typer.Typer(
    name="hybrid-al",
    help="Make every medical annotation count: pretrain, pick, train, pick again.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RecipeArg = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe file, the name of a shipped one, or a run to go on with.")
]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="key.path=value", help="Values to change.")]
RunArg = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
RunDirOption = Annotated[Path | None, typer.Option("--run-dir", help="Where the run lives (runs/<name>-s<seed>).")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ... or auto.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say only what went wrong.")]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def open_project(
    recipe: str, overrides: list[str] | None, run_dir: Path | None, device: str, *, quiet: bool, alone: bool = True
) -> Project:
    """The project of a recipe, checked; `alone` refuses to be one of several processes."""
    from ..recipe import load

    loaded = load(recipe, overrides or [])
    folder = run_dir_of(recipe, run_dir) or trial_dir(loaded)
    return checked_project(loaded, folder, device, quiet=quiet, alone=alone)


def checked_project(recipe: Recipe, run_dir: Path | None, device: str, *, quiet: bool, alone: bool = True) -> Project:
    """The project of a recipe that is read, checked."""
    from ..api.session import project_of

    with console.progress(quiet) as progress:
        return project_of(recipe, run_dir, device, alone=alone, progress=progress)


def run_dir_of(recipe: str, run_dir: Path | None) -> Path | None:
    """The run directory of a command: a run that stands in the place of the recipe is gone on with."""
    from ..recipe import is_run

    return Path(recipe) if run_dir is None and is_run(recipe) else run_dir


def trial_dir(recipe: Recipe) -> Path | None:
    """The run directory of a trial that W&B's agent started in a sweep; None elsewhere."""
    from ..track.base import slug

    trial = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
    return None if trial is None else Path("runs") / f"{recipe.name}-s{recipe.seed}-{slug(trial)}"


def make_stage0(project: Project, tracker: Trackers, quiet: bool) -> dict[str, float]:
    """Stage 0 where it is missing; what a probe says of its encoder."""
    from ..api.session import stage0_of

    with console.progress(quiet, project.run.path) as progress:
        return stage0_of(project, tracker, progress)


def line_by_line(quiet: bool) -> Callable[[str], None]:
    """Says a line at once, indented, or nothing."""
    return (lambda _: None) if quiet else (lambda line: print(f"  {line}", flush=True))


def write_new(path: Path, text: str) -> None:
    """Write a file that must not exist, and say so."""
    from ..core.files import write_atomic

    if path.exists():
        raise InputError(path, "a new file", "one that exists")
    write_atomic(path, text)
    print(f"Wrote {path}")
