"""Signals that stop a command: its exit code, and its end where a computation does not come to one."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator

__all__ = ["SIGNALS", "STOPPED", "UNCHANGED", "stops"]

UNCHANGED = "the last commit is unchanged"
STOPPED = f"interrupted; {UNCHANGED}, and the same command goes on"
SIGNALS = {name: 128 + number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))}
"""Signals that stop a command, and their exit codes."""
GRACE = 10.0  # seconds after a signal in which a computation may come to the next place where it can stop


@contextlib.contextmanager
def stops() -> Iterator[list[int]]:
    """Let signals end this process by their exit code; yields the list that gets the one that came.

    A library may turn the exit that a signal raises into an error of its own, or may be in code of C that comes back to
    Python late or never, as torch is while it waits for other processes: a thread that the signal wakes ends the
    process after `GRACE` seconds. Of a signal that is ignored, as HUP is under nohup, nothing changes.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {code - 128: signal.getsignal(code - 128) for code in SIGNALS.values()}
    own = {n: handler for n, handler in before.items() if handler in (signal.SIG_DFL, signal.default_int_handler)}
    hears, tells = socket.socketpair()
    tells.setblocking(False)
    process = os.getpid()

    def stop(number: int, _: object) -> None:
        for other in own:  # a second one, as terminals and torchrun send it, does nothing up to the end; of one that
            signal.signal(other, lambda *_: None)  # comes before SIG_IGN is set Python would print a traceback
        own.clear()
        came.append(number)
        if os.getpid() == process:  # no child that was forked
            tells.send(bytes([number]))  # an event loop may have taken the place where Python writes it
        raise SystemExit(128 + number)

    try:
        threading.Thread(target=_end_late, args=(hears, frozenset(own)), name="stops", daemon=True).start()
    except RuntimeError:  # the machine has none left
        hears.close()
        tells.close()
        raise
    for number in own:
        signal.signal(number, stop)
    woken = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
    try:
        yield came
    finally:
        for number, handler in [*own.items()]:  # a signal at this moment empties it
            signal.signal(number, handler)
        signal.set_wakeup_fd(woken)
        if not came:  # else the thread watches the end of the process too
            tells.close()


def _end_late(hears: socket.socket, numbers: frozenset[int]) -> None:
    """Wait for a signal, and end the process if it is still there `GRACE` seconds later."""
    with hears:
        while (told := hears.recv(1)) and told[0] not in numbers:
            pass
        if told:
            threading.Event().wait(GRACE)
            with contextlib.suppress(OSError):  # nobody may read it, and a pipe that is full would hold us
                if select.select([], [2], [], 0)[1]:
                    os.write(2, f"{STOPPED}\n".encode())
            os._exit(128 + told[0])


def _part_from_parent() -> None:
    """In a forked child: a signal that ends it, as pools send it, is none of its parent's."""
    signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_part_from_parent)
