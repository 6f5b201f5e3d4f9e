"""Labels of DICOM images from a table with one row a file, series, study or patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypedDict

from ..core.manifest import Split
from ..errors import InputError, UnknownName
from .splits import read_split
from .studies import Slice
from .tables import NONE, Table, read_table, require_column
from .words import Mark, class_numbers

UNITS = ("file", "series", "study", "patient")
"""What a row of a table may be about."""


class Answer(TypedDict):
    """What a table says of an image: the fields of a `Sample`."""

    label: int
    labels: tuple[int, ...]
    split: Split | None


@dataclass(frozen=True)
class Answers:
    """The classes, the answer of each unit by its key, remarks, and what a unit is: one of `UNITS`, or ""."""

    classes: tuple[str, ...]
    by_key: Mapping[str, Answer]
    notes: tuple[str, ...]
    unit: str
    several: int = 0
    patient: int = -1

    def of(self, part: Slice) -> Answer:
        """The answer of an image; none where the table has no row for it."""
        nothing = Answer(label=-1, labels=(-1,) * self.several, split=None)
        return self.by_key.get(key_of(part, self.unit, self.patient), nothing) if self.unit else nothing


def key_of(part: Slice, unit: str, patient: int = -1) -> str:
    """What names an image in a table: its path, a UID, or the patient, which is this one of the values of its facts."""
    if unit == "patient":
        return part.facts.values[patient]
    return {"file": part.path, "series": part.facts.series, "study": part.facts.study}[unit]


@dataclass(frozen=True)
class Labels:
    """A table of labels; the fields as in the source, and which of the values of facts is the patient."""

    table: Path
    columns: Mapping[str, str]
    labels: Sequence[str] = ()
    classes: int | Sequence[str] | None = None
    unknown: Sequence[Mark] = ()
    separator: str = ""
    none: str = ""
    patient: int = -1
    sheet: str = ""

    def find(self, parts: Sequence[Slice]) -> Answers:
        """The answers for images; InputError where two rows of one unit differ, and where no row is about an image."""
        header, lines = read_table(self.table, "data.table", self.sheet)
        unit, columns = self._columns(header)
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
        here = {key_of(part, unit, self.patient) for part in parts}
        paths = by_name(here) if unit == "file" else {}
        by_key: dict[str, Answer] = {}
        line_of: dict[str, int] = {}
        strangers = []
        for k, (line, row) in enumerate(lines):
            where, cell = f"{self.table}, line {line}", row[columns[unit]]
            key = paths.get(cell.replace("\\", "/").removeprefix("./"), cell)
            split = read_split(where, row[columns["split"]]) if "split" in columns else None
            answer = Answer(label=labels[k], labels=several[k], split=split)
            if key not in here:
                strangers.append(line)
            elif by_key.setdefault(key, answer) != answer:
                raise InputError(where, f"the answer of line {line_of[key]}, which has the same {unit}", "another one")
            line_of.setdefault(key, line)
        if not by_key:
            expected = f"a row with the {unit} of an image in column {columns[unit]}"
            raise InputError(self.table, expected, f"none in {len(lines)} rows")
        notes = []
        if strangers:
            notes.append(f"{self.table.name}: {len(strangers)} rows name no {unit} here (first: line {strangers[0]})")
        if missing := len(here - by_key.keys()):
            notes.append(f"{self.table.name}: no row for {missing} of {len(here)} ({unit}), whose images are unlabeled")
        return Answers(classes, by_key, tuple(notes), unit, len(classes) if any(several) else 0, self.patient)

    def _columns(self, header: Sequence[str]) -> tuple[str, dict[str, str]]:
        """The unit of a row, and role -> column."""
        columns = {role: column for role, column in self.columns.items() if column != NONE}
        for role, column in columns.items():
            if role not in (*UNITS, "label", "split"):
                raise UnknownName("data.columns", role, (*UNITS, "label", "split"))
            require_column(f"data.columns.{role}", column, header)
        units = [unit for unit in UNITS if unit in columns]
        if len(units) != 1:
            raise InputError("data.columns", f"one of {', '.join(UNITS)}", ", ".join(units) or "none of them")
        if bool(self.labels) == ("label" in columns):
            raise InputError("data.columns", "a column label, or data.labels", "both" if self.labels else "neither")
        for column in self.labels:
            require_column("data.labels", column, header)
        return units[0], columns


def by_folder(parts: Sequence[Slice], classes: Sequence[str] | None, unknown: Sequence[Mark] = ()) -> Answers:
    """The first folder below the root as the class of each image; those beside the folders are unlabeled.

    `classes` are their names in order, by default sorted; InputError for a folder that is none of them.
    """
    folders = {part.path: part.path.partition("/")[0] if "/" in part.path else "" for part in parts}
    cells = [(f"class folder {folder}", folder) for folder in dict.fromkeys(folders.values())]
    names, numbers = class_numbers(cells, classes, unknown)
    label = dict(zip((folder for _, folder in cells), numbers, strict=True))
    return Answers(
        names,
        {path: Answer(label=label[folder], labels=(), split=None) for path, folder in folders.items()},
        (),
        "file",
    )


def by_name(paths: set[str]) -> dict[str, str]:
    """Path of each file by its path, and by its name with and without suffix where no other file has it."""
    names = {path: {path, PurePosixPath(path).name, PurePosixPath(path).stem} for path in paths}
    counts = Counter(name for forms in names.values() for name in forms)
    return {name: path for path, forms in names.items() for name in forms if counts[name] == 1 or name == path}
