"""The draft of a recipe for an NPZ file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...core.manifest import Split
from ...errors import InputError
from ..archives import PREFIXES
from ..readers.arrays import Archive
from .base import Description, counted, listing
from .names import COLUMNS, plain
from .plan import Rows
from .table import NO_GROUP
from .tree import side_of


def describe_archive(path: Path) -> Description:
    """A description of an NPZ file with the key names of MedMNIST."""
    arrays, about = Archive(path), Description()
    prefixes = [prefix for prefix in PREFIXES if prefix + "images" in arrays.keys]
    if not prefixes:
        raise InputError(path, "images under train_images or images", ", ".join(arrays.keys) or "no arrays")
    about.saw.append(f"{path.name}: {', '.join(arrays.keys)}")
    group = _group(arrays, prefixes)
    multilabel = _is_multilabel(arrays, prefixes)
    groups: list[str] = []
    splits: list[Split | None] = []
    labels: list[int] = []
    answered: list[bool] = []
    sides, shown = [], []
    for prefix in prefixes:
        images = arrays.images(prefix + "images")
        n = len(images)
        sides.append(max(images.shape[1:3]))
        shown.append(f"{prefix}images {n} of {images.shape[1]} x {images.shape[2]} px")
        names = arrays.column(prefix + group, n) if group else np.arange(len(groups), len(groups) + n)
        groups += [str(name) for name in names]
        splits += [PREFIXES[prefix]] * n
        column, known = _labels(arrays, prefix + "labels", n, multilabel)
        labels, answered = labels + column, answered + known
    rows = Rows(groups, splits, labels, answered)
    about.data = {"source": "npz", "root": str(path), "group": group or "none"}
    about.data["image_size"] = side_of(float(np.median(sides)))
    about.took.append(("images", listing(shown)))
    _say_labels(arrays, prefixes, labels, multilabel, about)
    if group:
        about.took.append(("groups", f"{len(set(groups))}, the arrays that end in {group}"))
    else:
        about.open.append(f"{NO_GROUP}; set data.group if several show one patient")
        about.note("data.group", NO_GROUP)
    read = {prefix + ending for prefix in prefixes for ending in ("images", "labels", "files", group)}
    if rest := [key for key in arrays.keys if key not in read]:
        about.left.append(f"arrays: {listing(rest)}")
    return about.finish(rows, [path.stem])


def _group(arrays: Archive, prefixes: list[str]) -> str:
    """The ending of the arrays of groups, which all splits have; "" without one."""
    endings = [key.removeprefix(prefixes[0]) for key in arrays.keys if key.startswith(prefixes[0])]
    named = [ending for ending in endings if plain(ending) in COLUMNS["group"]]
    named.sort(key=lambda ending: COLUMNS["group"].index(plain(ending)))
    return next((ending for ending in named if all(prefix + ending in arrays.keys for prefix in prefixes)), "")


def _is_multilabel(arrays: Archive, prefixes: list[str]) -> bool:
    keys = [prefix + "labels" for prefix in prefixes if prefix + "labels" in arrays.keys]
    return any(arrays[key].ndim == 2 and arrays[key].shape[1] > 1 for key in keys)


def _labels(arrays: Archive, key: str, n: int, multilabel: bool) -> tuple[list[int], list[bool]]:
    if key not in arrays.keys:
        return [-1] * n, [False] * n
    if multilabel:
        return [-1] * n, np.all(arrays[key] >= 0, axis=1).tolist()
    column = arrays.column(key, n)
    if column.dtype.kind not in "iub":
        raise InputError(f"{arrays.path}: {key}", "whole numbers, one a class", f"type {column.dtype}")
    labels = [int(label) for label in column]
    return labels, [label >= 0 for label in labels]


def _say_labels(arrays: Archive, prefixes: list[str], labels: list[int], multilabel: bool, about: Description) -> None:
    if multilabel:
        about.task, about.data["multilabel"] = "multilabel", True
        tables = [arrays[prefix + "labels"] for prefix in prefixes if prefix + "labels" in arrays.keys]
        counts = np.sum([(table == 1).sum(axis=0) for table in tables], axis=0).tolist()
        about.took.append(("labels", listing((f"{i} {count}" for i, count in enumerate(counts)), 20)))
        about.note("data.multilabel", f"classes: [NAME, ...] would name the {len(counts)} labels")
    elif any(label >= 0 for label in labels):
        count = max(labels) + 1
        names = counted(str(label) for label in labels if label >= 0)
        about.took.append(("classes", f"{count}: {names}"))
        about.note("data.group", "classes: [NAME, ...] would name the classes, in the order of their numbers")
    else:
        about.took.append(("classes", "none: all images are unlabeled"))
