"""Operations on one thread each, and blocks of them in parallel: no thread spins at a barrier.

BLAS and OpenMP split every operation between threads, which spin until the last one is done. For thousands of short
operations on cores that others use too, that costs a hundred times the arithmetic. So the kernels compute `alone`, and
whole blocks of a large computation go to as many threads as torch may use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING

from ..core.process_wide import ProcessWide

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


def _one_thread(before: ExitStack) -> int:
    """Set one thread; returns how many were allowed."""
    import torch

    allowed = torch.get_num_threads()
    before.enter_context(_controller().limit(limits=1))
    before.callback(torch.set_num_threads, allowed)
    torch.set_num_threads(1)
    return allowed


_alone = ProcessWide(_one_thread)


@contextmanager
def alone() -> Iterator[None]:
    """torch and NumPy's BLAS on one thread inside the block; also a decorator. The settings before come back.

    The setting is the whole process's: the first block to begin makes it, the last to end restores it.
    """
    with _alone.block():
        yield


@cache
def _controller() -> ThreadpoolController:
    """The thread pools of the loaded libraries; to look for them takes longer than many a kernel."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def side_by_side(work: Callable[[slice], None], count: int, step: int) -> None:
    """Call `work` with slices of at most `step` of 0..count, in parallel where threads are allowed and there is no GPU.

    One thread works on a slice, so the result does not depend on the number of threads.
    """
    import torch

    parts = [slice(i, min(i + step, count)) for i in range(0, count, step)]
    workers = min(_alone.made or 1, len(parts)) if _alone.users and not torch.cuda.is_available() else 1
    if workers <= 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(work, parts):
            pass
