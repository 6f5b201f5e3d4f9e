"""Masks from boxes and points: a promptable segmenter at work beside the server, on one image at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock

import numpy as np
import numpy.typing as npt

from ..models.promptable import Embedded, Prompt, Promptable

KEPT = 16  # embeddings, of 4 MB each


class Proposing:
    """A segmenter in a thread of its own, with the embeddings of the last images.

    shown  position -> the image (H, W, 1 or 3) as a person sees it
    """

    def __init__(self, segmenter: Promptable, shown: Callable[[int], npt.NDArray[np.uint8]]) -> None:
        self._segmenter, self._shown = segmenter, shown
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="segmenter")
        self._embedded: OrderedDict[int, Future[Embedded]] = OrderedDict()
        self._lock = Lock()

    def prepare(self, index: int) -> Future[Embedded]:
        """Begin with an image that somebody looks at; others that wait for their turn are dropped."""
        with self._lock:
            for other, waiting in list(self._embedded.items()):
                if other != index and waiting.cancel():
                    del self._embedded[other]
            future = self._embedded.get(index)
            if future is None or (future.done() and future.exception() is not None):
                future = self._worker.submit(lambda: self._segmenter.embed(self._shown(index)))
            self._embedded[index] = future
            self._embedded.move_to_end(index)
            while len(self._embedded) > KEPT:
                self._embedded.popitem(last=False)
            return future

    def mask(self, index: int, prompt: Prompt, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """The structure of a prompt (H, W): 255 in it, else 0. InputError for a prompt outside the image of `size`."""
        prompt.check(*size)
        embedded = self._embedding(index)
        return self._worker.submit(self._segmenter.mask, embedded, prompt).result() * np.uint8(255)

    def _embedding(self, index: int) -> Embedded:
        while True:
            with suppress(CancelledError):  # by another tab, which looks at another image
                return self.prepare(index).result()

    def close(self) -> None:
        """End the thread, whatever waits."""
        self._worker.shutdown(wait=False, cancel_futures=True)
