"""A whole run of a recipe in this process, from stage 0 on: what tests of the loop start with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybrid_al import loop
from hybrid_al.assemble import Project, experiment, open_project
from hybrid_al.recipe import Recipe, parse
from hybrid_al.track.base import Trackers
from pretrain.stage0 import ensure


def play(path: Path, recipe: Recipe | Mapping[str, Any], device: str = "cpu") -> Project:
    """Play it in the run directory `path`, as far as the answers go."""
    whole = recipe if isinstance(recipe, Recipe) else parse(recipe)
    opened = open_project(whole, run_dir=path, device=device)
    ensure(opened, Trackers())
    opened.claim()
    loop.run(experiment(opened), opened.run, Trackers())
    return opened
