"""Datasets of NPZ files with image and label arrays, by the key names of MedMNIST."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.manifest import Split
from ..errors import InputError, UnknownName, UnreadableImages
from .base import Dataset, Pixels
from .index import FileIndex
from .pixels import Window, span_of, to_pixels
from .readers import identity
from .readers.arrays import Archive, Arrays, Rows
from .samples import OnError, Sample, content_digest, make_dataset

PREFIXES: dict[str, Split | None] = {"train_": "pool", "val_": "val", "test_": "test", "": None}
"""Prefix of the keys of a split -> the split."""
DEMO = Path(__file__).with_name("demo")
MOST_CLASSES = 100_000  # that numbers alone may name
PACKAGE = "package:"
"""Before the name of a file that the package brings along: `package:pneumonia.npz`; its origin lies beside it."""


@dataclass(frozen=True)
class Names:
    """Names of the groups and classes in an archive; the fields as in `Npz`."""

    group: str
    classes: int | Sequence[str] | None = None
    multilabel: bool = False

    def rows(self, arrays: Archive, prefix: str, n: int) -> list[Sample]:
        """The samples of one split, without digests."""
        ids = [f"{prefix.rstrip('_') or 'image'}/{i:05d}" for i in range(n)]
        groups = ids if self.group == "none" else arrays.column(prefix + self.group, n)
        labels, label_rows = [-1] * n, list[tuple[int, ...]]([()] * n)
        if self.multilabel:
            label_rows = self._multilabels(arrays, prefix, n)
        elif prefix + "labels" in arrays.keys:
            labels = _labels(f"{arrays.path}: {prefix}labels", arrays.column(prefix + "labels", n))
        return [
            Sample(ids[i], f"{prefix}images#{i}", str(groups[i]), PREFIXES[prefix], labels[i], labels=label_rows[i])
            for i in range(n)
        ]

    def _multilabels(self, arrays: Archive, prefix: str, n: int) -> list[tuple[int, ...]]:
        """The labels of each sample of a split, all unknown where it has none."""
        key = prefix + "labels"
        count = len(self._names(self._count(arrays) if self.classes is None else 0))
        if key not in arrays.keys:
            return [(-1,) * count] * n
        array = arrays[key]
        if array.shape != (n, count):
            raise InputError(f"{arrays.path}: {key}", f"shape {(n, count)} (multilabel)", str(array.shape))
        bad = np.flatnonzero(~np.isin(array, (-1, 0, 1)).all(axis=1))
        if len(bad):
            expected, came = "0, 1 or -1 for each label (multilabel)", str(array[bad[0]].tolist())
            raise InputError(f"{arrays.path}: {key} of image {bad[0]}", expected, came)
        return [tuple(map(int, row)) for row in array]

    @staticmethod
    def _count(arrays: Archive) -> int:
        """How many labels a sample has, by the first split with labels."""
        for prefix in PREFIXES:
            if prefix + "labels" in arrays.keys:
                shape = arrays[prefix + "labels"].shape
                return int(shape[1]) if len(shape) == 2 else 1
        raise InputError(arrays.path, "labels (multilabel) under train_labels or labels, or data.classes", "none")

    def _names(self, largest: int) -> tuple[str, ...]:
        """The names of the classes where the settings have them, else the numbers below `largest`."""
        classes = largest if self.classes is None else self.classes
        return tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)

    def classes_of(self, path: Path, samples: Sequence[Sample]) -> tuple[str, ...]:
        """The names of the classes; InputError where a sample has one beyond them."""
        largest = max(sample.label for sample in samples)
        if self.classes is None and largest >= MOST_CLASSES:
            expected = f"class numbers below {MOST_CLASSES}, or -1"
            raise InputError(f"{path}: labels", expected, str(largest))
        names = self._names(len(samples[0].labels) or 1 + largest)
        for sample in samples:
            if not -1 <= sample.label < len(names):
                raise InputError(
                    f"{path}: label of {sample.id}", f"a class below {len(names)}, or -1", str(sample.label)
                )
        return names


def archive_path(root: Path | str) -> Path:
    """The file of a `root`, which names one that the package brings along, or is a path."""
    if not str(root).startswith(PACKAGE):
        return Path(root)
    path = DEMO / str(root).removeprefix(PACKAGE)
    files = [file.name for file in DEMO.glob("*.npz")]
    if path.name not in files or path.parent != DEMO:
        raise UnknownName("data.root", str(root), [PACKAGE + name for name in files])
    return path


def archive_dataset(
    path: Path,
    names: Names,
    *,
    holdout: Mapping[str, float],
    seed: int,
    on_error: OnError,
    window: Window | None = None,
    index: FileIndex | None = None,
) -> Dataset:
    """The dataset of an NPZ file, which is read once; rows are in the order train, val, test."""
    index = FileIndex() if index is None else index
    arrays = Archive(path)
    prefixes = [prefix for prefix in PREFIXES if prefix + "images" in arrays.keys]
    if not prefixes:
        raise InputError(arrays.path, "images under train_images or images", ", ".join(arrays.keys) or "no arrays")
    samples: list[Sample] = []
    problems: list[tuple[str, str]] = []
    channels, span = 1, tuple[float, ...]()
    for prefix in prefixes:
        images = arrays.images(prefix + "images")
        span = span_of(images.dtype, window)
        channels = max(channels, images.shape[3] if len(images.shape) == 4 else 1)
        how = f"npz {identity(Arrays(prefix + 'images', window))}"
        digests = index.look(arrays.path, how, partial(_digests, images, window))
        for sample, (digest, problem) in zip(names.rows(arrays, prefix, len(images)), digests, strict=True):
            if problem:
                problems.append((sample.path, problem))
            else:
                samples.append(replace(sample, digest=digest))
    if problems and (on_error == "stop" or not samples):
        raise UnreadableImages(problems)
    return make_dataset(
        _with_file_names(arrays, samples),
        partial(_read, arrays.path, tuple(sample.path for sample in samples), window),
        classes=names.classes_of(path, samples),
        channels=channels,
        reader="arrays " + identity(Arrays("images", window)),
        holdout=holdout,
        seed=seed,
        skipped=problems,
        span=span,
    )


def _labels(where: str, column: npt.NDArray[Any]) -> list[int]:
    if column.dtype.kind not in "iub":
        raise InputError(where, "whole numbers", f"type {column.dtype}")
    return [int(label) for label in column]


def _with_file_names(arrays: Archive, samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples with their `*_files` names as ids, where all have a name of their own."""
    names: dict[str, str] = {}
    for prefix in PREFIXES:
        if prefix + "files" in arrays.keys and prefix + "images" in arrays.keys:
            files = arrays[prefix + "files"]
            names |= {f"{prefix}images#{i}": str(name) for i, name in enumerate(files)}
    ids = [names.get(sample.path, "") for sample in samples]
    if len(set(ids)) < len(ids) or "" in ids:
        return samples
    return [replace(sample, id=name) for sample, name in zip(samples, ids, strict=True)]


def _digests(images: Rows | npt.NDArray[Any], window: Window | None) -> list[tuple[str, str]]:
    """(digest, "") of every image, or ("", reason) where its values cannot be mapped to pixels."""
    digests = []
    for i in range(len(images)):
        image = images[i]
        try:
            to_pixels(image, window)
        except ValueError as error:
            digests.append(("", str(error)))
        else:
            digests.append((content_digest(image.tobytes()), ""))
    return digests


def _read(file: Path, paths: Sequence[str], window: Window | None, index: int) -> Pixels:
    key, row = paths[index].split("#")
    return Arrays(key, window).decode(file, int(row))
