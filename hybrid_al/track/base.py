"""What a tracker is, several behind one, which run it continues, and what of a recipe may leave the machine."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from ..core.learner import Log
from ..core.types import LabelMap
from ..errors import InputError

Value = float | Sequence[float]

_PATH_KEYS = {"root", "images", "weights"}
_ABSOLUTE = re.compile(r"^(/|~|\\\\|file:|[A-Za-z]:[\\/])")


@dataclass(frozen=True)
class Table:
    """Rows of plain values under named columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True)
class Histogram:
    """Counts (B,) between edges (B + 1,)."""

    counts: tuple[int, ...]
    edges: tuple[float, ...]


@dataclass(frozen=True)
class Picture:
    """A JPEG with its caption; `mask` (H, W) holds class numbers, 255 where nothing is known."""

    jpeg: bytes
    caption: str
    mask: LabelMap | None = None


@dataclass(frozen=True)
class Content:
    """What a round has to show beside numbers, each under its name in `NAMES`.

    classes  names of the classes that masks are numbered by
    pictures there where the recipe lets images out (`log_images`)
    files    kind -> file of the run directory, for trackers that keep artifacts
    """

    round: int
    tables: Mapping[str, Table] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    pictures: Mapping[str, Sequence[Picture]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)


BenchTable = tuple[str, Sequence[str], Sequence[Sequence[object]]]
"""Title, headers, rows."""
CurvePoint = tuple[str, str, int, float, float, float]
"""Variant, arm, labels, mean over seeds, and the limits of its interval, infinite where there are none."""


@dataclass(frozen=True)
class BenchNumbers:
    """What a bench hands to trackers.

    name    of the bench; with `digest`, of its grid and not of its results, it tells benches apart
    summary number by name, such as `<variant>/<arm>/aubc`
    """

    name: str
    digest: str
    tables: Sequence[BenchTable] = ()
    curves: Sequence[CurvePoint] = ()
    summary: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Fixed id of the run of the bench."""
        return f"bench-{slug(self.name)}-{self.digest[:8]}"


class Tracker(Protocol):
    """Takes what a run has to show out of it; a mirror, never read back by the loop."""

    def log(
        self, values: Mapping[str, Value], *, stage: str, round: int | None = None, step: int | None = None
    ) -> None:
        """Note values by name; `stage` is stage0, query, train or evaluate, `step` counts within stage and round."""
        ...

    def show(self, content: Content) -> None:
        """Show tables, histograms and pictures of a round, just before its numbers of the stage evaluate."""
        ...

    def alert(self, title: str, text: str) -> None:
        """Tell people something now; trackers that reach nobody drop it."""
        ...

    def close(self) -> None:
        """Write out what is pending; nothing may be logged afterwards."""
        ...


class TrackerSettings(Protocol):
    """A tracker as a recipe names it (`track: {wandb: {...}}`): a frozen dataclass."""

    @property
    def log_images(self) -> bool:
        """Whether it may show images of the picks."""
        ...

    def check(self) -> None:
        """InputError where it cannot work on this machine: a package is missing."""
        ...

    def open(self, run_dir: Path, recipe: Mapping[str, object], digest: str) -> Tracker:
        """The tracker of a run, on every start: it goes on where an earlier process stopped, by metrics.jsonl.

        recipe: the resolved recipe as plain values; its paths are cut (`shareable`) before anything leaves the machine.
        digest: the recipe's; `run_id` tells runs apart.
        """
        ...

    def log_bench(self, folder: Path, bench: BenchNumbers) -> None:
        """Show a bench whose results are in `folder`; called again, it replaces."""
        ...


class Trackers:
    """The file that holds the truth and its mirrors by name; `Trackers()` tracks nothing.

    A mirror that fails says one line and is left out from there on: it catches up from metrics.jsonl at the next start.
    A value that is not finite is said once.
    """

    def __init__(self, truth: Tracker | None = None, mirrors: Mapping[str, Tracker] | None = None) -> None:
        self._truth, self._mirrors, self._finite = truth, dict(mirrors or {}), True

    @property
    def mirrored(self) -> bool:
        """Whether anyone takes more than numbers."""
        return any(not isinstance(tracker, Trackers) for tracker in self._mirrors.values())

    def log(
        self, values: Mapping[str, Value], *, stage: str, round: int | None = None, step: int | None = None
    ) -> None:
        """Hand the values to every tracker."""
        if self._finite and (bad := next((n for n, v in values.items() if not np.isfinite(v).all()), None)) is not None:
            self._finite = False
            place = stage if round is None else f"{stage}, round {round}"
            print(
                f"{place}: {bad} is not finite; such values are null in metrics.jsonl, trackers lack them",
                file=sys.stderr,
            )
        if self._truth is not None:
            self._truth.log(values, stage=stage, round=round, step=step)
        self._each(lambda tracker: tracker.log(values, stage=stage, round=round, step=step))

    def show(self, content: Content) -> None:
        """Hand a round's content to every mirror."""
        self._each(lambda tracker: tracker.show(content))

    def show_made(self, make: Callable[[], Content]) -> None:
        """Make a round's content and hand it to every mirror; where it cannot be made, one line says so."""
        try:
            content = make()
        except Exception as error:  # noqa: BLE001 (what is only shown must not end a run)
            print(f"the trackers lack the tables of this round: {' '.join(str(error).split())[:300]}", file=sys.stderr)
        else:
            self.show(content)

    def alert(self, title: str, text: str) -> None:
        """Alert through every mirror."""
        self._each(lambda tracker: tracker.alert(title, text))

    def close(self) -> None:
        """Close every tracker, also where one of them fails."""
        self._each(lambda tracker: tracker.close())
        if self._truth is not None:
            self._truth.close()

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._mirrors.items()):
            try:
                call(tracker)
            except Exception as error:  # noqa: BLE001 (a mirror's library may raise anything; the run goes on)
                say_failure(name, error)
                del self._mirrors[name]


def open_mirrors(
    settings: Mapping[str, TrackerSettings], run_dir: Path, recipe: Mapping[str, object], digest: str
) -> dict[str, Tracker]:
    """The trackers of a run by name; those that fail are said and left out, but for what a recipe asks in vain."""
    mirrors = {}
    for name, tracker in settings.items():
        try:
            mirrors[name] = tracker.open(run_dir, recipe, digest)
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 (a mirror's library may raise anything; the run goes on)
            say_failure(name, error)
    return mirrors


def say_failure(name: str, error: Exception) -> None:
    """One line about a mirror that is left out."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    way = "the run goes on without it, and the next call hands over what it misses"
    print(f"track.{name}: {text}; {way}", file=sys.stderr)


def need_package(where: str, package: str, extra: str) -> None:
    """InputError where a package is missing that is an extra."""
    if importlib.util.find_spec(package) is None:
        raise InputError(where, f"its package (pip install 'hybrid-al[{extra}]')", f"no {package} here")


def run_id(run_dir: Path, recipe: Mapping[str, object], digest: str) -> str:
    """Fixed id of a run, in letters that every tracker takes: name, seed, and the id that its directory was given.

    A directory that was begun before there were such ids has the recipe's digest in its place.
    """
    file = run_dir / "run.json"
    facts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return f"{slug(str(recipe['name']))}-s{recipe['seed']}-{facts.get('id', digest[:8])}"


def slug(name: str) -> str:
    """A name in letters that ids and files take, at most 80."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:80]


def log_to(tracker: Tracker, *, stage: str, round: int | None = None) -> Log:
    """The tracker as the function that `Learner.fit` expects: (values, step) -> None."""

    def log(values: Mapping[str, float], step: int) -> None:
        tracker.log(values, stage=stage, round=round, step=step)

    return log


def shareable(recipe: Mapping[str, object]) -> dict[str, object]:
    """The recipe with every path cut to its last part: folder names tell of people, places and projects.

    Cut are the values of `root`, `images` and `weights`, and whatever looks like an absolute path.
    """
    return {key: _cut(value, is_path=key in _PATH_KEYS) for key, value in recipe.items()}


def _cut(value: object, *, is_path: bool = False) -> object:
    if isinstance(value, Mapping):
        return shareable(value)
    if isinstance(value, list | tuple):
        return [_cut(item, is_path=is_path) for item in value]
    if isinstance(value, str) and (is_path or _ABSOLUTE.match(value)):
        return PurePosixPath(value.replace("\\", "/")).name
    return value
