"""Settings of the whole process that blocks in several threads make together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class ProcessWide(Generic[T]):
    """A setting that the first block to begin makes, and the last to end restores.

    make    makes it, and gives the stack what restores it
    users   blocks that are inside
    made    what `make` returned the last time; None before
    """

    def __init__(self, make: Callable[[ExitStack], T]) -> None:
        self.users = 0
        self.made: T | None = None
        self._make, self._lock, self._before = make, threading.Lock(), ExitStack()

    @contextmanager
    def block(self) -> Iterator[None]:
        """A block with the setting; any number of threads may be in one."""
        with self._lock:
            if not self.users:
                self.made = self._make(self._before)
            self.users += 1
        try:
            yield
        finally:
            with self._lock:
                self.users -= 1
                if not self.users:
                    self._before.close()
