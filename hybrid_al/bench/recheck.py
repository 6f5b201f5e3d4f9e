"""Cells of an earlier version of the code: one of each arm is played again, and vouches for the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.rundir import RunDir
from . import provenance, results
from .cell import Loop, discarding, work
from .grid import Grid
from .pool import run_all, shared_workers
from .results import Arm, Results, Row
from .runner import CellsFailed, Paths, Say, Variant, encoder_of, facts_of, loop_of, open_variants, origin_of, stage0_of
from .text import plural


@dataclass(frozen=True)
class Outdated:
    """An arm whose cells an earlier version made: its name, what it is made from today, the loop of its first seed."""

    name: str
    origin: Mapping[str, object]
    loop: Loop


def recheck(grid: Grid, paths: Paths, *, jobs: int, device: str, say: Say) -> None:
    """Play a cell of each arm that an earlier version made; note the version of today where all numbers are the same.

    The cell is that of the arm's first seed in the grid; times, which no two cells share, are not compared. Errors:
    data or settings that are others too, another encoder of stage 0; `CellsFailed` names the arms that differ, to whose
    cells the bench goes on to add nothing.
    """
    with RunDir(paths.out).lock(), shared_workers() as workers:
        differing = []
        for variant in open_variants(grid, paths, device):
            cells = results.read(paths.csv(variant.name))
            rows = list(_outdated(grid, variant, paths, cells, device))
            if rows:
                differing += _play(grid, variant, paths, cells, rows, jobs, say, workers)
            else:
                say(f"{variant.name}: nothing is of another version")
    if differing:
        lines = [f"{plural(len(differing), 'arm')} with other numbers than before:", *differing]
        raise CellsFailed("\n".join(lines))


def _outdated(grid: Grid, variant: Variant, paths: Paths, cells: Results, device: str) -> Iterator[Outdated]:
    name, first = variant.name, dict[Arm, int]()
    for arm, seed in grid.cells(name):
        if (arm, seed) in cells.cells:
            first.setdefault(arm, seed)
    arms = {grid.label(name, arm): arm for arm in first}
    origins = {label: origin_of(grid, variant, arm) for label, arm in arms.items()}
    for label in provenance.outdated(paths.facts(name), facts_of(grid, variant), origins) if arms else ():
        cell = (arms[label], first[arms[label]])
        stage = stage0_of(grid, variant, cell[1], paths, device)
        who = ["recheck", str(paths.out.resolve()), name, label, cell[1], origins[label], variant.code]
        yield Outdated(label, origins[label], loop_of(grid, variant, cell, stage, paths, who))


def _play(
    grid: Grid,
    variant: Variant,
    paths: Paths,
    cells: Results,
    rows: list[Outdated],
    jobs: int,
    say: Say,
    workers: list[Any],
) -> list[str]:
    """Play the loops of a variant and note those that find the same; a line for each other one."""
    name, facts = variant.name, facts_of(grid, variant)
    say(f"{name}: {plural(len(rows), 'arm')} of another version")
    stages = {row.loop.stage0.folder: row.loop.stage0 for row in rows}
    for stage in run_all(work, list(stages.values()), jobs, workers=workers):
        if stage.failure is not None:
            return [f"  {name}: stage 0: {stage.failure}"]
        provenance.claim_encoder(paths.facts(name), stage.task.recipe.seed, encoder_of(stage.task.folder))
    names, same, lines = {row.loop.cell: row.name for row in rows}, dict[str, int](), []
    for outcome in run_all(work, [row.loop for row in rows], jobs, workers=workers):
        cell = outcome.task.cell
        found = outcome.failure or difference(cells.cells[cell], outcome.result or ())
        if found:
            lines.append(f"  {name}: {names[cell]}, seed {cell[1]}: {found}")
        else:
            same[names[cell]] = cell[1]
        say(lines[-1].strip() if found else f"{name}: {names[cell]}, seed {cell[1]}: the same")
        with discarding(outcome.task):
            pass
    origins = {row.name: row.origin for row in rows}
    shared = {key: facts[key] for key in provenance.VERSIONS if key in facts}
    provenance.vouch(paths.facts(name), shared, origins, same)
    return lines


def difference(before: tuple[Row, ...], now: tuple[Row, ...]) -> str:
    """The first number of a cell that is another, in words; nothing where all are the same, times left out."""
    old, new = (
        {(r.round, r.labels, r.metric): f"{r.value:.6g}" for r in rows if not r.metric.startswith("seconds/")}
        for rows in (before, now)
    )
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            return f"round {key[0]}, {key[2]}: {old.get(key, 'nothing')} before, now {new.get(key, 'nothing')}"
    return ""
