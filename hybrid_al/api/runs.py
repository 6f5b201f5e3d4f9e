"""`run`: the whole loop of a recipe, from code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .results import Run, open
from .session import project_of, session, stage0_of


def run(
    recipe: Path | str | Mapping[str, object],
    *,
    run_dir: Path | str | None = None,
    device: str = "cpu",
    **overrides: object,
) -> Run:
    """Play every round of a recipe that is not committed yet, stage 0 first.

    As `hybrid-al run`, without its report and the runs with random picks that are for it.

    recipe     a YAML file, the name of a shipped one (`hybrid-al recipes`), or a mapping of its keys
    run_dir    where the run lives, `runs/<name>-s<seed>` without it; a run that was killed goes on
    device     cpu, cuda, cuda:1, ... or auto
    overrides  values to change; `__` stands for the dot of a key, as in scikit-learn: `train__steps=10`,
               `learner="frozen"`, or `**{"train.steps": 10}`

    Errors: whatever the command line refuses, in one line; `AwaitingLabels` where a person has to answer first: then
    give the answers to `hybrid-al labels` and call this again.
    """
    from .. import loop
    from ..assemble import experiment
    from ..core.progress import activity
    from ..recipe import load

    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    project = project_of(load(recipe, changes), None if run_dir is None else Path(run_dir), device)
    with session(project) as tracker, activity(project.run.path) as step:
        stage0_of(project, tracker, step)
        say = lambda done, stage: step(done, len(project.recipe.loop.budgets), stage)  # noqa: E731
        loop.run(experiment(project), project.run, tracker, progress=say)
    return open(project.run.path)
