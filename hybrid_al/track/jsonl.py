"""The tracker that is always there: every number ever logged, one JSON object a line in metrics.jsonl."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from .base import Content, Value

COLUMNS = ("time", "stage", "round", "step")


class JsonlTracker:
    """Appends to `path`; a line that a killed process left half-written is closed, and skipped by `read`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)  # one write a line: what was logged survives a kill -9
        if _is_torn(path):
            self._file.write(b"\n")

    def log(
        self, values: Mapping[str, Value], *, stage: str, round: int | None = None, step: int | None = None
    ) -> None:
        """One line; nan and infinities become null. Error where a value is named like a column."""
        clashes = sorted(set(values) & set(COLUMNS))
        if clashes:
            raise InputError(self._path, f"metric names other than {', '.join(COLUMNS)}", clashes[0])
        row: dict[str, object] = {"time": time.time(), "stage": stage, "round": round, "step": step}
        row |= {name: _plain(value) for name, value in values.items()}
        self._file.write(json.dumps(row, allow_nan=False).encode() + b"\n")

    def show(self, content: Content) -> None:
        """Nothing: this file holds numbers."""

    def alert(self, title: str, text: str) -> None:
        """Nothing: nobody watches a file."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> list[dict[str, object]]:
    """The rows of metrics.jsonl, {"time", "stage", "round", "step", name: value, ...}; a missing file has none.

    Lines of the same (stage, round, step) are one row, where the later value of a name wins: a fit that was
    killed is redone and logs its steps again. Half-written lines are skipped.
    """
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    for line in lines(path):
        rows.setdefault((line["stage"], line["round"], line["step"]), {}).update(line)
    return list(rows.values())


def lines(path: Path) -> list[dict[str, object]]:
    """All whole lines as they were written, oldest first."""
    if not path.exists():
        return []
    rows = (_parse(line) for line in path.read_bytes().splitlines())
    return [line for line in rows if line is not None]


def _parse(line: bytes) -> dict[str, object] | None:
    try:
        row = json.loads(line)
    except ValueError:  # torn: a JSON object cut short is never a JSON value
        return None
    return row if isinstance(row, dict) and set(COLUMNS) <= set(row) else None


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return False
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def _plain(value: Value) -> float | list[float | None] | None:
    if isinstance(value, Sequence | np.ndarray):
        return [_number(v) for v in value]
    return _number(value)


def _number(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(value)  # float(): NumPy and torch scalars
