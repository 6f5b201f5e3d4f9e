"""The runs with random picks that stand beside a run whose answers are simulated: `report.random_runs` of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..recipe import Component
from .session import session

if TYPE_CHECKING:
    from ..assemble import Project
    from ..core.types import Round

Say = Callable[[int, list["Round"]], None]
"""(which of the runs, its rounds) -> None, after each."""


def play_random(project: Project, say: Say = lambda *_: None) -> None:
    """Play what is missing of the runs in `<run>/random/s<seed>`, on the stage 0 of a run that has one.

    They differ from the run in nothing but the picks, cold start included, and the seed: that of the run for the first,
    the next ones for the others. Killed, they go on as any run does. Nothing happens where the recipe asks for none.
    """
    from .. import loop
    from ..assemble import experiment

    recipe, pick = project.recipe, Component(name="random")
    report = recipe.report.model_copy(update={"random_runs": 0})
    same = {"cold_start": pick, "query": pick, "report": report, "track": {}}
    for i in range(recipe.report.random_runs):
        seed = recipe.seed + i
        random = replace(
            project,
            recipe=recipe.model_copy(update={**same, "seed": seed}),
            run=project.run.random_run(seed),
            base=project.base or project.run.path,
        )
        with session(random) as tracker:
            say(i, loop.run(experiment(random), random.run, tracker))
