"""Excel sheets and JSON lines are read as CSV is: cells as texts, rows with their lines, nothing guessed."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from PIL import Image

from hybrid_al.data.describe import describe
from hybrid_al.data.sources.table import Csv
from hybrid_al.data.tables import read_table
from hybrid_al.errors import InputError, UnknownName


def book(path: Path, rows: Sequence[Sequence[Any]], **formats: str) -> Path:
    """A workbook of one sheet; `formats` are number formats of cells, as B2."""
    work = openpyxl.Workbook()
    for row in rows:
        work.active.append(row)
    for cell, shown in formats.items():
        work.active[cell].number_format = shown
    work.save(path)
    return path


def cells(path: Path, **settings: Any) -> list[dict[str, str]]:
    return [row for _, row in read_table(path, **settings)[1]]


def test_cells_are_texts_as_they_are_shown(tmp_path: Path) -> None:
    day = datetime.datetime(2024, 1, 31)
    path = book(
        tmp_path / "t.xlsx",
        [
            ["id", "n", "when", "half", "yes"],
            ["007", 7, day, 0.5, True],
            [" x ", 12.0, day.replace(hour=10), None, False],
        ],
        B2="0000",
    )
    assert cells(path) == [
        {"id": "007", "n": "0007", "when": "2024-01-31", "half": "0.5", "yes": "TRUE"},
        {"id": "x", "n": "12", "when": "2024-01-31 10:00:00", "half": "", "yes": "FALSE"},
    ]


def test_lines_empty_rows_and_the_shape_of_a_sheet(tmp_path: Path) -> None:
    path = book(tmp_path / "t.xlsx", [["a", "b", None], [None, None], ["1"], ["2", "3", None, None]])
    assert read_table(path) == (["a", "b"], [(3, {"a": "1", "b": ""}), (4, {"a": "2", "b": "3"})])
    with pytest.raises(InputError, match="line 2: expected 2 cells as the header has, got 3"):
        read_table(book(tmp_path / "u.xlsx", [["a", "b"], ["1", "2", "lost"]]))
    with pytest.raises(InputError, match="'a' twice"):
        read_table(book(tmp_path / "v.xlsx", [["a", "a"], ["1", "2"]]))
    with pytest.raises(InputError, match="a header and at least one row"):
        read_table(book(tmp_path / "w.xlsx", [["a", "b"]]))


def test_sheets_by_name(tmp_path: Path) -> None:
    work = openpyxl.Workbook()
    work.active.append(["a"])
    work.active.append(["first"])
    other = work.create_sheet("labels")
    other.append(["a"])
    other.append(["second"])
    work.save(tmp_path / "t.xlsx")
    assert cells(tmp_path / "t.xlsx") == [{"a": "first"}]
    assert cells(tmp_path / "t.xlsx", sheet="labels") == [{"a": "second"}]
    with pytest.raises(UnknownName, match=r"data\.sheet: .*did you mean 'labels'"):
        read_table(tmp_path / "t.xlsx", sheet="lables")
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match=r"data\.sheet"):
        read_table(tmp_path / "t.csv", sheet="labels")


def test_a_formula_without_its_value(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cell B2: expected a formula with its value"):
        read_table(book(tmp_path / "t.xlsx", [["a", "b"], ["1", "=A2*2"]]))


def test_damaged_and_old_workbooks(tmp_path: Path) -> None:
    whole = book(tmp_path / "t.xlsx", [["a"], ["1"]]).read_bytes()
    for k, content in enumerate((whole[: len(whole) // 2], b"PK\x03\x04" + bytes(50), b"a,b\n1,2\n", b"")):
        file = tmp_path / f"{k}.xlsx"
        file.write_bytes(content)
        with pytest.raises(InputError, match="a whole workbook of Excel"):
            read_table(file)
    (tmp_path / "o.xls").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    with pytest.raises(InputError, match=r"\.xls"):
        read_table(tmp_path / "o.xls")


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"id": "007", "n": 1}\n\n{"n": 2.0, "id": "8", "x": null}\n{"id": "9", "x": "\u00e4"}\n', encoding="utf-8"
    )
    assert read_table(path) == (
        ["id", "n", "x"],
        [
            (1, {"id": "007", "n": "1", "x": ""}),
            (3, {"id": "8", "n": "2", "x": ""}),
            (4, {"id": "9", "n": "", "x": "\u00e4"}),
        ],
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1]", "line 2: expected a JSON object, got"),
        ("{", "line 2: expected a JSON object"),
        ('{"a": 1, "a": 2}', "line 2: expected each key once, got 'a' twice"),
        ('{"a": [1]}', "line 2, key a: expected a text or a number"),
        ('{"a": {"b": 1}}', "line 2, key a: expected a text or a number"),
        ("[" * 100_000, "line 2: expected a JSON object"),
    ],
)
def test_lines_that_are_no_rows(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "t.jsonl").write_text(f'{{"a": "x"}}\n{line}\n')
    with pytest.raises(InputError, match=reason) as caught:
        read_table(tmp_path / "t.jsonl")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("suffix", ["xlsx", "jsonl"])
def test_init_takes_a_sheet_of_images(tmp_path: Path, suffix: str) -> None:
    rows: list[list[Any]] = [["image", "finding", "patient"]]
    for i in range(24):
        grey = np.random.default_rng(i).integers(0, 255, (12, 12), dtype=np.uint8)
        Image.fromarray(grey).save(tmp_path / f"{i:03d}.png")
        rows.append([f"{i:03d}", ("no", "yes")[i % 2], f"0{i // 2}"])
    if suffix == "xlsx":
        book(tmp_path / "t.xlsx", rows)
    else:
        lines = [f'{{"image": "{a}", "finding": "{b}", "patient": "{c}"}}' for a, b, c in rows[1:]]
        (tmp_path / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    data = describe(tmp_path).data
    assert data["root"] == str(tmp_path / f"t.{suffix}") and data["group"] == "patient"
    assert data["columns"] == {"path": "{image}.png", "label": "finding"} and data["classes"] == ["no", "yes"]
    loaded = Csv(tmp_path / f"t.{suffix}", data["columns"], group="patient").load()
    assert loaded.manifest.groups[:4] == ("00", "00", "01", "01") and loaded.truth.tolist() == [0, 1] * 12
