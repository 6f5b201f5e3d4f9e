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
from ..errors import InputError, UnknownName, UnreadableImages, reading
from .base import Dataset, Pixels
from .index import FileIndex
from .paths import grouping
from .pixels import RAW, Window, span_of, to_pixels
from .readers import identity
from .readers.arrays import Archive, Arrays, Rows
from .samples import OnError, Sample, content_digest, make_dataset
from .scaling import Intensity, Scaling, evenly
from .words import Cell, Mark, class_names, class_numbers, is_unknown, unknown_texts, whole, yes_or_no

PREFIXES: dict[str, Split | None] = {"train_": "pool", "val_": "val", "test_": "test", "": None}
"""Prefix of the keys of a split -> the split."""
DEMO = Path(__file__).with_name("demo")
MOST_CLASSES = 100_000  # that numbers alone may name
PACKAGE = "package:"
"""Before the name of a file that the package brings along: `package:pneumonia.npz`; its origin lies beside it."""

BAD = -2
_Labels = dict[str, list[tuple[int, tuple[int, ...]]]]
"""Key prefix of a split -> class and labels of each sample, as in `Sample`."""


@dataclass(frozen=True)
class Names:
    """Names of the groups and classes in an archive; the fields as in `Npz`."""

    group: str
    classes: int | Sequence[str] | None = None
    multilabel: bool = False
    unknown: Sequence[Mark] = ()
    domain: str | Mapping[str, str] = ""

    def rows(self, arrays: Archive, sizes: Mapping[str, int]) -> tuple[tuple[str, ...], dict[str, list[Sample]]]:
        """The classes, and the samples of each split without digests; `sizes`: key prefix -> number of images."""
        ids = {prefix: [f"{prefix.rstrip('_') or 'image'}/{i:05d}" for i in range(n)] for prefix, n in sizes.items()}
        classes, labels = (self._multilabels if self.multilabel else self._classes)(arrays, ids)
        samples = {}
        for prefix, names in ids.items():
            groups = names if self.group == "none" else arrays.column(prefix + self.group, len(names))
            domains = self._domains(arrays, prefix, names)
            samples[prefix] = [
                Sample(name, f"{prefix}images#{i}", str(group), PREFIXES[prefix], label, labels=row, domain=domain)
                for i, (name, group, (label, row), domain) in enumerate(
                    zip(names, groups, labels[prefix], domains, strict=True)
                )
            ]
        return classes, samples

    def _domains(self, arrays: Archive, prefix: str, names: Sequence[str]) -> list[str]:
        """The domain of each sample of a split: the text of an array, or what a pattern finds in it."""
        if self.domain in ("", "none"):
            return [""] * len(names)
        ending = self.domain if isinstance(self.domain, str) else self.domain.get("key", "")
        if not ending or (not isinstance(self.domain, str) and set(self.domain) != {"key", "pattern"}):
            raise InputError("data.domain", "the ending of a key, or {key: files, pattern: ...}", str(self.domain))
        texts = _texts(arrays.column(prefix + ending, len(names)))
        find = None if isinstance(self.domain, str) else grouping(self.domain["pattern"], "text", "data.domain")
        domains = []
        for name, text in zip(names, texts, strict=True):
            where = f"{arrays.path}: {prefix}{ending} of {name}"
            if not text:
                raise InputError(where, "a domain", "an empty text")
            domains.append(text if find is None else find(where, text))
        return domains

    def _classes(self, arrays: Archive, ids: Mapping[str, list[str]]) -> tuple[tuple[str, ...], _Labels]:
        """The class of each sample: a number, or a text, for which see `class_numbers`."""
        cells: list[Cell] = []
        words = False
        for prefix, names in ids.items():
            column = self._column(arrays, prefix + "labels", len(names))
            words |= column is not None and column.dtype.kind in "US"
            texts = [""] * len(names) if column is None else _texts(column)
            cells += [(f"{arrays.path}: label of {name}", text) for name, text in zip(names, texts, strict=True)]
        if words:
            classes, numbers = class_numbers(cells, self.classes, self.unknown)
        else:
            marks, numbers = unknown_texts(self.unknown), []
            largest = max((whole(text) or 0 for _, text in cells if not is_unknown(text, marks)), default=-1)
            if self.classes is None and largest >= MOST_CLASSES:
                raise InputError(f"{arrays.path}: labels", f"class numbers below {MOST_CLASSES}, or -1", str(largest))
            classes = class_names(1 + largest if self.classes is None else self.classes)
            for where, text in cells:
                number = -1 if is_unknown(text, marks) else whole(text)
                if number is None or not -1 <= number < len(classes):
                    hint = "; data.unknown: [nan] takes nan for not labeled" if text == "nan" else ""
                    raise InputError(where, f"a class below {len(classes)}, or -1{hint}", text)
                numbers.append(number)
        rest = iter(numbers)
        return classes, {prefix: [(next(rest), ()) for _ in of_split] for prefix, of_split in ids.items()}

    def _multilabels(self, arrays: Archive, ids: Mapping[str, list[str]]) -> tuple[tuple[str, ...], _Labels]:
        """The labels of each sample, all unknown in a split that has none."""
        names = class_names(self._count(arrays) if self.classes is None else self.classes)
        marks = unknown_texts(self.unknown)
        labels: _Labels = {}
        for prefix, of_split in ids.items():
            key, n = prefix + "labels", len(of_split)
            array = arrays[key] if key in arrays.keys else np.full((n, len(names)), -1)
            if array.shape != (n, len(names)):
                raise InputError(f"{arrays.path}: {key}", f"shape {(n, len(names))} (multilabel)", str(array.shape))
            values, inverse = np.unique(array, return_inverse=True)
            answers = [yes_or_no(text, marks) for text in _texts(values)]
            codes = np.asarray([BAD if a is None else a for a in answers], dtype=np.int64)[inverse].reshape(array.shape)
            bad = np.flatnonzero((codes == BAD).any(axis=1))
            if len(bad):
                expected, came = "0, 1 or -1 for each label (multilabel)", str(array[bad[0]].tolist())
                raise InputError(f"{arrays.path}: {key} of image {bad[0]}", expected, came)
            labels[prefix] = [(-1, tuple(row)) for row in codes.tolist()]
        return names, labels

    @staticmethod
    def _count(arrays: Archive) -> int:
        """How many labels a sample has, by the first split with labels."""
        for prefix in PREFIXES:
            if prefix + "labels" in arrays.keys:
                shape = arrays[prefix + "labels"].shape
                return int(shape[1]) if len(shape) == 2 else 1
        raise InputError(arrays.path, "labels (multilabel) under train_labels or labels, or data.classes", "none")

    @staticmethod
    def _column(arrays: Archive, key: str, n: int) -> npt.NDArray[Any] | None:
        """One label of each image (n,); None where the split has none."""
        if key not in arrays.keys:
            return None
        if (shape := arrays[key].shape) == (n, *shape[1:]) and len(shape) == 2 and shape[1] > 1:
            several = "several labels a sample are task: multilabel with data.multilabel: true"
            expected = f"one entry for each of the {n} images ({several})"
            raise InputError(f"{arrays.path}: {key}", expected, f"shape {shape}")
        return arrays.column(key, n)


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
    window: Intensity | None = None,
    index: FileIndex | None = None,
) -> Dataset:
    """The dataset of an NPZ file, which is read once; rows are in the order train, val, test."""
    with reading(path, "a whole NPZ file of images and labels"):
        return _dataset(path, names, holdout, seed, on_error, window, FileIndex() if index is None else index)


def _dataset(
    path: Path,
    names: Names,
    holdout: Mapping[str, float],
    seed: int,
    on_error: OnError,
    window: Intensity | None,
    index: FileIndex,
) -> Dataset:
    arrays = Archive(path)
    prefixes = [prefix for prefix in PREFIXES if prefix + "images" in arrays.keys]
    if not prefixes:
        raise InputError(arrays.path, "images under train_images or images", ", ".join(arrays.keys) or "no arrays")
    images = {prefix: arrays.images(prefix + "images") for prefix in prefixes}
    images = {prefix: rows for prefix, rows in images.items() if len(rows)}
    if not images:
        raise InputError(arrays.path, "at least one image", "empty arrays")
    classes, samples_of = names.rows(arrays, {prefix: len(rows) for prefix, rows in images.items()})
    scaling = window if isinstance(window, Scaling) else None
    if scaling is not None and scaling.of == "set":
        window, scaling = _of_set(next(iter(images.values())), scaling), None
    samples: list[Sample] = []
    problems: list[tuple[str, str]] = []
    channels, span = 1, tuple[float, ...]()
    for prefix, rows in images.items():
        fixed = None if isinstance(window, Scaling) else window
        span = span_of(rows.dtype, fixed) if scaling is None else ()
        channels = max(channels, rows.shape[3] if len(rows.shape) == 4 else 1)
        how = f"npz {identity(Arrays(prefix + 'images', fixed))} {scaling or ''}".strip()
        digests = index.look(arrays.path, how, partial(_digests, rows, window))
        for sample, (digest, problem, *edges) in zip(samples_of[prefix], digests, strict=True):
            if problem:
                problems.append((sample.path, problem))
            else:
                own = (edges[0], edges[1]) if edges else fixed
                samples.append(replace(sample, digest=digest, window=own))
    if problems and (on_error == "stop" or not samples):
        raise UnreadableImages(problems, alone=not samples)
    windows = [sample.window for sample in samples]
    return make_dataset(
        _with_file_names(arrays, samples),
        partial(_read, arrays.path, tuple(sample.path for sample in samples), windows),
        classes=classes,
        channels=channels,
        reader="arrays " + identity(Arrays("images", fixed)),
        holdout=holdout,
        seed=seed,
        skipped=problems,
        span=span,
        scaled=partial(_scaled, windows, str(scaling or "data.window"), span),
    )


def _of_set(rows: Rows | npt.NDArray[Any], scaling: Scaling) -> Window:
    """The window of the images of the first array, which are those of the pool, or all."""
    return scaling.window_of_set(to_pixels(rows[i], RAW) for i in evenly(range(len(rows))))


def _scaled(windows: Sequence[Window | None], how: str, span: Sequence[float], index: int) -> str:
    window = windows[index]
    if window is not None:
        return f"{window[0]:g} to {window[1]:g} ({how})"
    return f"{span[0]:g} to {span[1]:g} (all that its type holds)" if span else "8 bits as they are"


def _texts(column: npt.NDArray[Any]) -> list[str]:
    """The entries of an array of numbers or text as texts."""
    if column.dtype.kind == "S":
        column = np.char.decode(column, "utf-8")
    return [str(entry).strip() for entry in (column.astype(np.int64) if column.dtype.kind == "b" else column).tolist()]


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


def _digests(images: Rows | npt.NDArray[Any], window: Intensity | None) -> list[list[Any]]:
    """[digest, ""] of every image, and its window by a rule; or ["", reason] where its values cannot be mapped."""
    digests: list[list[Any]] = []
    for i in range(len(images)):
        image = images[i]
        try:
            edges = window.window(to_pixels(image, RAW)) if isinstance(window, Scaling) else ()
            to_pixels(image, edges or (None if isinstance(window, Scaling) else window))
        except ValueError as error:
            digests.append(["", str(error)])
        else:
            digests.append([content_digest(image.tobytes() + repr(edges).encode() * bool(edges)), "", *edges])
    return digests


def _read(file: Path, paths: Sequence[str], windows: Sequence[Window | None], index: int) -> Pixels:
    key, row = paths[index].split("#")
    return Arrays(key, windows[index]).decode(file, int(row))
