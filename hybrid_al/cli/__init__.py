"""The command line: the door that every command goes in and out by. Its verbs are in the files beside this one."""

from __future__ import annotations

import errno
import io
import itertools
import os
import select
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from .. import __version__
from ..errors import HybridALError, short
from . import signals
from .base import app

from . import setup, rounds, people, results  # isort: skip  (their verbs, in the order of the help)

__all__ = ["app", "main"]

OF_THE_MACHINE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.ESTALE),
    *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EMFILE, errno.ENFILE),
    *(errno.EEXIST, errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.EBUSY, errno.EAGAIN, errno.ENOLCK, errno.ENOTCONN),
    *(errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
}
"""Errors of the operating system that are no fault of ours: the disk, permissions, names that it cannot have, files
that another program removed or made meanwhile, a network share that is gone."""
OF_PLACES = {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
"""Those of them that a fault of ours may be behind, where nobody named the path: they leave a trace."""
UNREAD = 128 + 13
"""The exit code where the reader of what is printed went away, as `head` does: that of SIGPIPE, also without a word."""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: exit code 0 done, 1 a fault of ours, 2 wrong input (one line), 3 waiting for labels.

    After a signal it is 128 and the number of the signal: 130 (INT), 143 (TERM), 129 (HUP); 141 (PIPE) where nobody
    reads on what it prints.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    _open_streams()
    try:
        with signals.stops() as came:
            _call(words, came)
    except SystemExit as end:
        if end.code in signals.SIGNALS.values():
            _say(signals.STOPPED)
        raise
    except Exception as error:  # noqa: BLE001 (what `stops` itself needs is not there)
        _end(error, words)


def _call(words: Sequence[str], came: Sequence[int]) -> None:
    """Do a command; `came`: see `stops`."""
    try:
        app(args=words)
    except SystemExit as end:
        if not came and isinstance(error := end.__context__, BrokenPipeError):  # typer ends so without a word
            if _is_unread():
                sys.exit(UNREAD)
            _end(error, words)
        raise
    except Exception as error:  # noqa: BLE001 (the last door)
        if came:  # a library made an error of its own of the exit
            sys.exit(128 + came[0])
        _end(error, words)
    finally:
        _flush(came)


def _open_streams() -> None:
    """Streams that the caller closed lead nowhere: the first files that are opened would take their place."""
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(free)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (up to the end)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show stops nothing


def _say(line: str) -> None:
    """A last line; where nobody can read it the exit code still tells."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _end(error: Exception, argv: Sequence[str]) -> NoReturn:
    """Say what an error means, and end with its exit code."""
    code, line = _last_words(error, argv)
    _say(line)
    sys.exit(code)


def _last_words(error: Exception, argv: Sequence[str]) -> tuple[int, str]:
    """The exit code of an error, and what is said of it: whatever is not ours is a fault of ours, or of the machine."""
    if isinstance(error, HybridALError):
        return error.exit_code, str(error)
    if isinstance(error, UnicodeEncodeError):
        around = error.object[max(error.start - 60, 0) : error.end]
        return 2, f"{around!r}: expected text in UTF-8, got bytes that are none at its end"
    if said := _of_the_machine(error):
        doubtful = isinstance(error, OSError) and error.errno in OF_PLACES and not _is_named(error, argv)
        trace = _trace(error, argv) if doubtful else ""
        return 2, f"{said}; {signals.UNCHANGED}{f'; if no other program did that, {trace}' if trace else ''}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    line = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    text = f"a fault of hybrid-al, not of yours: {line} ({Path(last.filename).name} line {last.lineno})"
    return 1, f"{text}; {trace}" if (trace := _trace(error, argv)) else text


def _is_named(error: OSError, argv: Sequence[str]) -> bool:
    """Whether a word of the command is the path of an error."""
    path = error.filename2 or error.filename
    named = {word for argument in argv for word in (argument, argument.partition("=")[2]) if word}
    return isinstance(path, str | bytes | Path) and Path(os.fsdecode(path)).absolute() in map(
        Path.absolute, map(Path, named)
    )


def _of_the_machine(error: Exception) -> str:
    """What ran out or is not allowed, in words; empty where it is a fault of ours."""
    if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
        way = "; a higher limit: ulimit -n 4096" if error.errno in (errno.EMFILE, errno.ENFILE) else ""
        way = "; a higher limit of processes: ulimit -u" if error.errno == errno.EAGAIN else way
        return f"{short(str(error.filename2 or error.filename or 'disk'))}: {error.strerror}{way}"
    text = short(" ".join(str(error).split()))
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in text):
        return f"the memory of this machine does not suffice ({text or type(error).__name__})"
    if isinstance(error, RuntimeError) and "start new thread" in text:
        return "this machine lets us start no more threads; a higher limit: ulimit -u, or -v where memory is short"
    return ""


def _trace(error: Exception, argv: Sequence[str]) -> str:
    """Write the trace of an error to a file, in the run directory where the command names one; what to do with it.

    Empty where it cannot be written.
    """
    from ..core.rundir import RunDir

    places = [Path(after) for before, after in itertools.pairwise(argv) if before == "--run-dir" or after == argv[1]]
    about = f"hybrid-al {__version__}, Python {sys.version}, {sys.platform}\ncommand: {shlex.join(argv)}\n\n"
    try:
        folder = next((place for place in places if RunDir(place).exists()), None) or Path(tempfile.gettempdir())
        file = folder / f"hybrid-al-fault-{time.strftime('%Y%m%d-%H%M%S')}.txt"
        file.write_text(about + "".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace")
    except OSError:
        return ""
    content = "the trace, the command and the versions, and of images and patients nothing but paths"
    return f"please send {file} to the authors: it holds {content}"


def _is_unread() -> bool:
    """Whether nobody reads what is printed any more."""
    streams = select.poll()
    for stream in (1, 2):
        streams.register(stream, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in streams.poll(0))


def _flush(came: Sequence[int]) -> None:
    """Write out what was printed, of which a full disk is said; `came`: see `stops`."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:
            _say(f"standard output: {error.strerror}")
            sys.exit(2)
        if not came:
            sys.exit(UNREAD)
