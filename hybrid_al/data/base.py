"""The dataset that a source loads: a manifest, the classes, the truth, and a function that reads one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..core.manifest import Manifest
from ..core.types import BoolArray, FloatArray, IntArray, LabelMap
from .index import FileIndex

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
"""One image (H, W, C), C = 1 or 3, or the slices of a stack: uint8, or float32 in [0, 1] of more than 8 bits."""


@dataclass(frozen=True)
class Masks:
    """The masks of a source of N samples.

    labeled  (N,) whether a sample has one
    read     position -> LabelMap in the image's own pixels; raises OSError or ValueError with the reason
    keys     (N,) digest of a mask's content and of how it is read; "" where there is none
    values   what the values in the files mean, in words; "" where there are no files
    sizes    (N, 2) height and width of every image in its own pixels, whether it has a mask or not
    spacing  (N, 3) millimetres from slice to slice, row to row and column to column; nan where unknown
    """

    labeled: BoolArray
    read: Callable[[int], LabelMap]
    keys: tuple[str, ...]
    sizes: IntArray
    spacing: FloatArray
    values: str = ""


@dataclass(frozen=True)
class Dataset:
    """One loaded source.

    classes  names, in the order of their numbers; may be empty for an unlabeled folder
    truth    class number of every sample (N,), -1 where unknown; only oracle and holdout get it
    read     position -> pixels; raises OSError or ValueError with the reason where the image cannot be read
    channels of the images: 1 or 3, or the slices of a stack
    reader   the readers of the files with their versions and settings, which the keys of caches contain
    skipped  (path, reason) of the images that on_error=skip left out
    masks    where pixels have classes: then `classes` are those of the pixels, the background first, and no sample has
             a class
    labels   (N, L) where a sample has several labels: 1 or 0 for each, -1 unknown. Then `classes` are their names, and
             no sample has a class; only oracle and holdout get it
    stack    slices in the channels of an image, an odd number, of which the middle one is the sample; 1 where the
             channels are grey or colours
    span     the values in the files that 0 and 1 of float pixels stand for; empty where they differ by file
    notes    remarks for the person, a line each: files that were ignored, copies
    locator  position -> a small picture of the slide that a tile is cut from, with a frame around it, or None where
             that is too dear; raises as `read`. None where samples are whole images
    scaled   position -> which values of an image became 0 and 1, in words
    bags     the name of each row's bag (N,), where several rows have one label together; then `truth` is at the first
             row of each bag alone (`data.bags`)
    workers  threads that read images and masks where all are read; what they make does not depend on their number
    series   (N,) the series that each row is a slice of, in their order, where slices lie in files of their own
    names    where the manifest has hashed names: the manifest with the plain ones, which never leaves memory
    """

    manifest: Manifest
    classes: tuple[str, ...]
    truth: IntArray
    read: Callable[[int], Pixels]
    channels: int
    reader: str = ""
    skipped: tuple[tuple[str, str], ...] = ()
    masks: Masks | None = None
    labels: IntArray | None = None
    stack: int = 1
    span: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    bags: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    names: Manifest | None = None
    locator: Callable[[int], Pixels | None] | None = None
    scaled: Callable[[int], str] = lambda index: ""
    workers: int = 1

    @property
    def plain(self) -> Manifest:
        """The manifest with plain names, for what a person on this machine is told."""
        return self.manifest if self.names is None else self.names


class Source(Protocol):
    """A frozen dataclass of settings that finds samples somewhere; `SOURCES[name]` in `sources/__init__.py`."""

    def load(self, index: FileIndex | None = None) -> Dataset:
        """Look at the data; bad input is an `InputError` that says where, what was expected, what came.

        `index` holds the findings of earlier calls about files; the caller saves it.
        """
        ...
