"""Source of one NPZ file of image and label arrays, with the key names of MedMNIST."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.manifest import Split
from ...errors import InputError, UnknownName, UnreadableImages
from ..base import Dataset, Pixels
from ..index import FileIndex
from ..readers.images import READER_VERSION, Window, to_pixels
from ..samples import OnError, Sample, check_settings, content_digest, make_dataset

PREFIXES: dict[str, Split | None] = {"train_": "pool", "val_": "val", "test_": "test", "": None}


@dataclass(frozen=True)
class Npz:
    """Arrays `train_images`, `train_labels`, `val_...`, `test_...`; `images` and `labels` where there are no splits.

    images   (N, H, W), (N, H, W, 1) or (N, H, W, 3); uint8, or wider with the rules of `to_pixels`
    labels   (N,) or (N, 1), class numbers, -1 unknown; a split without labels is unlabeled
    multilabel  labels are (N, L), whether each of L labels is there, 0 or 1, -1 unknown; `classes` are their names
    files    (N,) optional names, which become the ids where no two are alike; otherwise ids are like train/00012
    group    "none", said on purpose, or the ending of the keys that name the groups: patient for `train_patient`
    classes  names or number of the classes; without it, as many as the largest label asks for
    holdout  {val: f, test: f}, shares to draw where the file has no such split; `seed` fixes the draw
    on_error stop | skip images whose values cannot be mapped to pixels
    window   [low, high] of the values that become 0 and 1

    Pickled (object) arrays are refused. Images are read one by one; arrays in Fortran's order are held in memory.
    """

    root: Path
    group: str = ""
    classes: int | Sequence[str] | None = None
    holdout: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    on_error: OnError = "stop"
    window: Window | None = None
    multilabel: bool = False

    def load(self, index: FileIndex | None = None) -> Dataset:
        """Read the file once; rows are in the order train, val, test."""
        check_settings(self.window, self.on_error, self.group, "the ending of a key, such as patient")
        index = FileIndex() if index is None else index
        arrays = Arrays(Path(self.root))
        prefixes = [prefix for prefix in PREFIXES if prefix + "images" in arrays.keys]
        if not prefixes:
            raise InputError(arrays.path, "images under train_images or images", ", ".join(arrays.keys) or "no arrays")
        samples: list[Sample] = []
        problems: list[tuple[str, str]] = []
        channels = 1
        for prefix in prefixes:
            images = arrays.images(prefix)
            channels = max(channels, images.shape[3] if len(images.shape) == 4 else 1)
            how = f"npz {prefix} {self.window} {READER_VERSION}"
            digests = index.look(arrays.path, how, partial(_digests, images, self.window))
            for sample, (digest, problem) in zip(self._rows(arrays, prefix, len(images)), digests, strict=True):
                if problem:
                    problems.append((sample.path, problem))
                else:
                    samples.append(replace(sample, digest=digest))
        if problems and (self.on_error == "stop" or not samples):
            raise UnreadableImages(problems)
        return make_dataset(
            _renamed(arrays, samples),
            partial(_read, arrays, tuple(sample.path for sample in samples), self.window),
            classes=self._class_names(arrays.path, samples),
            channels=channels,
            window=self.window,
            holdout=self.holdout,
            seed=self.seed,
            skipped=problems,
        )

    def _rows(self, arrays: Arrays, prefix: str, n: int) -> list[Sample]:
        """The samples of one split, without digests."""
        ids = [f"{prefix.rstrip('_') or 'image'}/{i:05d}" for i in range(n)]
        groups = ids if self.group == "none" else arrays.column(prefix + self.group, n)
        labels, several = [-1] * n, list[tuple[int, ...]]([()] * n)
        if self.multilabel:
            several = self._several(arrays, prefix, n)
        elif prefix + "labels" in arrays.keys:
            labels = _labels(f"{arrays.path}: {prefix}labels", arrays.column(prefix + "labels", n))
        return [
            Sample(ids[i], f"{prefix}images#{i}", str(groups[i]), PREFIXES[prefix], labels[i], labels=several[i])
            for i in range(n)
        ]

    def _several(self, arrays: Arrays, prefix: str, n: int) -> list[tuple[int, ...]]:
        """The labels of each sample of a split, all unknown where it has none."""
        key = prefix + "labels"
        count = len(self._names(self._count(arrays) if self.classes is None else 0))
        if key not in arrays.keys:
            return [(-1,) * count] * n
        found = arrays[key]
        if found.shape != (n, count):
            raise InputError(f"{arrays.path}: {key}", f"shape {(n, count)} (multilabel)", str(found.shape))
        bad = np.flatnonzero(~np.isin(found, (-1, 0, 1)).all(axis=1))
        if len(bad):
            expected, came = "0, 1 or -1 for each label (multilabel)", str(found[bad[0]].tolist())
            raise InputError(f"{arrays.path}: {key} of image {bad[0]}", expected, came)
        return [tuple(map(int, row)) for row in found]

    @staticmethod
    def _count(arrays: Arrays) -> int:
        """How many labels a sample has, by the first split that has some."""
        for prefix in PREFIXES:
            if prefix + "labels" in arrays.keys:
                shape = arrays[prefix + "labels"].shape
                return int(shape[1]) if len(shape) == 2 else 1
        raise InputError(arrays.path, "labels (multilabel) under train_labels or labels, or data.classes", "none")

    def _names(self, largest: int) -> tuple[str, ...]:
        """The names of the classes that were said, else the numbers of so many."""
        given = largest if self.classes is None else self.classes
        return tuple(map(str, range(given))) if isinstance(given, int) else tuple(given)

    def _class_names(self, path: Path, samples: Sequence[Sample]) -> tuple[str, ...]:
        names = self._names(len(samples[0].labels) or 1 + max(sample.label for sample in samples))
        for sample in samples:
            if not -1 <= sample.label < len(names):
                raise InputError(
                    f"{path}: label of {sample.id}", f"a class below {len(names)}, or -1", str(sample.label)
                )
        return names


class Rows:
    """The rows of one array in an NPZ file, unpacked as they are asked for: fast in ascending order, little memory."""

    def __init__(self, path: Path, key: str) -> None:
        """Read the header; ValueError where the array is pickled, of Fortran's order or of an unknown version."""
        self._where = f"{path}: {key}"
        self._file = zipfile.ZipFile(path).open(f"{key}.npy")  # noqa: SIM115, stays open as long as the rows are read
        version = np.lib.format.read_magic(self._file)
        if version not in _HEADERS:
            raise ValueError(f"an array of format {version}")
        self.shape, fortran, self.dtype = _HEADERS[version](self._file)
        if self.dtype.hasobject or fortran or not self.shape:
            raise ValueError("an array of objects" if self.dtype.hasobject else "columns before rows")
        self._start, self._next = self._file.tell(), 0
        self._bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize

    def __len__(self) -> int:
        """How many rows."""
        return int(self.shape[0])

    def __getitem__(self, row: int) -> npt.NDArray[Any]:
        """One row, read-only; InputError where the file is damaged."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        try:
            if row != self._next:
                self._file.seek(self._start + row * self._bytes)
            data = self._file.read(self._bytes)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise InputError(self._where, "a whole array of plain numbers", str(error)) from error
        if len(data) < self._bytes:
            raise InputError(self._where, f"{len(self)} rows", f"{row}, and then the end of the file")
        self._next = row + 1
        return np.frombuffer(data, dtype=self.dtype).reshape(self.shape[1:])


_HEADERS: dict[tuple[int, int], Callable[[Any], tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Arrays:
    """The arrays of an NPZ file by key; the one read last is kept, of images only the place in the file."""

    def __init__(self, path: Path) -> None:
        """Open the file to list its keys; InputError where it is no whole NPZ file."""
        self.path = path
        self._last: tuple[str, npt.NDArray[Any]] | None = None
        self._rows: tuple[str, Rows | npt.NDArray[Any]] | None = None
        if not path.is_file():
            raise InputError(f"data.root: {path}", "an NPZ file", "a folder" if path.is_dir() else "nothing there")
        try:
            with zipfile.ZipFile(path) as archive:
                self.keys = sorted(name.removesuffix(".npy") for name in archive.namelist())
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(path, "a whole NPZ file", f"{error}") from error

    def __getitem__(self, key: str) -> npt.NDArray[Any]:
        """One array, at least 1-d; InputError where it is missing, damaged or pickled."""
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        if key not in self.keys:
            raise UnknownName(self.path, key, self.keys)
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                array = np.atleast_1d(archive[key])
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
            raise InputError(f"{self.path}: {key}", "a whole array of plain numbers or text", str(error)) from error
        self._last = (key, array)
        return array

    def images(self, prefix: str) -> Rows | npt.NDArray[Any]:
        """The images of a split, (N, H, W) or (N, H, W, 1 or 3), of any type of numbers, one by one."""
        if self._rows is None or self._rows[0] != prefix:
            self._rows = (prefix, self._opened(prefix + "images"))
        images = self._rows[1]
        if len(images.shape) not in (3, 4) or (len(images.shape) == 4 and images.shape[3] not in (1, 3)):
            raise InputError(
                f"{self.path}: {prefix}images", "shape (N, H, W), (N, H, W, 1) or (N, H, W, 3)", str(images.shape)
            )
        return images

    def _opened(self, key: str) -> Rows | npt.NDArray[Any]:
        try:
            return Rows(self.path, key)
        except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, OSError):
            return self[key]  # all at once, or the reason why not

    def column(self, key: str, n: int) -> npt.NDArray[Any]:
        """An array of one entry per image (n,)."""
        array = self[key]
        if array.shape not in ((n,), (n, 1)):
            raise InputError(f"{self.path}: {key}", f"one entry for each of the {n} images", f"shape {array.shape}")
        return array.reshape(n)


def _labels(where: str, column: npt.NDArray[Any]) -> list[int]:
    if column.dtype.kind not in "iub":
        raise InputError(where, "whole numbers", f"type {column.dtype}")
    return [int(label) for label in column]


def _renamed(arrays: Arrays, samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples with their `*_files` names as ids, where every sample has one and no two are alike."""
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
    """(digest, "") of every image, or ("", reason) where it has values that cannot be mapped to pixels."""
    found = []
    for i in range(len(images)):
        image = images[i]
        try:
            to_pixels(image, window)
        except ValueError as error:
            found.append(("", str(error)))
        else:
            found.append((content_digest(image.tobytes()), ""))
    return found


def _read(arrays: Arrays, paths: Sequence[str], window: Window | None, index: int) -> Pixels:
    key, row = paths[index].split("#")
    return to_pixels(arrays.images(key.removesuffix("images"))[int(row)], window)
