"""The numbers of a run as points on axes, each once: what a tracker that counts steps is fed with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from ..core.types import FloatArray
from . import jsonl
from .base import Value
from .names import axis_of


@dataclass(frozen=True)
class Point:
    """A value at its place: the round, the training step through all rounds, the step of stage 0, or 0."""

    name: str
    at: int
    value: Value


class Points:
    """Places values on their axes, and drops those of a place that had one: a redone fit logs its steps again."""

    def __init__(self) -> None:
        self._train = TrainAxis()
        self._places: set[tuple[str, int]] = set()

    def has(self, name: str, at: int) -> bool:
        """Whether a place has its value."""
        return (name, at) in self._places

    def of(self, values: Mapping[str, Value], *, stage: str, round: int | None, step: int | None) -> list[Point]:
        """The new points of a line; a training's number without a step, its last once more, is none."""
        train = self._train.at(round, step) if stage == "train" and step is not None else None
        points = []
        for name, value in values.items():
            axis = axis_of(name, stage, step)
            at = {"train/step": train, "stage0/step": step, "once": 0}.get(axis, round or 0)
            if at is not None and (name, at) not in self._places:
                self._places.add((name, at))
                points.append(Point(name, at, value))
        return points


@dataclass(frozen=True)
class Line:
    """A line of metrics.jsonl by its number, with the points that were new in it."""

    number: int
    stage: str
    round: int | None
    points: tuple[Point, ...]


def past(run_dir: Path, points: Points) -> Iterator[Line]:
    """The lines that earlier processes wrote, oldest first, placed by `points`."""
    for number, row in enumerate(jsonl.lines(run_dir / "metrics.jsonl")):
        values = {name: _value(value) for name, value in row.items() if name not in jsonl.COLUMNS}
        stage, round, step = str(row["stage"]), cast(int | None, row["round"]), cast(int | None, row["step"])
        yield Line(number, stage, round, tuple(points.of(values, stage=stage, round=round, step=step)))


def finite(value: Value) -> FloatArray:
    """The finite numbers of a value (K,); a single one has K = 1."""
    numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    return numbers[np.isfinite(numbers)]


def _value(plain: object) -> Value:
    """A value as it was logged: null stands for what was not finite."""
    if isinstance(plain, list):
        return [_value(item) for item in plain]  # type: ignore[misc]
    return float("nan") if plain is None else cast(float, plain)


class TrainAxis:
    """Training steps counted through all rounds, so that train/* is one line; a redone fit falls on its old steps."""

    def __init__(self) -> None:
        self._steps: dict[int, int] = {}

    def at(self, round: object, step: object) -> int:
        """Position of a step of a round behind all rounds before it."""
        now, here = (v if isinstance(v, int) else 0 for v in (round, step))
        self._steps[now] = max(self._steps.get(now, 0), here + 1)
        return here + sum(count for r, count in self._steps.items() if r < now)
