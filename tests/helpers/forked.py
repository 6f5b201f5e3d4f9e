"""Calls in forked children of this process, which has imported everything: they start at once, and may die."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hybrid_al.cli import main


@dataclass
class Child:
    """A call at work, and the files that hold what it says."""

    pid: int
    out: Path
    err: Path
    code: int | None = None

    def ended(self) -> int | None:
        """Its exit code, -n where signal n ended it; None while it is at work."""
        if self.code is None and (status := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.code = os.waitstatus_to_exitcode(status[1])
        return self.code

    def wait(self, seconds: float = 600.0) -> int:
        """The same once it has ended; -SIGKILL where that takes longer."""
        end = time.monotonic() + seconds
        while (code := self.ended()) is None:
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.002)
        return code

    def lines(self) -> list[str]:
        """What it said to stderr."""
        return self.err.read_text(encoding="utf-8").splitlines()


def fork(call: Callable[[], object], folder: Path) -> Child:
    """Start a call in a child that ends as a program of its own does; what it says goes to files in a folder."""
    child = Child(0, folder / "out", folder / "err")
    files = [file.open("w", encoding="utf-8") for file in (child.out, child.err)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns where this process has threads
        child.pid = os.fork()
    if child.pid == 0:
        _end_with(call, [file.fileno() for file in files])
    for file in files:
        file.close()
    return child


def _end_with(call: Callable[[], object], files: list[int]) -> None:
    code = 1
    try:
        for number, file in enumerate(files, 1):
            os.dup2(file, number)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", 1, encoding="utf-8", closefd=False) for n in (1, 2))
        os.environ.pop("WANDB_SERVICE", None)  # that of this process
        call()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 (the last door of this child)
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def program(*argv: object) -> Callable[[], None]:
    """A call of the command line."""
    return lambda: main([str(word) for word in argv])
