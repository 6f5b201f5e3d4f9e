"""Input of a training, chunk by chunk: rows in the order of a schedule, and their images, loaded ahead for a GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hybrid_al.core.rng import derive
from hybrid_al.core.types import IntArray
from hybrid_al.errors import InputError

from .base import Method


@dataclass(frozen=True)
class Schedule:
    """Division of the pool: an epoch is `per_epoch` steps of `batch` images, a step is `chunks` chunks.

    The images that do not fill a batch are left out, different ones in each epoch. The processes share each chunk
    evenly.
    """

    batch: int
    per_epoch: int
    epochs: int
    chunks: int
    world: int

    @classmethod
    def of(cls, method: Method, pool: int, world: int = 1) -> Schedule:
        """The schedule of a method for `pool` images; a pool smaller than a batch is one batch, as far as it divides.

        Errors: a batch that does not divide, fewer than two images a process and chunk.
        """
        shares = world * method.accumulate
        divisor = f"{world} processes x accumulate={method.accumulate}"
        if method.batch % shares:
            raise InputError("pretrain.batch", f"a multiple of {divisor}", str(method.batch))
        batch = min(method.batch, pool // shares * shares)
        if batch < 2 * shares:
            expected = "at least two images a process and chunk, for batch norm and contrast need others"
            came = f"a pool of {pool}" if pool < method.batch else f"a batch of {method.batch}"
            raise InputError("pretrain.batch", expected, f"{came}, {divisor}")
        return cls(batch, pool // batch, method.epochs, method.accumulate, world)

    @property
    def total(self) -> int:
        """Steps in all."""
        return self.per_epoch * self.epochs

    def rows(self, pool: IntArray, seed: int, start: int) -> Iterator[IntArray]:
        """The rows of every chunk from step `start` on, for all processes."""
        order: IntArray = pool
        for step in range(start, self.total):
            epoch, i = divmod(step, self.per_epoch)
            if i == 0 or step == start:
                order = derive(seed, "pretrain-order", epoch).permutation(pool)
            yield from np.split(order[i * self.batch : (i + 1) * self.batch], self.chunks)

    def share(self, rows: IntArray, rank: int) -> IntArray:
        """The rows of one process among those of a chunk."""
        share: IntArray = np.split(rows, self.world)[rank]
        return share


def feed(
    chunks: Iterable[IntArray], load: Callable[[IntArray], Tensor], *, ahead: int
) -> Iterator[tuple[IntArray, Tensor]]:
    """(rows, load(rows)) of each chunk; a thread loads `ahead` chunks while the last one is in use."""
    if not ahead:
        yield from ((rows, load(rows)) for rows in chunks)
        return
    with ThreadPoolExecutor(1) as thread:
        queue: deque[tuple[IntArray, Future[Tensor]]] = deque()
        for rows in chunks:
            queue.append((rows, thread.submit(load, rows)))
            if len(queue) > ahead:
                first, images = queue.popleft()
                yield first, images.result()
        for rows, images in queue:
            yield rows, images.result()
