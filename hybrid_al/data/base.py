"""What a source gives: a manifest, the classes, the truth it found, and a way to read one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..manifest import Manifest
from ..types import IntArray

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
"""One image (H, W, C), C = 1 or 3: uint8, or float32 in [0, 1] where the file has more than 8 bits."""


@dataclass(frozen=True)
class Dataset:
    """One loaded source.

    classes  names, in the order of their numbers; may be empty for an unlabeled folder
    truth    class number of every sample (N,), -1 where unknown; handed to oracle and holdout, to nothing else
    read     position -> pixels; raises OSError or ValueError with the reason where the image cannot be read
    channels 1 or 3: what the images have
    reader   what decides the pixels besides the files (the window), so that a cache of pixels can tell
    skipped  (path, reason) of the images that on_error=skip left out
    """

    manifest: Manifest
    classes: tuple[str, ...]
    truth: IntArray
    read: Callable[[int], Pixels]
    channels: int
    reader: str = ""
    skipped: tuple[tuple[str, str], ...] = ()


class Source(Protocol):
    """A frozen dataclass of settings that finds samples somewhere; `SOURCES[name]` in `data/__init__.py`."""

    def load(self) -> Dataset:
        """Look at the data; bad input is an `InputError` that says where, what was expected, what came."""
        ...
