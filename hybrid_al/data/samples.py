"""What the sources share: samples as they find them, files to look at, and the dataset that both make."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from ..core.manifest import Manifest, Split
from ..core.types import IntArray
from ..errors import InputError, UnreadableImages
from .base import Dataset, Masks, Pixels
from .index import FileIndex
from .readers.images import READER_VERSION, Window, decode, probe
from .readers.masks import check_size, read_mask, value_table
from .splits import assign

OnError = Literal["stop", "skip"]
CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # a line break in a name would break every list of names


@dataclass(frozen=True)
class Sample:
    """One row that a source found: split None where the data does not say, label -1 and mask "" where unknown.

    `path` and `mask` are files below the root of the source; `z` is a slice of theirs, -1 for a whole image. `labels`
    are those of a task with several a sample, 0, 1 or -1 each, in the place of `label`.
    """

    id: str
    path: str
    group: str
    split: Split | None
    label: int
    digest: str = ""
    mask: str = ""
    z: int = -1
    labels: tuple[int, ...] = ()


def check_settings(window: Window | None, on_error: str, group: str, kind: str) -> None:
    """Refuse a window that is none, an unknown on_error, and a group that was not said; `kind` is what a group is."""
    if window is not None and not (len(window) == 2 and np.isfinite(window).all() and window[0] < window[1]):
        raise InputError("data.window", "two numbers [low, high], low below high", str(window))
    if on_error not in ("stop", "skip"):
        raise InputError("data.on_error", "stop or skip", repr(on_error))
    if not group:
        raise InputError("data.group", f'{kind}, or "none" said on purpose', "nothing")


def make_dataset(
    samples: Sequence[Sample],
    read: Callable[[int], Pixels],
    *,
    classes: Sequence[str],
    channels: int,
    window: Window | None,
    holdout: Mapping[str, float],
    seed: int,
    skipped: Sequence[tuple[str, str]] = (),
    masks: Masks | None = None,
) -> Dataset:
    """The dataset of some samples; those without a split get one.

    A class that no sample has is an InputError, unless no label is known at all and `classes` is what may be answered.
    """
    for sample in samples:
        if CONTROL.search(sample.id + sample.path + sample.group):
            raise InputError(
                "a sample's name or group", "no control characters", f"{sample.path!r} of {sample.group!r}"
            )
    labels = _labels(samples, classes)
    truth = np.asarray([sample.label for sample in samples], dtype=np.int64)
    for number, name in enumerate(classes):
        if (truth >= 0).any() and not (truth == number).any():
            raise InputError("data.classes", f"at least one sample of class {number} ({name})", "none")
    groups = tuple(sample.group for sample in samples)
    manifest = Manifest(
        ids=tuple(sample.id for sample in samples),
        paths=tuple(sample.path for sample in samples),
        groups=groups,
        splits=assign(groups, [sample.split for sample in samples], holdout, seed=seed, labels=truth),
        digests=tuple(sample.digest for sample in samples),
        z=tuple(sample.z for sample in samples),
    )
    reader = f"window={window}"
    return Dataset(manifest, tuple(classes), truth, read, channels, reader, tuple(skipped), masks, labels)


def _labels(samples: Sequence[Sample], classes: Sequence[str]) -> IntArray | None:
    """Several labels a sample (N, L); None where the task has one class.

    Each label must be there and not be there, unless nothing is known at all and they are what may be answered.
    """
    if not any(sample.labels for sample in samples):
        return None
    labels = np.asarray([sample.labels for sample in samples], dtype=np.int64)
    if (labels < 0).all():
        return labels
    for found, name in zip(labels.T, classes, strict=True):
        if not (found == 1).any():
            raise InputError("data", f"at least one sample with the label {name}", "none")
        if not (found == 0).any():
            raise InputError("data", f"at least one sample without the label {name}", "none")
    return labels


def files_dataset(
    root: Path,
    samples: Sequence[Sample],
    *,
    classes: Sequence[str],
    window: Window | None,
    holdout: Mapping[str, float],
    seed: int,
    on_error: OnError,
    values: Mapping[int, str] | None = None,
    index: FileIndex | None = None,
) -> Dataset:
    """The dataset of image files; a sample's path is relative to `root`.

    With `values` (see `masks.value_table`) it is one of masks: `classes` are those of the pixels.
    Every file is read once and hashed; one that `index` knows is not read until it changes.

    on_error=stop looks at the headers and raises UnreadableImages with all files that are missing or no images; what
    only decoding can tell is found, again all at once, when the image store is built.
    on_error=skip decodes every image here, and leaves those that fail out (`Dataset.skipped`).
    """
    kept: list[Sample] = []
    found: list[_Examined] = []
    problems: list[tuple[str, str]] = []
    table = None if values is None else value_table(values, classes)
    index = FileIndex() if index is None else index
    for sample in samples:
        try:
            found.append(_examine(root, sample, window, table, index, whole=on_error == "skip"))
        except _Unreadable as error:
            problems.append((error.path, error.why))
        else:
            kept.append(replace(sample, digest=found[-1].digest))
    if problems and (on_error == "stop" or not kept):
        raise UnreadableImages(problems)
    return make_dataset(
        kept,
        partial(_read, root, tuple(sample.path for sample in kept), window),
        classes=classes,
        channels=max((one.channels for one in found), default=1),
        window=window,
        holdout=holdout,
        seed=seed,
        skipped=problems,
        masks=None if table is None else _masks(root, kept, found, table),
    )


def reason(error: Exception) -> str:
    """Why an image cannot be read, without its path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def content_digest(content: bytes) -> str:
    """Hash of a sample's content, 32 hex digits."""
    return hashlib.sha256(content).hexdigest()[:32]


class _Unreadable(Exception):
    def __init__(self, path: str, error: Exception) -> None:
        super().__init__(path)
        self.path, self.why = path, reason(error)


@dataclass(frozen=True)
class _Examined:
    """Digest, channels (1 or 3), height and width of an image file, and the digest of its mask file."""

    digest: str
    channels: int
    size: tuple[int, int]
    mask: str


def _examine(
    root: Path, sample: Sample, window: Window | None, table: Mapping[int, int] | None, index: FileIndex, *, whole: bool
) -> _Examined:
    """Look at the headers of a sample's files, and with `whole` at their pixels."""
    pixels = partial(decode, window=window) if whole else None
    how = f"image {READER_VERSION} {window if whole else ''}"
    digest, channels, *size = _look(root, sample.path, index, how, pixels)
    mask = ""
    if sample.mask and table is not None:
        answers = partial(read_mask, table=table) if whole else None
        how = f"mask {READER_VERSION} {sorted(table.items()) if whole else ''}"
        mask, _, *mask_size = _look(root, sample.mask, index, how, answers)
        try:
            check_size(sample.path, (mask_size[0], mask_size[1]), (size[0], size[1]))
        except ValueError as error:
            raise _Unreadable(sample.mask, error) from error
    return _Examined(digest, channels, (size[0], size[1]), mask)


def _look(
    root: Path, path: str, index: FileIndex, how: str, read: Callable[[io.BytesIO], object] | None
) -> tuple[str, int, int, int]:
    """Digest, channels, height and width of an image file; with `read` also that all of it can be read."""

    def find() -> list[str | int]:
        content = (root / path).read_bytes()
        height, width, channels = probe(io.BytesIO(content))
        if read is not None:
            read(io.BytesIO(content))
        return [content_digest(content), channels, height, width]

    try:
        digest, channels, height, width = index.look(root / path, how, find)
    except (OSError, ValueError) as error:
        raise _Unreadable(path, error) from error
    return str(digest), int(channels), int(height), int(width)


def _masks(root: Path, samples: Sequence[Sample], found: Sequence[_Examined], table: Mapping[int, int]) -> Masks:
    files = tuple(root / sample.mask for sample in samples)
    return Masks(
        known=np.asarray([bool(one.mask) for one in found]),
        read=lambda i: read_mask(files[i], table),
        keys=tuple(one.mask and content_digest(f"{one.mask} {sorted(table.items())}".encode()) for one in found),
        sizes=np.asarray([one.size for one in found], dtype=np.int64).reshape(-1, 2),
        spacing=np.full((len(found), 3), np.nan),
    )


def _read(root: Path, paths: Sequence[str], window: Window | None, index: int) -> Pixels:
    return decode(root / paths[index], window=window)
