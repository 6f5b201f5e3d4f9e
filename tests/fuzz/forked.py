"""Calls of the program in children of a process that has imported everything: each starts at once, in its own group."""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import hybrid_al.cli as door
from hybrid_al.cli import signals
from hybrid_al.core.parent import leave_with

SOFT = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
LINGER = 15.0  # seconds until what a child started must be gone too


@dataclass
class Child:
    """A call at work: its process, which leads a group, and the files of what it says."""

    pid: int
    out: Path
    err: Path
    code: int | None = None

    def wait(self, seconds: float) -> int | None:
        """The exit code, -n after signal n; None where it takes longer."""
        end = time.monotonic() + seconds
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                return None
            else:
                time.sleep(0.002)
        return self.code

    def stacks(self) -> str:
        """Where each of the group is, for one that hangs."""
        before = len(self.lines())
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGUSR1)
        time.sleep(1)
        return "\n".join(self.lines()[before:])

    def kill_all(self) -> None:
        """Kill what is left of the group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait(LINGER)

    def orphans(self) -> list[str]:
        """What the group still has a while after the end of its process."""
        end = time.monotonic() + LINGER
        while (alive := _members(self.pid)) and time.monotonic() < end:
            time.sleep(0.02)
        return alive

    def children(self) -> list[int]:
        """The processes that it started."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        except OSError:
            return []
        return [int(pid) for pid in text.split()]

    def lines(self) -> list[str]:
        """What it said to stderr."""
        return [line for line in self.err.read_text(encoding="utf-8", errors="replace").splitlines() if line]


def start(call: Callable[[], None], folder: Path) -> Child:
    """Fork a child for a call; its output goes to files in `folder`. Signals wait until the program takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    child = Child(0, folder / "out", folder / "err")
    for file in (child.out, child.err):
        file.write_bytes(b"")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SOFT)
    child.pid = os.fork()
    if not child.pid:
        os.setpgid(0, 0)
        for number in SOFT:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        for stream, file in ((1, child.out), (2, child.err)):
            os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), stream)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", 1, encoding="utf-8", closefd=False) for n in (1, 2))
        faulthandler.register(signal.SIGUSR1)
        _end_with(call, folder)
    with suppress(OSError):
        os.setpgid(child.pid, child.pid)  # here too: whoever comes first
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return child


def _end_with(call: Callable[[], None], folder: Path) -> NoReturn:
    """Do a call, note what it imported, and leave this process by its exit code."""
    code = 1
    try:
        call()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 (the last frame of this process)
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(Exception):
            note_modules(folder)
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def program(argv: Sequence[object]) -> None:
    """The program, which takes signals while it does so itself."""
    inner = signals.stops

    @contextmanager
    def stops() -> Iterator[list[int]]:
        with inner() as came:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SOFT)
            yield came

    signals.stops = stops
    try:
        door.main([str(a) for a in argv])
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, SOFT)


def two_processes(argv: Sequence[object], folder: Path) -> None:
    """The program in two processes, started and ended as torchrun does it: what fails takes the other with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "kills"}
    os.environ |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    workers, launcher = set[int](), os.getpid()
    for rank in ("0", "1"):
        os.environ |= {"RANK": rank, "LOCAL_RANK": rank}
        if not (pid := os.fork()):
            leave_with(launcher)  # which the program says too, but it may have lost it before
            _end_with(lambda: program(argv), folder)
        workers.add(pid)

    def pass_on(number: int, _: object) -> None:
        for pid in workers:
            os.kill(pid, number)

    for number in SOFT:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SOFT)
    first = 0
    while workers:
        pid, status = os.wait()
        workers.discard(pid)
        code = os.waitstatus_to_exitcode(status)
        if code and not first:
            first = code
            pass_on(signal.SIGTERM, None)
    sys.exit(first if first >= 0 else 1)


def _members(group: int) -> list[str]:
    """The processes of a group that are not over, by name."""
    alive = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = file.read_text(encoding="utf-8", errors="replace").rpartition(")")
            state, _, its_group = rest.split()[:3]
            if int(its_group) == group and state not in "ZX":
                alive.append(f"{name})")
    return alive


def note_modules(folder: Path) -> None:
    """Note what this process has imported, for `warm`."""
    (folder / f"modules-{os.getpid()}").write_text("\n".join(sys.modules), encoding="utf-8")


def warm(folder: Path) -> None:
    """Import what earlier calls of a folder imported, so that later ones need not."""
    for file in folder.glob("modules-*"):
        for name in file.read_text(encoding="utf-8").split():
            if name not in sys.modules:
                with suppress(Exception):
                    importlib.import_module(name)
        file.unlink()
