"""Worker processes that outlive the failure of a task: what fails, or dies, is reported and the rest goes on."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..core.parent import leave_with
from ..errors import HybridALError

if TYPE_CHECKING:
    from loky import ProcessPoolExecutor

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """A task with its result, or with why there is none."""

    task: T
    result: R | None
    failure: str | None = None


@contextmanager
def shared_workers() -> Iterator[list[ProcessPoolExecutor]]:
    """Worker processes that several calls of `run_all` share: each imports everything once, and ends with the block."""
    idle: list[ProcessPoolExecutor] = []
    try:
        yield idle
    finally:
        for worker in idle:
            worker.shutdown(kill_workers=True)


def run_all(
    work: Callable[[T], R],
    tasks: Iterable[T],
    jobs: int,
    *,
    go_on: Callable[[], bool] = lambda: True,
    workers: list[ProcessPoolExecutor] | None = None,
) -> Iterator[Outcome[T, R]]:
    """Results in the order in which they come; `work` must be importable. No task starts once `go_on()` is false.

    Each worker computes with one thread, so that results do not depend on their number. Workers end with this
    process, however it ends; those of `workers` take the tasks of the next call.
    """
    from loky import FIRST_COMPLETED, BrokenProcessPool, wait

    waiting = iter(tasks)
    idle = list[Any]() if workers is None else workers
    busy = dict[Any, tuple[Any, T]]()  # futures with their executors and tasks
    try:
        while True:
            while len(busy) < jobs and go_on() and (task := next(waiting, None)) is not None:
                with _shared_memory():
                    worker = idle.pop() if idle else _worker()
                    busy[worker.submit(_answer, work, task)] = worker, task
            while idle and workers is None:  # there is nothing left for them
                idle.pop().shutdown()
            if not busy:
                return
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                worker, task = busy.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    worker.shutdown()
                    codes = re.search(r"{(.*)}", str(error))
                    yield Outcome(task, None, f"its process died ({codes[1] if codes else _line(error)})")
                else:
                    idle.append(worker)
                    yield Outcome(task, *(future.result() if error is None else (None, _line(error))))
    finally:
        for worker in [*(idle if workers is None else ()), *(worker for worker, _ in busy.values())]:
            worker.shutdown(kill_workers=True)


def _worker() -> ProcessPoolExecutor:
    """One process: an executor of several gives up the tasks of all of them when one dies."""
    from loky import ProcessPoolExecutor

    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return ProcessPoolExecutor(1, initializer=_begin, initargs=(os.getpid(),), env=threads)


@contextmanager
def _shared_memory() -> Iterator[None]:
    """HybridALError where the start of a worker finds no room for what it shares with this process."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN):
            raise
        way = "mount it with some room, as docker run --shm-size 64m does"
        raise HybridALError(f"workers need shared memory (/dev/shm): {error.strerror}; {way}") from error


def _begin(parent: int) -> None:
    """The start of a worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    leave_with(parent)


def _answer(work: Callable[[T], R], task: T) -> tuple[R | None, str | None]:
    """The result of a task, or how it failed: not every exception can be sent as it is."""
    try:
        return work(task), None
    except Exception as error:  # noqa: BLE001 - whatever fails is one task's failure, said in one line
        return None, _line(error)


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
