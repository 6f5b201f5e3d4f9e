"""`status --verify`: every file of a run against what its commits say of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import HybridALError
from .files import read_seal
from .rundir import RunDir, unmarked
from .seals import ROUND, STAGE0, damage


def verify(run: RunDir) -> tuple[int, list[str]]:
    """How many files of a run were checked, and a line for each that is damaged, of its runs with random picks too.

    Errors: no run directory.
    """
    run.facts()
    checks: list[Callable[[], object]] = [run.facts, run.manifest, lambda: unmarked(run.path / "recipe.yaml")]
    count, lines, r = len(checks), _lines(*checks), 0
    while (folder := run.round_path(r)).is_dir():
        if (folder / ROUND).is_file():
            of_round, damaged = damage(folder, ROUND)
            count, lines = count + of_round + 1, lines + damaged
        lines += _lines(partial(run.query_rows, r), partial(run.query_cost, r))
        count, r = count + 2, r + 1
    count, lines = count + 1, lines + _lines(run.rounds)
    if (run.path / "stage0" / STAGE0).is_file():
        of_stage0, damaged = damage(run.path / "stage0", STAGE0)
        count, lines = count + of_stage0, lines + damaged
    for note in sorted((run.path / "stage0" / "embeddings").glob("*.json")):
        count, lines = count + 1, lines + _embeddings(note)
    for random in run.random_runs():
        more, damaged = verify(random)
        count, lines = count + more, lines + damaged
    return count, list(dict.fromkeys(lines))


def _lines(*checks: Callable[[], object]) -> list[str]:
    lines = []
    for check in checks:
        try:
            check()
        except HybridALError as error:
            lines.append(str(error))
    return lines


def _embeddings(note: Path) -> list[str]:
    """A line about a set of embeddings that hybrid-al run would make again."""
    file = note.with_suffix(".npy")
    try:
        sealed = "sha256" in json.loads(note.read_text(encoding="utf-8"))
    except (ValueError, TypeError):
        sealed = True
    damaged = sealed and read_seal(file) is None
    return [f"{file}: cut or changed; the next hybrid-al run embeds the images again"] * damaged
