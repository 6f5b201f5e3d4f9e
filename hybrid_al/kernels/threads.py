"""Arithmetic on one thread, and blocks of it side by side: no thread waits at a barrier while it burns a core.

BLAS and OpenMP share every single operation out between threads, which spin until the last is done. Where a method is
thousands of short operations and others use the cores too, that costs a hundred times the arithmetic. So the kernels
compute `alone`, and where there is enough to do, whole blocks go to as many threads as torch was allowed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


class _Process:
    """Who computes alone at the moment, and what was set before."""

    lock = threading.Lock()
    users = 0
    allowed = 1
    before = ExitStack()


@contextmanager
def alone() -> Iterator[None]:
    """torch and NumPy's BLAS on one thread, here and in what is called; also a decorator. What was set comes back.

    The setting is the process's: the first in makes it, the last out ends it.
    """
    import torch

    with _Process.lock:
        if not _Process.users:
            _Process.allowed = torch.get_num_threads()
            _Process.before.enter_context(_controller().limit(limits=1))
            _Process.before.callback(torch.set_num_threads, _Process.allowed)
            torch.set_num_threads(1)
        _Process.users += 1
    try:
        yield
    finally:
        with _Process.lock:
            _Process.users -= 1
            if not _Process.users:
                _Process.before.close()


@cache
def _controller() -> ThreadpoolController:
    """What is loaded by now; to look for it takes longer than many a kernel."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def side_by_side(work: Callable[[slice], None], count: int, step: int) -> None:
    """`work` on slices of at most `step` of 0..count, several at a time where threads are allowed and there is no GPU.

    Each slice is worked on by one thread, so what comes out does not depend on how many there are.
    """
    import torch

    parts = [slice(i, min(i + step, count)) for i in range(0, count, step)]
    workers = min(_Process.allowed, len(parts)) if _Process.users and not torch.cuda.is_available() else 1
    if workers <= 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(work, parts):
            pass
