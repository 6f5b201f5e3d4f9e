"""Temporary files and folders, and those that killed processes left: whose one is stands in its name."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

OWNER = re.compile(r"\.(\d+)(?:-(\d+))?\.tmp$")
SCRATCH = "hybrid-al-"
ENDED = ("Z", "X")  # states of a process that is no more at work
IDLE = 600.0  # seconds without a change after which a temporary file of a cache is left over


def temporary_name(path: Path) -> Path:
    """Where this process writes what then takes the name `path`, in the same folder."""
    return path.with_name(f".{path.name}{_suffix(os.getpid())}")


def clear_left_overs(folder: Path, *, idle: float = 0.0) -> None:
    """Delete the temporary files of processes that are no more, from a folder and those below it.

    idle  seconds without a change before a file counts as left: `IDLE` in caches, into which other machines may write.
          One of the future is as old: the clock was set back
    """
    for top, folders, files in os.walk(folder):  # folders that another process removes meanwhile are no error
        for name in [*folders, *files]:
            _clear(Path(top, name), idle)


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder in the system's place for such; what killed processes left there goes first."""
    for old in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*.tmp"):
        _clear(old)
    return tempfile.TemporaryDirectory(prefix=SCRATCH, suffix=_suffix(os.getpid()))


def _clear(file: Path, idle: float = 0.0) -> None:
    with suppress(OSError):
        owner = OWNER.search(file.name)
        if owner and not _lives(int(owner[1]), owner[2]) and abs(time.time() - file.stat().st_mtime) >= idle:
            shutil.rmtree(file) if file.is_dir() else file.unlink()


def _lives(process: int, start: str | None) -> bool:
    """Whether a process is at work that began at `start`: another may have its number by now, as 1 in a container.

    One that ended is not, also where the process that started it has not asked how: the first of a container may never.
    """
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    state, began = _standing(process)
    return state not in ENDED and (start is None or (began or start) == start)


@cache
def _suffix(process: int) -> str:
    return f".{process}-{_standing(process)[1] or 0}.tmp"


def _standing(process: int) -> tuple[str, str]:
    """State of a process, and when it began, in ticks since the machine did; empty where the system does not tell."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", ""
    fields = text.rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else ("", "")
