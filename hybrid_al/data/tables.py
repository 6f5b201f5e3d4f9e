"""Tables (CSV, Excel, JSON lines), and the samples whose files, labels, groups and splits they list."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import InputError, UnknownName, reading
from .paths import below, fill, grouping, search, template_columns
from .readers.dicom import tag_group
from .samples import Sample
from .sheets import EXCEL, LINES, OLE, ZIP, excel_rows, json_rows
from .splits import read_split
from .words import Mark, class_numbers, label_rows, normal, plain, unknown_texts, whole, yes_or_no

ROLES: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "filepath", "image", "imagepath", "img", "imageindex"),
    "slice": (),
    "label": ("label",),
    "mask": ("mask",),
    "group": ("group", "patient", "patientid", "subject", "subjectid"),
    "split": ("split",),
    "bag": (),
}
"""What a column may be for, and the names of its column, as `plain`, by which it is found where no recipe names it.

Fewer than `init` knows (`describe/names.py`), which writes down what it took: here nobody is told.
"""
NONE = "none"
SUFFIXES = (".csv", ".tsv", *EXCEL, *LINES)
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
Line = tuple[int, dict[str, str]]
"""Line number in the file, and its cells by column."""


@dataclass(frozen=True)
class Table:
    """A table that names files (see `read_table`); the fields as in `Csv`."""

    root: Path
    columns: Mapping[str, str]
    images: Path | None = None
    group: str | Mapping[str, str] = ""
    classes: int | Sequence[str] | None = None
    labels: Sequence[str] = field(default_factory=tuple)
    unknown: Sequence[Mark] = ()
    empty: int = -1
    separator: str = ""
    none: str = ""
    sheet: str = ""
    domain: str | Mapping[str, str] = ""

    def find(self) -> tuple[Path, tuple[str, ...], list[Sample]]:
        """The folder of the files, the classes, and the samples that the table lists, before any file is read."""
        table = table_of(self.root)
        header, lines = read_table(table, sheet=self.sheet)
        images = Path(self.images if self.images is not None else table.parent).resolve()
        if not images.is_dir():
            raise InputError(f"data.images: {images}", "a folder", "no such folder")
        refuse_headless(table, header, images)
        columns = self._columns(header)
        self._check_columns(header, columns)
        group_of = self._naming("data.group", self.group or columns.get("group", ""), header, images)
        domain_of = self._naming("data.domain", self.domain or NONE, header, images)
        places = self._places(table, lines, columns, images)
        masks = self._masks(table, lines, columns, images)
        classes, labels, label_rows = self.answers(table, lines, columns)
        samples = []
        for k, (line, row) in enumerate(lines):
            where, (name, path, z) = f"{table}, line {line}", places[k]
            split = read_split(where, row[columns["split"]]) if "split" in columns else None
            group, domain = (of(where, row, name, path) for of in (group_of, domain_of))
            sample = Sample(name, path, group or name, split, labels[k], mask=masks[k], z=z, domain=domain)
            bag = _filled(f"{where}, column {columns['bag']}", row[columns["bag"]], "bag") if "bag" in columns else ""
            samples.append(replace(sample, labels=label_rows[k], bag=bag))
        return images, classes, samples

    def _columns(self, header: Sequence[str]) -> dict[str, str]:
        """Role -> column: those that the recipe names, and for other roles columns of the usual names."""
        usual = {role: usual_column(role, header) for role in ROLES}
        named = {role for role, column in self.columns.items() if column != NONE}
        if self.labels or named & {"label", "mask"}:
            usual |= {"label": "", "mask": ""}
        elif usual["label"] and usual["mask"] and not self.columns.keys() & {"label", "mask"}:
            raise InputError("data.columns", "label or mask, as the table has both columns", "neither")
        if self.group:
            usual["group"] = ""
        own = {role: column for role, column in self.columns.items() if column != NONE or role == "group"}
        return {role: column for role, column in usual.items() if column and role not in self.columns} | own

    def _check_columns(self, header: Sequence[str], columns: Mapping[str, str]) -> None:
        for role in columns:
            if role not in ROLES:
                raise UnknownName("data.columns", role, ROLES)
        if "path" not in columns:
            raise InputError("data.columns.path", f"one of the columns {', '.join(header)}", "nothing")
        for role, column in columns.items():
            names = template_columns(f"data.columns.{role}", column) if role in ("path", "mask") else [column]
            for name in names if (role, column) != ("group", NONE) else ():
                require_column(f"data.columns.{role}", name, header)
        if "mask" in columns and "label" in columns:
            raise InputError("data.columns", "label or mask: a recipe has one task", "both")
        for column in self.labels:
            require_column("data.labels", column, header)
        if self.labels and (columns.keys() & {"label", "mask"} or self.classes is not None):
            raise InputError("data.labels", "no label or mask column, and no classes, beside labels", "some")
        if len(set(self.labels)) < len(self.labels):
            raise InputError("data.labels", "each column once", ", ".join(self.labels))
        if self.empty == 0 and not self.labels:
            raise InputError("data.empty", "columns of 0 and 1 (data.labels)", "none")
        if self.separator and "label" not in columns:
            raise InputError("data.separator", "a column of labels (columns.label)", "none")
        if self.none and not self.separator:
            raise InputError("data.none", "a separator of several labels in a column (data.separator)", "none")

    @staticmethod
    def _naming(
        key: str, by: str | Mapping[str, str], header: Sequence[str], images: Path
    ) -> Callable[[str, Mapping[str, str], str, str], str]:
        """(place for errors, row, name and path of the sample) -> its group or domain; "" where no column has it."""
        if not by:
            raise InputError(key, 'a column (columns.group), or "none" said on purpose', "nothing")
        if by == NONE:
            return lambda where, row, name, path: ""
        what = key.rpartition(".")[2]
        if isinstance(by, str):
            require_column(key, by, header)
            return lambda where, row, name, path: _filled(f"{where}, column {by}", row[by], what)
        for part in by:
            if part not in ("column", "pattern", "tag"):
                raise UnknownName(key, part, ("column", "pattern", "tag"))
        if "tag" in by:
            if len(by) > 1:
                raise InputError(key, "a tag alone, or a column and a pattern", str(dict(by)))
            return lambda where, row, name, path: tag_group(images / path, by["tag"], where, name, key)
        if "pattern" not in by:
            raise InputError(key, "a column and a pattern, or a pattern of the path", str(dict(by)))
        column, find = by.get("column"), grouping(by["pattern"], "text", key)
        if column is None:
            return lambda where, row, name, path: find(where, name)
        require_column(f"{key}.column", column, header)
        return lambda where, row, name, path: find(f"{where}, column {column}", row[column])

    def _places(
        self, table: Path, lines: Sequence[Line], columns: Mapping[str, str], images: Path
    ) -> list[tuple[str, str, int]]:
        """Name, path and slice of every row, -1 where there is no such column; InputError for a second row of one."""
        line_of: dict[tuple[Path, int], Line] = {}
        places = []
        for line, row in lines:
            where = f"{table}, line {line}"
            name, path, file = below(images, where, search(images, where, columns["path"], row))
            z = _slice(where, columns["slice"], row) if "slice" in columns else -1
            if (file, z) in line_of:
                raise InputError(where, "an image of its own", f"{name}, as in line {_other(line_of[file, z], row)}")
            line_of[file, z] = line, row
            places.append((name, path, z))
        return places

    def _masks(self, table: Path, lines: Sequence[Line], columns: Mapping[str, str], images: Path) -> list[str]:
        """The mask of every row, "" where its cell is empty."""
        if "mask" not in columns:
            return [""] * len(lines)
        paths = []
        for line, row in lines:
            text = fill(columns["mask"], row)
            paths.append(text and below(images, f"{table}, line {line}", text)[1])
        return paths

    def answers(
        self, table: Path, lines: Sequence[Line], columns: Mapping[str, str]
    ) -> tuple[tuple[str, ...], list[int], list[tuple[int, ...]]]:
        """The classes, and of every row its class, -1 where unknown, and its labels where it may have several."""
        nobody, no_rows = [-1] * len(lines), list[tuple[int, ...]]([()] * len(lines))
        if self.labels:
            marks = unknown_texts(self.unknown)
            return tuple(self.labels), nobody, [self._yes_or_no(table, line, row, marks) for line, row in lines]
        column = columns.get("label")
        cells = [(f"{table}, line {line}", row[column] if column else "") for line, row in lines]
        if self.separator:
            classes, rows = label_rows(cells, self.separator, self.none, self.classes, self.unknown)
            return classes, nobody, rows
        return *class_numbers(cells, self.classes, self.unknown), no_rows

    def _yes_or_no(self, table: Path, line: int, row: Mapping[str, str], marks: frozenset[str]) -> tuple[int, ...]:
        answers = []
        for column in self.labels:
            answer = yes_or_no(row[column], marks) if row[column] else self.empty
            if answer is None:
                expected = "0 or 1, -1 or an empty cell where unknown (data.unknown lists more texts that mean it)"
                raise InputError(f"{table}, line {line}, column {column}", expected, repr(row[column]))
            answers.append(answer)
        return tuple(answers)


def usual_column(role: str, header: Sequence[str]) -> str:
    """The first column with one of the usual names of a role, "" where there is none."""
    columns = {plain(name): name for name in reversed(header)}
    return next((columns[word] for word in ROLES[role] if word in columns), "")


def _filled(where: str, text: str, what: str) -> str:
    if not text:
        raise InputError(where, f"a {what}", "an empty cell")
    return text


def _other(first: Line, row: Mapping[str, str]) -> str:
    """The line of an earlier row, and the first column in which this one differs."""
    line, before = first
    for column, cell in before.items():
        if row[column] != cell:
            return f"{line}, where {column} is {cell or 'empty'}, not {row[column] or 'empty'}"
    return f"{line}"


def _slice(where: str, column: str, row: Mapping[str, str]) -> int:
    number = whole(row[column])
    if number is None or number < 0:
        raise InputError(f"{where}, column {column}", "a number from 0", repr(row[column]))
    return number


def table_of(root: Path) -> Path:
    """The CSV file of `data.root`: itself, or the index.csv of a folder."""
    inside = Path(root) / "index.csv"
    return inside if inside.is_file() else Path(root)


def read_table(path: Path, where: str = "data.root", sheet: str = "") -> tuple[list[str], list[Line]]:
    """Header and rows of a table, cells as texts without spaces around; InputError with the line where it is none.

    A table is CSV in UTF-8, a sheet of an Excel file (`sheet`, by default the first), or JSON lines. Between cells of
    CSV are commas, semicolons or tabs: what the header has; where it has several of them, the usual one (tabs in a
    .tsv), or the one that gives each row as many cells as the header. Rows without any text are left out, and so is a
    first column without a name. `where` says in errors what the file is.
    """
    delimiter, rows = _cells(path, where, sheet)
    if len(rows) < 2:
        raise InputError(path, "a header and at least one row", f"{len(rows)} line(s)")
    (first, names), *cells = rows
    header = [normal(name) for name in names]
    duplicates = sorted({name for name in header if name and header.count(name) > 1})
    if duplicates:
        raise InputError(f"{path}, line {first}", "columns of different names", f"{duplicates[0]!r} twice")
    lines = []
    for line, row in cells:
        if len(row) != len(header):
            between = f", with {DELIMITERS[delimiter]} between them" if delimiter else ""
            expected = f"{len(header)} cells as the header has{between}"
            raise InputError(f"{path}, line {line}", expected, str(len(row)))
        lost = next((text for k, text in enumerate(row) if k and text and not header[k]), None)
        if lost is not None:
            raise InputError(f"{path}, line {line}", "a name above each column (line 1)", f"none above {lost!r}")
        lines.append((line, {name: text for name, text in zip(header, row, strict=True) if name}))
    return [name for name in header if name], lines


def _cells(path: Path, where: str, sheet: str) -> tuple[str, list[tuple[int, list[str]]]]:
    """What stands between the cells of a table, "" where nothing does, and its rows with their lines."""
    if not path.is_file():
        came = "a folder" if path.is_dir() else "nothing there"
        raise InputError(f"{where}: {path.absolute()}", "a table (CSV, Excel, JSON lines)", came)
    with reading(path, "a table that can be read"):
        data = path.read_bytes()
    if data.startswith(OLE):
        raise InputError(path, "an Excel file of today (.xlsx) or CSV", "one of before 2007 (.xls)")
    if data.startswith(ZIP) or path.name.lower().endswith(EXCEL):
        return "", excel_rows(path, sheet)
    if sheet:
        raise InputError("data.sheet", "none, as only Excel files have sheets", repr(sheet))
    text = _text(path, data)
    return ("", json_rows(path, text)) if path.name.lower().endswith(LINES) else _split(path, text)


def _text(path: Path, data: bytes) -> str:
    """The text of a file; InputError with the line where it is not UTF-8."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        came = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else f"another encoding ({error.reason})"
        raise InputError(f"{path}, line {line}", "CSV in UTF-8 (of a spreadsheet: CSV UTF-8)", came) from error
    if "\0" in text:
        raise InputError(path, "CSV in UTF-8 (of a spreadsheet: CSV UTF-8)", "zero bytes, as UTF-16 has them")
    return text


def _split(path: Path, text: str) -> tuple[str, list[tuple[int, list[str]]]]:
    """What stands between the cells of a text, and its rows of cells with their lines."""
    head = re.sub(r'"[^"]*"', "", next((line for line in text.splitlines() if line.strip()), ""))
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    marks = [mark for mark in sorted(DELIMITERS, key=lambda mark: mark != usual) if mark in head] or [usual]
    for mark in marks if len(marks) > 1 else ():
        with suppress(InputError):
            rows = _rows(path, text, mark)
            if len({len(row) for _, row in rows}) == 1:
                return mark, rows
    return marks[0], _rows(path, text, marks[0])


def _rows(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The rows with any text, each with the line where it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    rows, line = [], 0
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((line + 1, cells))
            line = reader.line_num
    except csv.Error as error:
        came = str(error)
        if "limit" in came or "end of data" in came:
            came = f"a quote that is not closed, or a cell of more than {csv.field_size_limit()} characters"
        raise InputError(f"{path}, line {line + 1}", "CSV in UTF-8", came) from error
    return rows


def refuse_headless(table: Path, header: Sequence[str], folder: Path) -> None:
    """InputError where the first line names a file: the table has no header, and would lose that row."""
    for name in header:
        if Path(name).suffix and below(folder, f"{table}, line 1", name)[2].is_file():
            raise InputError(f"{table}, line 1", "a header with the names of the columns", f"the file {name}")


def require_column(where: str, column: str, header: Sequence[str]) -> None:
    """UnknownName, with the nearest column, where the table has no such column."""
    if column not in header:
        raise UnknownName(where, column, header)


def lost_zeros(name: str, ids: Iterable[str]) -> str:
    """The id that a spreadsheet made a number of, in words; empty where a name is none such."""
    whole = next((i for i in sorted(ids) if name.isdecimal() and i != name and i.lstrip("0") == name), None)
    return "" if whole is None else f" (of {whole!r} a spreadsheet dropped the zeros: format the column as text)"
