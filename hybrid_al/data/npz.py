"""Source of one NPZ file of image and label arrays, with the key names of MedMNIST."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, UnknownName, UnreadableImages
from ..manifest import Split
from .base import Dataset, Pixels
from .images import Window, to_pixels
from .samples import OnError, Sample, check_settings, content_digest, make_dataset

PREFIXES: dict[str, Split | None] = {"train_": "pool", "val_": "val", "test_": "test", "": None}


@dataclass(frozen=True)
class Npz:
    """Arrays `train_images`, `train_labels`, `val_...`, `test_...`; `images` and `labels` where there are no splits.

    images   (N, H, W), (N, H, W, 1) or (N, H, W, 3); uint8, or wider with the rules of `to_pixels`
    labels   (N,) or (N, 1), class numbers, -1 unknown; a split without labels is unlabeled
    files    (N,) optional names, which become the ids where no two are alike; otherwise ids are like train/00012
    group    "none", said on purpose, or the ending of the keys that name the groups: patient for `train_patient`
    classes  names or number of the classes; without it, as many as the largest label asks for
    holdout  {val: f, test: f}, shares to draw where the file has no such split; `seed` fixes the draw
    on_error stop | skip images whose values cannot be mapped to pixels
    window   [low, high] of the values that become 0 and 1

    Pickled (object) arrays are refused. One array of images at a time is held in memory.
    """

    root: Path
    group: str = ""
    classes: int | Sequence[str] | None = None
    holdout: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    on_error: OnError = "stop"
    window: Window | None = None

    def load(self) -> Dataset:
        """Read the file once; rows are in the order train, val, test."""
        check_settings(self.window, self.on_error, self.group, "the ending of a key, such as patient")
        arrays = Arrays(Path(self.root))
        prefixes = [prefix for prefix in PREFIXES if prefix + "images" in arrays.keys]
        if not prefixes:
            raise InputError(arrays.path, "images under train_images or images", ", ".join(arrays.keys) or "no arrays")
        samples: list[Sample] = []
        problems: list[tuple[str, str]] = []
        channels = 1
        for prefix in prefixes:
            images = arrays.images(prefix)
            channels = max(channels, images.shape[3] if images.ndim == 4 else 1)
            for sample, image in zip(self._rows(arrays, prefix, len(images)), images, strict=True):
                try:
                    to_pixels(image, self.window)
                except ValueError as error:
                    problems.append((sample.path, str(error)))
                else:
                    samples.append(replace(sample, digest=content_digest(image.tobytes())))
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
        labels = [-1] * n
        if prefix + "labels" in arrays.keys:
            labels = _labels(f"{arrays.path}: {prefix}labels", arrays.column(prefix + "labels", n))
        return [Sample(ids[i], f"{prefix}images#{i}", str(groups[i]), PREFIXES[prefix], labels[i]) for i in range(n)]

    def _class_names(self, path: Path, samples: Sequence[Sample]) -> tuple[str, ...]:
        given = self.classes
        if given is None:
            given = 1 + max(sample.label for sample in samples)
        names = tuple(map(str, range(given))) if isinstance(given, int) else tuple(given)
        for sample in samples:
            if not -1 <= sample.label < len(names):
                raise InputError(
                    f"{path}: label of {sample.id}", f"a class below {len(names)}, or -1", str(sample.label)
                )
        return names


class Arrays:
    """The arrays of an NPZ file by key; the one read last is kept."""

    def __init__(self, path: Path) -> None:
        """Open the file to list its keys; InputError where it is no whole NPZ file."""
        self.path = path
        self._last: tuple[str, npt.NDArray[Any]] | None = None
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

    def images(self, prefix: str) -> npt.NDArray[Any]:
        """The images of a split, (N, H, W) or (N, H, W, 1 or 3), of any type of numbers."""
        images = self[prefix + "images"]
        if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
            raise InputError(
                f"{self.path}: {prefix}images", "shape (N, H, W), (N, H, W, 1) or (N, H, W, 3)", str(images.shape)
            )
        return images

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


def _read(arrays: Arrays, paths: Sequence[str], window: Window | None, index: int) -> Pixels:
    key, row = paths[index].split("#")
    return to_pixels(arrays[key][int(row)], window)
