"""Processes that end with the one that started them, however that ends."""

from __future__ import annotations

import os
import threading
import time

PAUSE = 0.5  # seconds between two looks


def leave_with(parent: int) -> None:
    """End this process, with exit code 1, once `parent` is its parent no more: also where that was killed."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PAUSE)
    os._exit(1)
