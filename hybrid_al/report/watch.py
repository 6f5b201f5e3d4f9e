"""A report that follows runs while they go on: written anew whenever their directories have changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ..core.rundir import RunDir
from ..errors import HybridALError
from .comparison import Verdict
from .overview import standing, write_reports
from .pictures import Pictures

EVERY = 15.0  # seconds between two looks
ROUNDS = ("run.json", "rounds/*/*.json", "random/*/rounds/*/round.json")
"""What is committed: where it changes, the model is loaded anew."""
FILES = (*ROUNDS, "progress.json", "stage0/*.json", "rounds/*/answers/*.csv", "ledger.jsonl")


def keep_writing(
    runs: Sequence[Path],
    out: Path | None,
    *,
    verdict: Verdict | None = None,
    say: Callable[[str], None] = lambda _: None,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Write the report until every run is finished; then once more, so that the page stays as it is.

    say  gets a line where the page is written first and last, and where it could not be; wait: sleeps so many seconds
    A run that is not there, or a folder that cannot be written to, is an error at the first writing.
    """
    before: object = None
    committed: object = None
    drawn = dict[Path, Pictures]()
    while True:
        state = _state(runs, FILES)
        if (now := _state(runs, ROUNDS)) != committed:
            committed = now
            drawn.clear()
        over = all(standing(RunDir(run))[-1].strip().startswith("finished") for run in runs)
        if over or state != before:
            try:
                page = write_reports(runs, out, verdict=verdict, refresh=0 if over else int(EVERY), drawn=drawn)
            except HybridALError as error:
                if before is None or over:
                    raise
                say(f"not written: {error}")
            else:
                if before is None and not over:
                    say(f"Report: {page}, written anew every {EVERY:.0f} s where a run has changed; Ctrl-C ends it")
        if over:
            say(f"Report: {page}")
            return
        before = state
        wait(EVERY)


def _state(runs: Sequence[Path], patterns: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    """Names, times and sizes of some files of runs."""
    state = []
    for run in runs:
        for file in sorted(path for pattern in patterns for path in run.glob(pattern)):
            try:
                seen = file.stat()
            except FileNotFoundError:  # a temporary file that took its place in between
                continue
            state.append((str(file), seen.st_mtime_ns, seen.st_size))
    return tuple(state)
