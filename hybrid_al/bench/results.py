"""The long CSV of a bench: every number of every cell, added cell by cell, read back as paired curves."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..core.files import write_atomic
from ..core.types import FloatArray, IntArray
from ..errors import InputError
from ..metrics.classification import aubc

COLUMNS = ("strategy", "objective", "learner", "seed", "round", "labels", "metric", "value")
OWN = "recipe"  # the arm of the recipe's own cold start and query
FULL = "full"
"""Strategy name of full supervision: the whole pool labeled at once."""
CHEATING = "class_stratified"
"""Strategy name of the baseline that reads the truth."""
END = "seconds/cell"
"""Metric of the last row of every cell: a cell without it was cut off and does not count."""


@dataclass(frozen=True, order=True)
class Arm:
    """What is compared: a strategy (`A+B` is cold start A, query B) under an objective and a learner."""

    strategy: str
    objective: str
    learner: str

    def __str__(self) -> str:
        """`strategy / objective`; the learner is said once a table."""
        return f"{self.strategy} / {self.objective}"


Cell = tuple[Arm, int]
"""An arm with a seed: one loop."""


@dataclass(frozen=True)
class Row:
    """One number of one round of a cell."""

    round: int
    labels: int
    metric: str
    value: float


@dataclass(frozen=True)
class Curves:
    """One metric of K arms over the S seeds that all of them have, at R numbers of labels: values (K, S, R)."""

    metric: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    labels: IntArray
    values: FloatArray

    def areas(self, *, log2: bool = False) -> FloatArray:
        """AUBC of each arm and seed (K, S)."""
        labels = self.labels.tolist()
        return np.asarray([[aubc(labels, curve, log2=log2) for curve in arm] for arm in self.values.tolist()])

    def of(self, arm: Arm) -> FloatArray:
        """Values (S, R) of one arm."""
        values: FloatArray = self.values[self.arms.index(arm)]
        return values


@dataclass(frozen=True)
class Results:
    """All finished cells of one variant of a bench."""

    cells: Mapping[Cell, tuple[Row, ...]] = field(default_factory=dict)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms there are, full supervision left out, in order of appearance."""
        return tuple(dict.fromkeys(arm for arm, _ in self.cells if arm.strategy != FULL))

    def seeds(self, arms: Iterable[Arm]) -> tuple[int, ...]:
        """The seeds that every one of the arms has finished, ascending."""
        seed_sets = [{seed for a, seed in self.cells if a == arm} for arm in arms]
        return tuple(sorted(set.intersection(*seed_sets))) if seed_sets else ()

    def curves(self, metric: str, arms: Sequence[Arm] | None = None) -> Curves:
        """The curves of a metric, over the seeds that all the arms share; errors name what is missing."""
        arms = tuple(self.arms if arms is None else arms)
        seeds = self.seeds(arms)
        if not seeds:
            raise InputError("bench", "a seed that every arm has finished", f"none for {len(arms)} arms")
        curves_by_arm = [[self._curve(arm, seed, metric) for seed in seeds] for arm in arms]
        labels = curves_by_arm[0][0][0]
        for arm, curves in zip(arms, curves_by_arm, strict=True):
            for seed, (x, _) in zip(seeds, curves, strict=True):
                if not np.array_equal(x, labels):
                    raise InputError(f"{arm}, seed {seed}", f"labels {labels.tolist()}", str(x.tolist()))
        return Curves(metric, arms, seeds, labels, np.asarray([[y for _, y in curves] for curves in curves_by_arm]))

    def full(self, metric: str, objective: str, learner: str) -> dict[int, float]:
        """Seed -> the metric with the whole pool labeled."""
        full_arm = Arm(FULL, objective, learner)
        return {seed: self._curve(arm, seed, metric)[1][-1] for arm, seed in self.cells if arm == full_arm}

    def values(self, metric: str, arm: Arm) -> list[float]:
        """Every value of a metric of an arm, all seeds and rounds."""
        return [r.value for (a, _), rows in self.cells.items() if a == arm for r in rows if r.metric == metric]

    def _curve(self, arm: Arm, seed: int, metric: str) -> tuple[IntArray, FloatArray]:
        points = {r.labels: r.value for r in self.cells[arm, seed] if r.metric == metric}
        if not points:
            raise InputError(f"{arm}, seed {seed}", f"the metric {metric}", "a cell without it")
        labels = sorted(points)
        return np.asarray(labels, dtype=np.int64), np.asarray([points[n] for n in labels])


def read(path: Path) -> Results:
    """The finished cells of a CSV; rows of a cell that was cut off are left out. No file is no cells."""
    if not path.is_file():
        return Results()
    blocks: dict[Cell, list[Row]] = {}
    complete: set[Cell] = set()
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(line for line in file if line.endswith("\n"))
        header = tuple(next(lines, ()))
        if header != COLUMNS:
            raise InputError(path, f"the columns {','.join(COLUMNS)}", ",".join(header) or "nothing")
        for number, line in enumerate(lines, start=2):
            cell, row = _parse(path, number, line)
            blocks.setdefault(cell, []).append(row)
            if row.metric == END:
                complete.add(cell)
    return Results({cell: tuple(rows) for cell, rows in blocks.items() if cell in complete})


def _parse(path: Path, number: int, line: list[str]) -> tuple[Cell, Row]:
    try:
        strategy, objective, learner, seed, round, labels, metric, value = line
        row = Row(int(round), int(labels), metric, float(value))
        return (Arm(strategy, objective, learner), int(seed)), row
    except ValueError:
        raise InputError(f"{path} line {number}", f"a row of {','.join(COLUMNS)}", ",".join(line)) from None


def write(path: Path, results: Results, order: Mapping[Cell, int]) -> None:
    """Replace the file by these cells, in the grid's order: the same cells give the same bytes."""
    last = len(order)
    cells = sorted(results.cells, key=lambda cell: (order.get(cell, last), cell))
    text = "".join([_lines([COLUMNS]), *(_block(cell, results.cells[cell]) for cell in cells)])
    write_atomic(path, text)


def append(path: Path, cell: Cell, rows: Sequence[Row]) -> None:
    """Add one finished cell (its last row is `END`) to a file that `write` made; on disk when this returns."""
    with path.open("a", newline="", encoding="utf-8") as file:
        file.write(_block(cell, rows))
        file.flush()
        os.fsync(file.fileno())


def _block(cell: Cell, rows: Sequence[Row]) -> str:
    arm, seed = cell
    head = (arm.strategy, arm.objective, arm.learner, seed)
    return _lines((*head, r.round, r.labels, r.metric, f"{r.value:.6g}") for r in rows)


def _lines(rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
