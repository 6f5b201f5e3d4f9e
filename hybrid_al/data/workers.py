"""Reading by several threads: decoders let other threads run, and what comes out is the same for any number of them."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from functools import lru_cache, wraps
from itertools import groupby
from typing import ParamSpec, TypeVar

from ..core.process_wide import ProcessWide

P = ParamSpec("P")
T = TypeVar("T")
JOB = 16  # samples that one thread reads at least: those beside each other share files


def jobs_of(paths: Iterable[str]) -> Iterator[list[int]]:
    """Positions in runs of at least `JOB`, in order; what lies in one file, as `a.nii#3` does, stays together."""
    job: list[int] = []
    for _, rows in groupby(enumerate(paths), key=lambda row: row[1].partition("#")[0]):
        job += [i for i, _ in rows]
        if len(job) >= JOB:
            yield job
            job = []
    if job:
        yield job


def each(jobs: Iterable[Sequence[T]], work: Callable[[T], object], workers: int) -> None:
    """Call `work` with everything in the jobs, each job in its order by one of `workers` threads.

    The first error ends all of them, and is raised; so does an interrupt.
    """
    queue, lock, ended = iter(jobs), threading.Lock(), threading.Event()

    def run() -> None:
        try:
            while True:
                with lock:
                    job = next(queue, ())
                if not job:
                    return
                for item in job:
                    if ended.is_set():
                        return
                    work(item)
        except BaseException:
            ended.set()
            raise

    if workers == 1:
        run()
        return
    with ThreadPoolExecutor(workers) as pool:
        try:
            for future in [pool.submit(run) for _ in range(workers)]:
                future.result()
        finally:
            ended.set()


def kept(most: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """As `lru_cache`, for each thread alone: no thread pushes out what another reads, or moves in a file of its own."""

    def decorate(find: Callable[P, T]) -> Callable[P, T]:
        local = threading.local()

        @wraps(find)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            if not hasattr(local, "find"):
                local.find = lru_cache(most)(find)
            value: T = local.find(*args, **kwargs)
            return value

        return call

    return decorate


def _no_warnings(before: ExitStack) -> None:
    before.enter_context(warnings.catch_warnings(action="ignore"))


_quiet = ProcessWide(_no_warnings)


def quiet() -> AbstractContextManager[None]:
    """No warnings inside the block, which any number of threads may be in: `catch_warnings` is the whole process's."""
    return _quiet.block()
