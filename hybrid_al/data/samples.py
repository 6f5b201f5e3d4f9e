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

from ..errors import InputError, UnreadableImages
from ..manifest import Manifest, Split
from .base import Dataset, Pixels
from .images import Window, decode, probe
from .splits import assign

OnError = Literal["stop", "skip"]
CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # a line break in a name would break every list of names


@dataclass(frozen=True)
class Sample:
    """One row that a source found: split None where the data does not say, label -1 where unknown."""

    id: str
    path: str
    group: str
    split: Split | None
    label: int
    digest: str = ""


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
) -> Dataset:
    """The dataset of some samples; those without a split get one.

    A class that no sample has is an InputError, unless no label is known at all and `classes` is what may be answered.
    """
    for sample in samples:
        if CONTROL.search(sample.id + sample.path + sample.group):
            raise InputError(
                "a sample's name or group", "no control characters", f"{sample.path!r} of {sample.group!r}"
            )
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
    )
    return Dataset(manifest, tuple(classes), truth, read, channels, f"window={window}", tuple(skipped))


def files_dataset(
    root: Path,
    samples: Sequence[Sample],
    *,
    classes: Sequence[str],
    window: Window | None,
    holdout: Mapping[str, float],
    seed: int,
    on_error: OnError,
) -> Dataset:
    """The dataset of image files; a sample's path is relative to `root`. Every file is read once and hashed.

    on_error=stop looks at the headers and raises UnreadableImages with all files that are missing or no images; what
    only decoding can tell is found, again all at once, when the image store is built.
    on_error=skip decodes every image here, and leaves those that fail out (`Dataset.skipped`).
    """
    kept: list[Sample] = []
    problems: list[tuple[str, str]] = []
    channels = 1
    for sample in samples:
        try:
            digest, planes = _examine(root / sample.path, window, whole=on_error == "skip")
        except (OSError, ValueError) as error:
            problems.append((sample.path, reason(error)))
        else:
            kept.append(replace(sample, digest=digest))
            channels = max(channels, planes)
    if problems and (on_error == "stop" or not kept):
        raise UnreadableImages(problems)
    read = partial(_read, root, tuple(sample.path for sample in kept), window)
    return make_dataset(
        kept, read, classes=classes, channels=channels, window=window, holdout=holdout, seed=seed, skipped=problems
    )


def reason(error: Exception) -> str:
    """Why an image cannot be read, without its path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def content_digest(content: bytes) -> str:
    """Hash of a sample's content, 32 hex digits."""
    return hashlib.sha256(content).hexdigest()[:32]


def _examine(path: Path, window: Window | None, *, whole: bool) -> tuple[str, int]:
    """Digest of the file and channels of the image (1 or 3); raises OSError or ValueError with the reason."""
    content = path.read_bytes()
    _, _, channels = probe(io.BytesIO(content))
    if whole:
        decode(io.BytesIO(content), window=window)
    return content_digest(content), channels


def _read(root: Path, paths: Sequence[str], window: Window | None, index: int) -> Pixels:
    return decode(root / paths[index], window=window)
