"""The cells of Excel sheets and of JSON lines as texts, as a CSV file would have them."""

from __future__ import annotations

import datetime
import json
import math
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError, UnknownName, reading

EXCEL, LINES = (".xlsx", ".xlsm"), (".jsonl", ".ndjson")
ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"  # how files of Excel begin, new and old
MAX_BYTES = 1_000_000_000  # of an unpacked workbook
ZEROS = re.compile(r'"?(0+)"?')  # a number format that shows leading zeros
Rows = list[tuple[int, list[str]]]
"""The rows with any text, each with its number in the file."""


def excel_rows(path: Path, sheet: str = "") -> Rows:
    """Rows of a sheet, of the first one by default; InputError with the cell for formulas without a value.

    Numbers are as shown where their format has leading zeros; dates are 2024-01-31, truth values TRUE and FALSE.
    """
    with _workbook(path, values=True) as book, _workbook(path, values=False) as formulas:
        if not book.sheetnames:
            raise InputError(path, "a sheet with cells", "none")
        name = sheet or book.sheetnames[0]
        if name not in book.sheetnames:
            raise UnknownName("data.sheet", name, book.sheetnames)
        rows = []
        for number, (cells, written) in enumerate(
            zip(_cells(book[name]), _cells(formulas[name]), strict=True), start=1
        ):
            for cell, formula in zip(cells, written, strict=True):
                if cell.value is None and formula.value is not None:
                    where = f"{path}, sheet {name}, cell {formula.coordinate}"
                    raise InputError(where, "a formula with its value: open the file in Excel and save it", "none")
            texts = [_text(cell) for cell in cells]
            if any(texts):
                rows.append((number, texts))
    width = max((k for k, text in enumerate(rows[0][1], start=1) if text), default=0) if rows else 0
    return [(number, _fitted(texts, width)) for number, texts in rows]


def _fitted(texts: list[str], width: int) -> list[str]:
    """A row as wide as the header; wider where it has texts behind that."""
    texts = [*texts, *[""] * (width - len(texts))]
    return texts if any(texts[width:]) else texts[:width]


def _cells(sheet: Any) -> Iterator[tuple[Any, ...]]:
    if not hasattr(sheet, "reset_dimensions"):
        raise InputError(f"sheet {sheet.title}", "cells", "a chart")
    sheet.reset_dimensions()  # what programs write there is often wrong
    return iter(sheet.iter_rows())


@contextmanager
def _workbook(path: Path, *, values: bool) -> Iterator[Any]:
    """An open workbook: the values of its cells, or the formulas that they have."""
    import openpyxl

    with reading(path, "a whole workbook of Excel (.xlsx)"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what openpyxl leaves out are no cells
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise InputError(path, f"a workbook of at most {MAX_BYTES} bytes", "more")
        with path.open("rb") as file, closing(openpyxl.load_workbook(file, read_only=True, data_only=values)) as book:
            yield book


def _text(cell: Any) -> str:
    """A cell as a text; what is shown where a number format has leading zeros."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time(0)
        return value.date().isoformat() if midnight else value.isoformat(" ", "seconds")
    if isinstance(value, int | float):
        zeros = ZEROS.fullmatch(cell.number_format or "")
        text = str(int(value)) if float(value).is_integer() else repr(value)
        return text.zfill(len(zeros[1])) if zeros else text
    return str(value).strip()


def json_rows(path: Path, text: str) -> Rows:
    """Header and rows of JSON lines, an object a line; a key that a line lacks is an empty cell.

    InputError with the line for anything but texts, numbers, truth values and null in an object.
    """
    objects: list[tuple[int, dict[str, str]]] = []
    header: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                pairs = json.loads(line, object_pairs_hook=lambda pairs: pairs, parse_constant=str)
            except ValueError as error:
                raise InputError(where, "a JSON object", f"{error}") from error
            except RecursionError as error:
                raise InputError(where, "a JSON object of texts and numbers", "objects in objects") from error
            objects.append((number, _object(where, pairs)))
            header |= dict.fromkeys(objects[-1][1])
    if not objects:
        return []
    return [
        (objects[0][0], list(header)),
        *((number, [cells.get(key, "") for key in header]) for number, cells in objects),
    ]


def _object(where: str, pairs: object) -> dict[str, str]:
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        raise InputError(where, "a JSON object", str(pairs)[:80])
    cells: dict[str, str] = {}
    for key, value in pairs:
        if key in cells:
            raise InputError(where, "each key once", f"{key!r} twice")
        if isinstance(value, list | tuple):
            raise InputError(f"{where}, key {key}", "a text or a number", str(value)[:80])
        cells[key] = _plain(value)
    return cells


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))
    return str(value).strip()
