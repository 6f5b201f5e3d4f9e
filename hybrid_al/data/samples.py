"""Parts that the sources share: samples, checks of settings, and the dataset of samples."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .. import errors
from ..core.manifest import Manifest, Split
from ..core.types import IntArray
from ..errors import InputError
from .base import Dataset, Masks, Pixels
from .copies import copy_notes, joined_groups
from .pixels import Window
from .scaling import Intensity
from .splits import assign

OnError = Literal["stop", "skip"]
CONTROL = re.compile(
    r"[\x00-\x1f\x7f\ud800-\udfff]"
)  # a line break would break every list of names, half a letter every file


BLANK = -1  # a plane that a mask leaves out, as it has nothing in it


@dataclass(frozen=True)
class Sample:
    """One sample of a source: split None where the data has none, label -1 and mask "" where unknown.

    `path` and `mask` are files below the root of the source. `z` is a slice or row in them, -1 for a whole image, or
    for all slices of a file. `labels`, 0, 1 or -1 each, replace `label` in a task with several labels a sample.
    `mask_z` is the plane in the mask where that is not `z`; `BLANK` where the mask has none, which is background.
    `mask_keys` are the names of the image in its masks, where these draw on several.
    `around` are file and plane of the slices of a stack that lie in several files, the sample in the middle. `window`
    is that of its series, where the reader has none. `domain` is the site, device or stain, "" where none is said,
    `bag` the name of its bag, and `series` that of the one it is a slice of, where its slices lie in several files.
    `axis` is the kind of slice, "" where a run has one kind alone.
    """

    id: str
    path: str
    group: str
    split: Split | None
    label: int
    digest: str = ""
    mask: str = ""
    more_masks: tuple[str, ...] = ()
    mask_keys: tuple[str, ...] = ()
    z: int = -1
    labels: tuple[int, ...] = ()
    mask_z: int | None = None
    around: tuple[tuple[str, int], ...] = ()
    window: Window | None = None
    domain: str = ""
    bag: str = ""
    series: str = ""
    axis: str = ""

    @property
    def place(self) -> str:
        """Its path in a manifest: the slices of one path are of one kind, one above another."""
        return f"{self.path}#{self.axis}" if self.axis else self.path

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of each mask, "" of a mask of this image alone."""
        return self.mask_keys or ("",) * (bool(self.mask) + len(self.more_masks))


Unit = Literal["file", "slice"]
"""What of a file of several slices is a sample: each slice, or the file by its slice in the middle."""


def middle(count: int, kept: int | None) -> range:
    """As many places in the middle of `count` as are to be kept; all of them with None."""
    kept = min(count if kept is None else kept, count)
    first = (count - kept) // 2
    return range(first, first + kept)


def kept_slices(sample: str, slices: int | None) -> int | None:
    """How many slices of a file or series are samples, None for all; InputError where `slices` has no meaning."""
    if slices is not None and sample != "slice":
        raise InputError("data.slices", f"data.sample: slice, not {sample}", str(slices))
    return slices if sample == "slice" else 1


def check_settings(window: Intensity | None, on_error: str, group: str = "none", kind: str = "") -> None:
    """Refuse an invalid window, an unknown on_error, and an empty group; `kind` says in the error what a group is."""
    pair = window if isinstance(window, tuple | list) else (0.0, 1.0)
    if not (len(pair) == 2 and np.isfinite(pair).all() and pair[0] < pair[1]):
        raise InputError("data.window", "two numbers [low, high], low below high", str(window))
    if on_error not in ("stop", "skip"):
        raise InputError("data.on_error", "stop or skip", repr(on_error))
    if not group:
        raise InputError("data.group", f'{kind}, or "none" said on purpose', "nothing")


def check_splits(
    samples: Sequence[Sample],
    where: str = "data.columns.split",
    expected: str = "all images of a group (data.group) in one split",
) -> None:
    """InputError where a table parts a group, which names files: the name of a group may be that of a person.

    where, expected  what is said where it is folders that part it
    """
    first: dict[str, Sample] = {}
    for sample in samples:
        other = first.setdefault(sample.group, sample)
        if other.split != sample.split:
            came = f"{other.path} in {other.split} and {sample.path} in {sample.split}"
            raise InputError(where, expected, came)


def make_dataset(
    samples: Sequence[Sample],
    read: Callable[[int], Pixels],
    *,
    classes: Sequence[str],
    channels: int,
    holdout: Mapping[str, float],
    seed: int,
    reader: str = "",
    skipped: Sequence[tuple[str, str]] = (),
    masks: Masks | None = None,
    stack: int = 1,
    span: Sequence[float] = (),
    notes: Sequence[str] = (),
    locator: Callable[[int], Pixels | None] | None = None,
    scaled: Callable[[int], str] = lambda index: "",
) -> Dataset:
    """The dataset of samples; those without a split get one. For the other parameters see `Dataset`.

    A class without samples is an InputError, unless no sample has a label: then `classes` are those that an annotator
    may give. `notes` are remarks of the source, to which those on copies are added.
    """
    for sample in samples:
        if CONTROL.search(sample.id + sample.path + sample.group + sample.domain):
            raise InputError(
                "a sample's name or group",
                "UTF-8 (see PYTHONUTF8=1) without control characters",
                f"{sample.path!r} of {sample.group!r}",
            )
    labels = _labels(samples, classes)
    truth = np.asarray([sample.label for sample in samples], dtype=np.int64)
    for number, name in enumerate(classes):
        if (truth >= 0).any() and not (truth == number).any():
            raise InputError("data.classes", f"at least one sample of class {number} ({name})", "none")
    manifest = Manifest(
        ids=tuple(sample.id for sample in samples),
        paths=tuple(sample.place for sample in samples),
        groups=tuple(sample.group for sample in samples),
        splits=_splits(samples, holdout, seed=seed, labels=truth),
        digests=tuple(sample.digest for sample in samples),
        z=tuple(sample.z for sample in samples),
        domains=tuple(sample.domain for sample in samples) if any(sample.domain for sample in samples) else (),
    )
    return Dataset(
        manifest,
        tuple(classes),
        truth,
        read,
        channels,
        reader,
        tuple(skipped),
        masks,
        labels,
        stack,
        tuple(span),
        (*notes, *copy_notes(manifest, *_answers(samples, classes, masks))),
        locator=locator,
        scaled=scaled,
        bags=tuple(sample.bag for sample in samples) if any(sample.bag for sample in samples) else (),
        series=tuple(sample.series for sample in samples) if any(sample.series for sample in samples) else (),
    )


def _splits(
    samples: Sequence[Sample], holdout: Mapping[str, float], *, seed: int, labels: IntArray
) -> tuple[Split, ...]:
    """The split of each sample; groups that share an image are drawn as one, in which a content counts once.

    Slices are not compared: those without anything in them are alike in all volumes.
    """
    digests, given = [s.digest if s.z < 0 else "" for s in samples], [s.split for s in samples]
    groups = joined_groups([s.group for s in samples], digests, given)
    first: dict[tuple[object, ...], int] = {}
    contents = zip(groups, given, digests, strict=True)
    firsts = [first.setdefault(content if content[2] else (i,), i) for i, content in enumerate(contents)]
    rows = sorted(first.values())
    try:
        drawn = assign([groups[i] for i in rows], [given[i] for i in rows], holdout, seed=seed, labels=labels[rows])
    except InputError as error:
        if len(rows) == len(samples) or "share" not in error.expected:
            raise
        came = f"{error.came} ({len(samples)} samples, of which {len(samples) - len(rows)} are copies)"
        raise InputError(error.where, error.expected, came) from error
    split_of = dict(zip(rows, drawn, strict=True))
    return tuple(split_of[i] for i in firsts)


def _answers(
    samples: Sequence[Sample], classes: Sequence[str], masks: Masks | None
) -> tuple[list[object], Callable[[int], str]]:
    """What the data answers about each sample, None where unknown; and position -> the answer in words."""
    if masks is not None:
        return [key or None for key in masks.keys], lambda i: f"mask {samples[i].mask or i}"
    if any(sample.labels for sample in samples):
        known = [None if -1 in s.labels else s.labels for s in samples]
        return list(
            known
        ), lambda i: "; ".join(n for n, y in zip(classes, samples[i].labels, strict=True) if y) or "none"
    return [None if s.label < 0 else s.label for s in samples], lambda i: str(classes[samples[i].label])


def _labels(samples: Sequence[Sample], classes: Sequence[str]) -> IntArray | None:
    """Several labels a sample (N, L); None where a sample has one class.

    Each label needs a sample with it and one without it, unless all labels are unknown.
    """
    if not any(sample.labels for sample in samples):
        return None
    labels = np.asarray([sample.labels for sample in samples], dtype=np.int64)
    if (labels < 0).all():
        return labels
    for column, name in zip(labels.T, classes, strict=True):
        if not (column == 1).any():
            raise InputError("data", f"at least one sample with the label {name}", "none")
        if not (column == 0).any():
            raise InputError("data", f"at least one sample without the label {name}", "none")
    return labels


def reason(error: Exception) -> str:
    """Why an image cannot be read, without its path."""
    return errors.reason(error)


def content_digest(content: bytes) -> str:
    """Hash of a sample's content, 32 hex digits."""
    return hashlib.sha256(content).hexdigest()[:32]
