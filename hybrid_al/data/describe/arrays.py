"""The draft of a recipe for an NPZ file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..archives import PREFIXES, Names
from ..pixels import span_of
from ..readers.arrays import Archive
from ..samples import Sample
from ..words import plain
from .base import Description, counted, listing
from .groups import NO_GROUP
from .names import COLUMNS
from .plan import Rows
from .tree import spread
from .values import LOOKED_AT, set_window


def describe_archive(path: Path) -> Description:
    """A description of an NPZ file with the key names of MedMNIST."""
    arrays, about = Archive(path), Description()
    prefixes = [prefix for prefix in PREFIXES if prefix + "images" in arrays.keys]
    if not prefixes:
        raise InputError(path, "images under train_images or images", ", ".join(arrays.keys) or "no arrays")
    about.saw.append(f"{path.name}: {', '.join(arrays.keys)}")
    group = _group(arrays, prefixes)
    multilabel = _is_multilabel(arrays, prefixes)
    images = {prefix: shape for prefix in prefixes if (shape := arrays.images(prefix + "images").shape)[0]}
    names = Names(group or "none", multilabel=multilabel)
    classes, samples_of = names.rows(arrays, {prefix: shape[0] for prefix, shape in images.items()})
    samples = [sample for of_split in samples_of.values() for sample in of_split]
    rows = Rows(
        [sample.group for sample in samples],
        [sample.split for sample in samples],
        [sample.label for sample in samples],
        [min(sample.labels, default=sample.label) >= 0 for sample in samples],
    )
    about.data = {"source": "npz", "root": str(path), "group": group or "none"}
    about.side = float(np.median([max(shape[1:3]) for shape in images.values()]))
    about.channels = max(shape[3] if len(shape) > 3 else 1 for shape in images.values())
    shown = (f"{prefix}images {n} of {height} x {width} px" for prefix, (n, height, width, *_) in images.items())
    about.took.append(("images", listing(shown)))
    _say_labels(classes, samples, multilabel, about)
    _draft_window(arrays, images, about)
    if group:
        about.took.append(("groups", f"{len(set(rows.groups))}, the arrays that end in {group}"))
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


def _draft_window(arrays: Archive, images: Mapping[str, Sequence[int]], about: Description) -> None:
    """`set_window` by some rows of the pool, the first split."""
    prefix, shape = next(iter(images.items()))
    rows = arrays.images(prefix + "images")
    span = (0.0, 0.0) if rows.dtype.kind == "i" else span_of(rows.dtype)
    if span:
        total = sum(shape[0] for shape in images.values())
        set_window((rows[i] for i in spread(range(shape[0]), LOOKED_AT)), span, total, about)


def _is_multilabel(arrays: Archive, prefixes: list[str]) -> bool:
    keys = [prefix + "labels" for prefix in prefixes if prefix + "labels" in arrays.keys]
    return any(arrays[key].ndim == 2 and arrays[key].shape[1] > 1 for key in keys)


def _say_labels(classes: Sequence[str], samples: Sequence[Sample], multilabel: bool, about: Description) -> None:
    named = classes != tuple(map(str, range(len(classes))))
    if multilabel:
        about.task, about.data["multilabel"] = "multilabel", True
        counts = np.sum([np.equal(sample.labels, 1) for sample in samples], axis=0).tolist()
        about.took.append(("labels", listing((f"{i} {count}" for i, count in enumerate(counts)), 20)))
        about.note("data.multilabel", f"classes: [NAME, ...] would name the {len(counts)} labels")
    elif classes:
        names = counted(classes[sample.label] for sample in samples if sample.label >= 0)
        about.took.append(("classes", f"{len(classes)}: {names}"))
        if named:
            about.data["classes"] = list(classes)
        else:
            about.note("data.group", "classes: [NAME, ...] would name the classes, in the order of their numbers")
    else:
        about.took.append(("classes", "none: all images are unlabeled"))
