"""Labels of images from a table with one row a file, series, study or patient, or a slide or tile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypedDict

from ..core.manifest import Split
from ..errors import InputError, UnknownName
from .splits import by_first_folder, read_split
from .studies import Slice
from .tables import NONE, Line, Table, read_table, require_column
from .words import Mark, class_numbers, whole

UNITS = ("file", "series", "study", "patient")
"""What a row of a table of DICOM images may be about."""
NAMED = ("file", "slide")
"""Units that a table may name with or without folder and suffix."""
PLACE = ("slide", "x", "y")
"""Columns that name a tile together: its slide and its left and upper edge there."""
ROLES = ("label", "split")


class Answer(TypedDict):
    """What a table says of an image: the fields of a `Sample`."""

    label: int
    labels: tuple[int, ...]
    split: Split | None


@dataclass(frozen=True)
class Answers:
    """The classes, the answer about each image (N,), remarks, and its group (N,) where the table has a column of them.

    A group is "" where the table has no row for the image.
    """

    classes: tuple[str, ...]
    rows: tuple[Answer, ...]
    notes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @classmethod
    def nothing(cls, classes: Sequence[str], count: int) -> Answers:
        """No answer about any of `count` images."""
        return cls(tuple(classes), (Answer(label=-1, labels=(), split=None),) * count)

    def with_splits(self, splits: Sequence[Split | None]) -> Answers:
        """These answers, with the split (N,) of each image."""
        rows = zip(self.rows, splits, strict=True)
        return replace(self, rows=tuple(Answer(label=a["label"], labels=a["labels"], split=s) for a, s in rows))


def key_of(part: Slice, unit: str, patient: int = -1) -> str:
    """What names an image in a table: its path, a UID, or the patient, which is this one of the values of its facts."""
    if unit == "patient":
        return part.facts.values[patient]
    return {"file": part.path, "series": part.facts.series, "study": part.facts.study}[unit]


def keys_of(parts: Sequence[Slice], patient: int = -1) -> dict[str, list[str]]:
    """Unit -> what names each image."""
    units = [unit for unit in UNITS if unit != "patient" or all(part.facts.values for part in parts)]
    return {unit: [key_of(part, unit, patient) for part in parts] for unit in units}


@dataclass(frozen=True)
class Labels:
    """A table of labels; the fields as in the source. `roles` are those of columns beside the units."""

    table: Path
    columns: Mapping[str, str]
    labels: Sequence[str] = ()
    classes: int | Sequence[str] | None = None
    unknown: Sequence[Mark] = ()
    separator: str = ""
    none: str = ""
    sheet: str = ""
    roles: Sequence[str] = ROLES

    def find(self, keys: Mapping[str, Sequence[str]]) -> Answers:
        """The answers about images.

        keys  unit -> what names each image (N,); of the unit `place` the path of a slide, `/x`, x, `_y` and y

        InputError where two rows of one unit differ, and where no row is about an image.
        """
        header, lines = read_table(self.table, "data.table", self.sheet)
        unit, columns = self._columns(header, keys)
        reader = Table(
            self.table,
            columns,
            classes=self.classes,
            labels=self.labels,
            unknown=self.unknown,
            separator=self.separator,
            none=self.none,
        )
        classes, labels, several = reader.answers(self.table, lines, columns)
        cell_of, here = _cells(self.table, unit, columns, keys), set(keys[unit])
        what = "tile" if unit == "place" else unit
        by_key: dict[str, tuple[Answer, str]] = {}
        line_of: dict[str, int] = {}
        strangers = []
        for k, (line, row) in enumerate(lines):
            where, key = f"{self.table}, line {line}", cell_of((line, row))
            split = read_split(where, row[columns["split"]]) if "split" in columns else None
            group = row[columns["group"]] if "group" in columns else ""
            if "group" in columns and not group:
                raise InputError(f"{where}, column {columns['group']}", "a group", "an empty cell")
            answer = Answer(label=labels[k], labels=several[k], split=split), group
            if key not in here:
                strangers.append(line)
            elif by_key.setdefault(key, answer) != answer:
                raise InputError(where, f"the answer of line {line_of[key]}, which has the same {what}", "another one")
            line_of.setdefault(key, line)
        if not by_key:
            expected = f"a row with the {what} of an image in column {', '.join(_named(unit, columns))}"
            raise InputError(self.table, expected, f"none in {len(lines)} rows")
        notes = []
        if strangers:
            notes.append(f"{self.table.name}: {len(strangers)} rows name no {what} here (first: line {strangers[0]})")
        if missing := len(here - by_key.keys()):
            notes.append(f"{self.table.name}: no row for {missing} of {len(here)} ({what}), whose images are unlabeled")
        nothing = Answer(label=-1, labels=(-1,) * (len(classes) if any(several) else 0), split=None), ""
        found = [by_key.get(key, nothing) for key in keys[unit]]
        groups = tuple(group for _, group in found) if "group" in columns else ()
        return Answers(classes, tuple(answer for answer, _ in found), tuple(notes), groups)

    def _columns(self, header: Sequence[str], units: Mapping[str, Sequence[str]]) -> tuple[str, dict[str, str]]:
        """The unit of a row, and role -> column."""
        columns = {role: column for role, column in self.columns.items() if column != NONE}
        names = [unit for unit in units if unit != "place"]
        roles = [*names, *(PLACE[1:] if "place" in units else ()), *self.roles]
        for role, column in columns.items():
            if role not in roles:
                raise UnknownName("data.columns", role, roles)
            require_column(f"data.columns.{role}", column, header)
        given = [unit for unit in names if unit in columns]
        if columns.keys() & {*PLACE[1:]}:
            if not columns.keys() >= {*PLACE} or len(given) != 1:
                raise InputError("data.columns", "slide, x and y together, for tiles", ", ".join(sorted(columns)))
            given = ["place"]
        if len(given) != 1:
            raise InputError("data.columns", f"one of {', '.join(names)}", ", ".join(given) or "none of them")
        if bool(self.labels) == ("label" in columns):
            raise InputError("data.columns", "a column label, or data.labels", "both" if self.labels else "neither")
        for column in self.labels:
            require_column("data.labels", column, header)
        return given[0], columns


def _named(unit: str, columns: Mapping[str, str]) -> list[str]:
    """The columns that name a unit."""
    return [columns[role] for role in (PLACE if unit == "place" else (unit,))]


def _cells(
    table: Path, unit: str, columns: Mapping[str, str], keys: Mapping[str, Sequence[str]]
) -> Callable[[Line], str]:
    """Row of a table -> the key of its unit."""
    named = "slide" if unit == "place" else unit
    paths = by_name(set(keys[named])) if named in NAMED else {}

    def cell_of(line: Line) -> str:
        number, row = line
        cell = row[columns[named]]
        key = paths.get(cell.replace("\\", "/").removeprefix("./"), cell)
        if unit != "place":
            return key
        for role in PLACE[1:]:
            if whole(row[columns[role]]) is None:
                raise InputError(
                    f"{table}, line {number}, column {columns[role]}", "a whole number", repr(row[columns[role]])
                )
        return f"{key}/x{whole(row[columns['x']])}_y{whole(row[columns['y']])}"

    return cell_of


def without_table(
    paths: Sequence[str],
    labels: object,
    table: Path | None,
    classes: Sequence[str] | int | None,
    unknown: Sequence[Mark],
) -> Answers | None:
    """The answers about images (N,) that need no table: by their folders, or none; None where there is a table."""
    names = None if isinstance(classes, int) else classes
    if labels == "folders":
        if table is not None or isinstance(classes, int):
            raise InputError("data.labels", "folders without data.table and with names as data.classes", "both")
        return by_folder(paths, names, unknown)
    return Answers.nothing(names or (), len(paths)) if table is None else None


def by_folder(paths: Sequence[str], classes: Sequence[str] | None, unknown: Sequence[Mark] = ()) -> Answers:
    """The first folder below the root as the class of each image; those beside the folders are unlabeled.

    Where all first folders are called train, val, test or the like, they are the splits, and the next are the classes.
    `classes` are their names in order, by default sorted; InputError for a folder that is none of them.
    """
    splits, below = by_first_folder(paths)
    folders = [path.partition("/")[0] if "/" in path else "" for path in below]
    cells = [(f"class folder {folder}", folder) for folder in dict.fromkeys(folders)]
    names, numbers = class_numbers(cells, classes, unknown)
    label = dict(zip((folder for _, folder in cells), numbers, strict=True))
    rows = tuple(Answer(label=label[folder], labels=(), split=None) for folder in folders)
    return Answers(names, rows).with_splits(splits)


def by_name(paths: set[str]) -> dict[str, str]:
    """Path of each file by its path, and by its name with and without suffix where no other file has it."""
    names = {path: {path, PurePosixPath(path).name, PurePosixPath(path).stem} for path in paths}
    counts = Counter(name for forms in names.values() for name in forms)
    return {name: path for path, forms in names.items() for name in forms if counts[name] == 1 or name == path}
