"""The command line: the door that every command goes in and out by. Its verbs are in the files beside this one."""

from __future__ import annotations

import errno
import io
import itertools
import os
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..errors import HybridALError
from .base import app

from . import setup, rounds, people, results  # isort: skip  (their verbs, in the order of the help)

__all__ = ["app", "main"]

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: exit code 0 done, 1 a fault of ours, 2 wrong input (one line), 3 waiting for labels, 130 stopped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show stops nothing
    try:
        app(args=None if argv is None else list(argv))
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("interrupted; the last commit is unchanged, and the same command goes on", file=sys.stderr)
        raise
    except HybridALError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 (the last door: whatever gets here is a fault of ours, or of the disk)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            print(f"{error.filename or 'disk'}: {error.strerror}; the last commit is unchanged", file=sys.stderr)
            sys.exit(2)
        print(_fault(error, sys.argv[1:] if argv is None else argv), file=sys.stderr)
        sys.exit(1)
    finally:
        _flush()


def _fault(error: Exception, argv: Sequence[str]) -> str:
    """Write the trace of a fault to a file, in the run directory where the command names one; what to do with it."""
    from ..core.rundir import RunDir

    places = [Path(after) for before, after in itertools.pairwise(argv) if before == "--run-dir" or after == argv[1]]
    folder = next((place for place in places if RunDir(place).exists()), Path(tempfile.gettempdir()))
    file = folder / f"hybrid-al-fault-{time.strftime('%Y%m%d-%H%M%S')}.txt"
    about = f"hybrid-al {__version__}, Python {sys.version}, {sys.platform}\ncommand: {shlex.join(argv)}\n\n"
    last = traceback.extract_tb(error.__traceback__)[-1]
    line = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    text = f"a fault of hybrid-al, not of yours: {line} ({Path(last.filename).name} line {last.lineno})"
    try:
        file.write_text(about + "".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace")
    except OSError:
        return text
    content = "the trace, the command and the versions, and of images and patients nothing but paths"
    return f"{text}; please send {file} to the authors: it holds {content}"


def _flush() -> None:
    """Write out what was printed; a reader that went away, as `head` does, is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
