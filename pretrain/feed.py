"""What a training reads, part by part: rows in the order of a schedule, and their images, loaded ahead for a GPU."""

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
    """How the pool is cut up: an epoch is `per_epoch` steps of `batch` images, a step is `parts` parts.

    The images that do not fill a batch are left out, others in each epoch. All processes share each part evenly.
    """

    batch: int
    per_epoch: int
    epochs: int
    parts: int
    world: int

    @classmethod
    def of(cls, method: Method, pool: int, world: int = 1) -> Schedule:
        """The schedule of a method for a pool of so many images; a smaller pool is one batch, as far as it divides.

        Errors: a batch that does not divide, fewer than two images a process and part.
        """
        shares = world * method.accumulate
        named = f"{world} processes x accumulate={method.accumulate}"
        if method.batch % shares:
            raise InputError("pretrain.batch", f"a multiple of {named}", str(method.batch))
        batch = min(method.batch, pool // shares * shares)
        if batch < 2 * shares:
            expected = "at least two images a process and part, for batch norm and contrast need others"
            come = f"a pool of {pool}" if pool < method.batch else f"a batch of {method.batch}"
            raise InputError("pretrain.batch", expected, f"{come}, {named}")
        return cls(batch, pool // batch, method.epochs, method.accumulate, world)

    @property
    def total(self) -> int:
        """Steps in all."""
        return self.per_epoch * self.epochs

    def rows(self, pool: IntArray, seed: int, start: int) -> Iterator[IntArray]:
        """The rows of every part from step `start` on, those of all processes."""
        order: IntArray = pool
        for step in range(start, self.total):
            epoch, i = divmod(step, self.per_epoch)
            if i == 0 or step == start:
                order = derive(seed, "pretrain-order", epoch).permutation(pool)
            yield from np.split(order[i * self.batch : (i + 1) * self.batch], self.parts)

    def share(self, rows: IntArray, rank: int) -> IntArray:
        """The rows of one process of those of a part."""
        mine: IntArray = np.split(rows, self.world)[rank]
        return mine


def feed(
    parts: Iterable[IntArray], load: Callable[[IntArray], Tensor], *, ahead: int
) -> Iterator[tuple[IntArray, Tensor]]:
    """(rows, load(rows)) of each part; `ahead` parts are loaded by a thread while the last one is worked on."""
    if not ahead:
        yield from ((rows, load(rows)) for rows in parts)
        return
    with ThreadPoolExecutor(1) as thread:
        coming: deque[tuple[IntArray, Future[Tensor]]] = deque()
        for rows in parts:
            coming.append((rows, thread.submit(load, rows)))
            if len(coming) > ahead:
                first, images = coming.popleft()
                yield first, images.result()
        for rows, images in coming:
            yield rows, images.result()
