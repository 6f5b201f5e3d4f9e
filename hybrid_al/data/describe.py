"""Look at a folder or file and guess the `data:` section of a recipe for it, with notes for the person who reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict, TypeVar

import numpy as np

from ..core.manifest import Split
from ..errors import InputError
from .archives import PREFIXES, Names
from .folders import find_images
from .readers import choose
from .readers.arrays import Archive
from .samples import reason
from .splits import NAMES, read_split
from .tables import read_labels, read_table
from .words import missing_marks

T = TypeVar("T")
AUTOMATIC = choose()

ROLES: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "img", "image_id"),
    "label": ("label", "class", "target", "dx", "diagnosis", "finding", "category", "y"),
    "mask": ("mask", "mask_path", "segmentation"),
    "group": (
        "group",
        "patient",
        "patient_id",
        "patientid",
        "subject",
        "subject_id",
        "case",
        "case_id",
        "volume",
        "slide",
    ),
    "split": ("split", "set", "subset", "partition", "fold"),
}
MAX_SIDE = 64  # pixels; larger images train too slowly for a first try on a CPU
MAX_CLASSES = 50
SAMPLED = 200
NO_GROUP = "no patients found, so every image counts as its own: set data.group if several show one patient"


class Description(TypedDict):
    """The `data:` section of a recipe, and notes about it.

    data     the section, plain values fit for YAML
    labeled  whether the data holds labels
    notes    facts about the data, and points to check
    """

    data: dict[str, object]
    labeled: bool
    notes: list[str]


def describe(path: Path) -> Description:
    """Guess the `data:` section for an NPZ file, a CSV file, a folder that holds one of them, or a folder of images.

    Raises InputError where there is nothing that a source could read.
    """
    path = Path(path)
    if path.is_dir():
        tables = sorted([*path.glob("*.csv"), *path.glob("*.tsv")])
        arrays = sorted(path.glob("*.npz"))
        if len(arrays) == 1 and not tables:
            return _npz(arrays[0])
        for table in tables:
            description = _csv(table)
            if description is not None:
                return description
        return _folder(path)
    if path.suffix == ".npz":
        return _npz(path)
    if path.suffix in (".csv", ".tsv"):
        description = _csv(path)
        if description is None:
            raise InputError(path, "a column of image paths, called path, file or image", "none whose files exist")
        return description
    raise InputError(
        path, "a folder of images, a CSV or an NPZ file", "a file of another kind" if path.exists() else "nothing there"
    )


def _npz(path: Path) -> Description:
    arrays = Archive(path)
    prefixes = [prefix for prefix in PREFIXES if prefix + "images" in arrays.keys]
    if not prefixes:
        raise InputError(path, "images under train_images or images", ", ".join(arrays.keys) or "no arrays")
    known = {"images", "labels", "files"}
    endings = sorted({key.removeprefix(prefixes[0]) for key in arrays.keys if key.startswith(prefixes[0])} - known)
    group = next((ending for ending in endings if ending in ROLES["group"]), "none")
    notes = [NO_GROUP] if group == "none" else [f"groups: the arrays that end in {group}"]
    sides, sizes = [], {}
    for prefix in prefixes:
        images = arrays.images(prefix + "images")
        sides.append(max(images.shape[1:3]))
        notes.append(f"{len(images)} images of {images.shape[1]} x {images.shape[2]} pixels in {prefix}images")
        sizes[prefix] = len(images)
    data = _section("npz", path, sides, group)
    classes, _ = Names("none").rows(arrays, sizes)
    if classes:
        numbered = classes == tuple(map(str, range(len(classes))))
        names = "data.classes: [name, ...] would name them" if numbered else ", ".join(classes)
        notes.append(f"{len(classes)} classes; {names}")
    splits = {PREFIXES[prefix] for prefix in prefixes if sizes[prefix]}
    return _with_holdout(data, notes, splits, labeled=bool(classes))


def _csv(path: Path) -> Description | None:
    """A description of a table; None where no column names files that exist."""
    header, lines = read_table(path)
    for images in (path.parent, path.parent / "images"):
        columns = _columns(header, [row for _, row in lines], images)
        if "path" in columns:
            break
    else:
        return None
    group = columns.pop("group", "none")
    masks = columns.pop("mask", None) if "label" in columns else None
    data = _section("csv", path, _sides([images / row[columns["path"]] for _, row in lines]), group)
    data["columns"] = columns
    if images != path.parent:
        data["images"] = str(images)
    notes = [f"{len(lines)} rows; columns read: {', '.join(f'{role} = {name}' for role, name in columns.items())}"]
    notes.append(NO_GROUP if group == "none" else f"groups: the column {group}")
    if masks is not None:
        notes.append(f"masks in the column {masks}: columns.mask in the place of columns.label would segment")
    if "label" in columns:
        marks = missing_marks(row[columns["label"]] for _, row in lines)
        if marks:
            data["unknown"] = marks
            notes.append(f"{', '.join(marks)}: read as not labeled; a class of that name goes from unknown to classes")
        classes, _ = read_labels(path, [(line, row[columns["label"]]) for line, row in lines], None, marks)
        data["classes"] = list(classes)
        notes.append(f"{len(classes)} classes, numbered in this order: {', '.join(classes)}")
    else:
        notes.append("no column of labels found: all images are unlabeled; data.columns.label would name one")
    splits = {read_split(path, row[columns["split"]]) for _, row in lines} if "split" in columns else set()
    return _with_holdout(data, notes, splits, labeled="label" in columns)


def _folder(path: Path) -> Description:
    """A description of a folder of images; more than `MAX_CLASSES` folders count as patients, not as classes."""
    if (path / "images").is_dir() and (path / "masks").is_dir():
        path = path / "images"
    entries = find_images(path.resolve(), "folders", AUTOMATIC)
    names = sorted({name for _, _, name in entries if name is not None})
    data = _section("folder", path, _sides([path / image for image, _, _ in entries]), "none")
    splits = {split for _, split, _ in entries}
    if len(names) > MAX_CLASSES:
        data["labels"] = "none"
        data["group"] = "([^/]+)/[^/]*$"
        notes = [f"{len(entries)} images in {len(names)} folders, too many for classes: each is taken for one patient"]
    else:
        notes = [f"{len(entries)} images; classes: {', '.join(names) or 'none, all images are unlabeled'}", NO_GROUP]
    return _with_holdout(data, notes, splits, labeled=bool(names) and "labels" not in data)


def _columns(header: Sequence[str], rows: Sequence[Mapping[str, str]], folder: Path) -> dict[str, str]:
    """Role -> column, by usual names of columns and by the content of the cells."""
    sample = _spread(rows)
    columns: dict[str, str] = {}
    for role, names in ROLES.items():
        candidates = [name for synonym in names for name in header if name.lower() == synonym]
        if role == "path":
            candidates += header
        for column in candidates:
            cells = [row[column].strip() for row in sample]
            if role in ("path", "mask"):
                fits = any(AUTOMATIC.stem(cell) != cell and (folder / cell).is_file() for cell in cells)
            elif role == "split":
                fits = all(row[column].strip().lower() in NAMES for row in rows)
            else:
                fits = all(cells) if role == "group" else any(cells)
            if fits and column not in columns.values():
                columns[role] = column
                break
    return columns


def _section(source: str, root: Path, sides: Sequence[int], group: str) -> dict[str, object]:
    """The keys that every section has; the image size is the median longer side, at most 64, a multiple of 4."""
    size = max(4, 4 * round(min(MAX_SIDE, float(np.median(sides))) / 4))
    return {"source": source, "root": str(root), "image_size": size, "group": group}


def _with_holdout(
    data: dict[str, object], notes: list[str], splits: Iterable[Split | None], *, labeled: bool
) -> Description:
    """The description, with shares to hold out for splits that are not in the data."""
    shares = {name: share for name, share in (("val", 0.1), ("test", 0.2)) if name not in set(splits)}
    if shares:
        data["holdout"] = shares
        notes.append(f"no {' and no '.join(shares)} split: {shares} is drawn from the rest, by group, from the seed")
    return {"data": data, "labeled": labeled, "notes": notes}


def _sides(paths: Sequence[Path]) -> list[int]:
    """Longer sides of some of the images, in pixels; InputError where none of them can be read."""
    sides, problem = [], ""
    for path in _spread(paths):
        try:
            header = AUTOMATIC.of(path).probe(path)
            sides.append(max(header.height, header.width))
        except (OSError, ValueError) as error:
            problem = f"{path}: {reason(error)}"
    if not sides:
        raise InputError(paths[0].parent, "images that can be read", problem)
    return sides


def _spread(items: Sequence[T]) -> list[T]:
    """At most SAMPLED of the items, evenly spread."""
    return [items[i * len(items) // SAMPLED] for i in range(SAMPLED)] if len(items) > SAMPLED else list(items)
