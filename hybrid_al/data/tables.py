"""CSV files, and the samples whose files, labels, groups and splits they list."""

from __future__ import annotations

import csv
import glob
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError, UnknownName
from .samples import Sample
from .splits import read_split

ROLES = ("path", "slice", "label", "mask", "group", "split")
Line = tuple[int, dict[str, str]]
"""Line number in the file, and its cells by column."""


@dataclass(frozen=True)
class Table:
    """A CSV file (UTF-8, commas; tabs in a .tsv) that names files; the fields as in `Csv`."""

    root: Path
    columns: Mapping[str, str]
    images: Path | None = None
    group: str = ""
    classes: int | Sequence[str] | None = None
    labels: Sequence[str] = field(default_factory=tuple)

    @property
    def group_column(self) -> str:
        """The column of the groups, or "none"; "" without either."""
        return self.group or self.columns.get("group", "")

    def find(self) -> tuple[Path, tuple[str, ...], list[Sample]]:
        """The folder of the files, the classes, and the samples that the table lists, before any file is read."""
        table, group = table_of(self.root), self.group_column
        header, lines = read_table(table)
        self._check_columns(header, group)
        images = Path(self.images if self.images is not None else table.parent).resolve()
        if not images.is_dir():
            raise InputError(f"data.images: {images}", "a folder", "no such folder")
        places = self._places(lines, images)
        masks = self._masks(lines, images)
        label_column = self.columns.get("label")
        cells = [(line, row[label_column].strip() if label_column else "") for line, row in lines]
        classes, labels = read_labels(table, cells, self.classes)
        samples = []
        for (path, z), mask, label, (line, row) in zip(places, masks, labels, lines, strict=True):
            where = f"{table}, line {line}"
            split = read_split(where, row[self.columns["split"]]) if "split" in self.columns else None
            group_name = path if group == "none" else row[group].strip()
            if not group_name:
                raise InputError(f"{where}, column {group}", "a group", "an empty cell")
            label_row = tuple(_yes_or_no(where, column, row[column].strip()) for column in self.labels)
            samples.append(Sample(path, path, group_name, split, label, mask=mask, z=z, labels=label_row))
        return images, tuple(self.labels) or classes, samples

    def _check_columns(self, header: Sequence[str], group: str) -> None:
        for role, column in self.columns.items():
            if role not in ROLES:
                raise UnknownName("data.columns", role, ROLES)
            if role in ("path", "mask"):
                for name in template_columns(f"data.columns.{role}", column):
                    require_column(f"data.columns.{role}", name, header)
            elif (role, column) != ("group", "none"):
                require_column(f"data.columns.{role}", column, header)
        if "mask" in self.columns and "label" in self.columns:
            raise InputError("data.columns", "label or mask: a recipe has one task", "both")
        for column in self.labels:
            require_column("data.labels", column, header)
        if self.labels and (self.columns.keys() & {"label", "mask"} or self.classes is not None):
            raise InputError("data.labels", "no label or mask column, and no classes, beside labels", "some")
        if len(set(self.labels)) < len(self.labels):
            raise InputError("data.labels", "each column once", ", ".join(self.labels))
        if "path" not in self.columns:
            raise InputError("data.columns.path", f"one of the columns {', '.join(header)}", "nothing")
        if group != "none":
            require_column("data.group", group, header)

    def _places(self, lines: Sequence[Line], images: Path) -> list[tuple[str, int]]:
        """The path of every row and its slice, -1 where there is no such column; InputError for a second row of one."""
        line_of: dict[tuple[Path, int], int] = {}
        places = []
        for line, row in lines:
            where = f"{self.root}, line {line}"
            path, file = _below(images, where, _search(images, where, self.columns["path"], row))
            z = _number(where, self.columns["slice"], row) if "slice" in self.columns else -1
            if (file, z) in line_of:
                raise InputError(where, "an image of its own", f"{path}, as in line {line_of[file, z]}")
            line_of[file, z] = line
            places.append((path, z))
        return places

    def _masks(self, lines: Sequence[Line], images: Path) -> list[str]:
        """The mask of every row, "" where its cell is empty."""
        if "mask" not in self.columns:
            return [""] * len(lines)
        paths = []
        for line, row in lines:
            text = fill(self.columns["mask"], row)
            paths.append(text and _below(images, f"{self.root}, line {line}", text)[0])
        return paths


def _yes_or_no(where: str, column: str, text: str) -> int:
    if text not in ("", "0", "1"):
        raise InputError(f"{where}, column {column}", "0 or 1, or an empty cell", repr(text))
    return int(text) if text else -1


def _number(where: str, column: str, row: Mapping[str, str]) -> int:
    text = row[column].strip()
    if not (text.isascii() and text.isdecimal()):
        raise InputError(f"{where}, column {column}", "a number from 0", repr(text))
    return int(text)


def table_of(root: Path) -> Path:
    """The CSV file of `data.root`: itself, or the index.csv of a folder."""
    inside = Path(root) / "index.csv"
    return inside if inside.is_file() else Path(root)


def read_table(path: Path) -> tuple[list[str], list[Line]]:
    """Header and rows of a CSV file; InputError with the line where it is no valid CSV."""
    if not path.is_file():
        raise InputError(f"data.root: {path}", "a CSV file", "a folder" if path.is_dir() else "nothing there")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
        try:
            rows = [(reader.line_num, row) for row in reader if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path}, after line {reader.line_num}", "CSV in UTF-8", str(error)) from error
    if len(rows) < 2:
        raise InputError(path, "a header and at least one row", f"{len(rows)} line(s)")
    header = [name.strip() for name in rows[0][1]]
    duplicates = sorted({name for name in header if header.count(name) > 1})
    if duplicates:
        raise InputError(f"{path}, line 1", "columns of different names", f"{duplicates[0]!r} twice")
    lines = []
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise InputError(f"{path}, line {line}", f"{len(header)} cells", str(len(row)))
        lines.append((line, dict(zip(header, row, strict=True))))
    return header, lines


def read_labels(
    table: Path, cells: Sequence[tuple[int, str]], classes: int | Sequence[str] | None
) -> tuple[tuple[str, ...], list[int]]:
    """Names of the classes, and the class number of every (line, text); -1 where the text is empty.

    Texts are names where at least one of them is among the names, else numbers from 0: never a mix of both.
    """
    texts = {text for _, text in cells if text}
    numbers = all(text.isdecimal() for text in texts)
    if classes is None:
        names = tuple(sorted(texts, key=lambda text: (int(text), text) if numbers else (0, text)))
    else:
        names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
    number = {name: i for i, name in enumerate(names)}
    if not texts & number.keys():
        number = {str(i): i for i in range(len(names))}
    for line, text in cells:
        if text and text not in number:
            raise InputError(f"{table}, line {line}", f"a label among {', '.join(number)}", repr(text))
    return names, [number.get(text, -1) for _, text in cells]


def template_columns(where: str, text: str) -> list[str]:
    """The columns that a template names; a text without braces names itself."""
    return [text] if "{" not in text else list(_fields(where, text))


def require_column(where: str, column: str, header: Sequence[str]) -> None:
    """UnknownName, with the nearest column, where the table has no such column."""
    if column not in header:
        raise UnknownName(where, column, header)


def fill(template: str, row: Mapping[str, str]) -> str:
    """The text of a column, or of a template of columns, in one row."""
    return (template.format_map(row) if "{" in template else row[template]).strip()


def _search(images: Path, where: str, template: str, row: Mapping[str, str]) -> str:
    """The path that a template names; where it has a *, as in part_*/{id}.jpg, that of the one file that fits."""
    if "{" not in template or "*" not in template:
        return fill(template, row)
    pattern = fill(template, {name: glob.escape(cell.strip()) for name, cell in row.items()}).lstrip("/")
    files = sorted(file.relative_to(images).as_posix() for file in images.glob(pattern))
    if len(files) > 1:
        raise InputError(where, f"one file of the name {pattern}", f"{files[0]} and {files[1]}")
    return files[0] if files else pattern


def _fields(where: str, template: str) -> Iterator[str]:
    try:
        for _, name, spec, conversion in string.Formatter().parse(template):
            if name is not None:
                if spec or conversion:
                    raise ValueError("a format in the braces")
                yield name
    except ValueError as error:
        raise InputError(where, "a column, or a template such as {split}/{file}", f"{template!r} ({error})") from error


def _below(images: Path, where: str, text: str) -> tuple[str, Path]:
    """A path relative to `images`, normalised, and the file that it leads to."""
    if not text:
        raise InputError(where, "a path", "an empty cell")
    try:
        file = (images / text).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(where, "a path", f"{text!r} ({error})") from error
    if not file.is_relative_to(images) or file == images:
        raise InputError(where, f"a path below {images}", repr(text))
    return Path(text).as_posix() if not Path(text).is_absolute() else file.relative_to(images).as_posix(), file
