"""What a run does at the moment: how fast, how long still; a file in its directory says it to other terminals."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import RunLocked
from .temporary import IDLE, temporary_name

Progress = Callable[[int, int, str], None]
"""(steps done, steps in all, message) -> None."""

FILE, PAUSE = "progress.json", 1.0


@dataclass(frozen=True)
class Activity:
    """A stage under way: steps done and in all, seconds a step and seconds left, None before they are known."""

    stage: str
    done: int
    total: int
    pace: float | None
    left: float | None
    time: float

    def line(self) -> str:
        """All of it in words."""
        parts = [f"{self.stage} ({self.done} of {self.total})"]
        if self.pace is not None:
            parts.append(f"{1 / self.pace:.3g} a second" if 0 < self.pace < 1 else f"{self.pace:.3g} s each")
        parts.append("time left not known yet" if self.left is None else f"{in_words(self.left)} left")
        return ", ".join(parts)


@dataclass
class Pace:
    """Seconds a step of the stage under way; steps that an earlier call did say nothing of this one's speed."""

    clock: Callable[[], float] = time.monotonic
    _total: int = -1
    _done: int = 0
    _first: int = 0
    _began: float = field(default=0.0)

    def activity(self, done: int, total: int, stage: str) -> Activity:
        """The activity after so many steps."""
        now = self.clock()
        if total != self._total or done < self._done:
            self._total, self._first, self._began = total, done, now
        self._done = done
        pace = (now - self._began) / (done - self._first) if done > self._first else None
        left = None if pace is None else pace * (total - done)
        return Activity(stage, done, total, pace, left, time.time())


@contextmanager
def activity(run: Path | None, show: Callable[[Activity], None] = lambda _: None) -> Iterator[Progress]:
    """Takes steps, and writes them to the run directory at most once a second; the file is gone at the end.

    show  gets every step too
    """
    pace, written, file = Pace(), float("-inf"), None if run is None else run / FILE

    def step(done: int, total: int, stage: str) -> None:
        nonlocal written
        now = pace.activity(done, total, stage)
        show(now)
        if file is not None and time.monotonic() - written >= PAUSE:
            written = time.monotonic()
            _write(file, now)

    try:
        yield step
    finally:
        if file is not None:
            file.unlink(missing_ok=True)


def current(run: Path) -> tuple[Activity, bool] | None:
    """The activity of a run and whether its process is alive; None where it does nothing.

    Where the run is not this user's to lock, one that wrote within `IDLE` seconds counts as alive.
    """
    try:
        now = Activity(**json.loads((run / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    from .rundir import RunDir

    try:
        with RunDir(run).lock():
            return (now, False) if (run / FILE).is_file() else None
    except RunLocked:
        return now, True
    except OSError:
        return now, abs(time.time() - now.time) < IDLE


def _write(file: Path, now: Activity) -> None:
    """By rename, so that readers see a whole file; not synced, as it is worth nothing after a crash."""
    temporary = temporary_name(file)
    with suppress(OSError):  # a run does not end for want of a progress file
        temporary.write_text(json.dumps(asdict(now)), encoding="utf-8")
        temporary.replace(file)


def in_words(seconds: float) -> str:
    """A span of time in seconds, minutes or hours."""
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"
