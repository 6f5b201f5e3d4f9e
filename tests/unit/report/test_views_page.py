"""docs/views.md against the code: the table of strengths, and what each modality leaves out."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.data.views.policies import ViewPolicy

PAGE = (Path(__file__).parents[3] / "docs" / "views.md").read_text(encoding="utf-8")
KINDS = ("pretrain", "weak", "strong")
OFF = ViewPolicy()


def cell(modality: str, name: str) -> str:
    values = [getattr(getattr(VIEWS[modality], kind), name) for kind in KINDS]
    off = getattr(OFF, name)
    cells = ["-" if value == off else "yes" if value is True else f"{value:g}" for value in values]
    return "-" if set(cells) == {"-"} else " / ".join(cells)


def table() -> str:
    rows = [["", *(f"`{modality}`" for modality in VIEWS)], ["---"] * (len(VIEWS) + 1)]
    rows += [[f"`{f.name}`", *(cell(modality, f.name) for modality in VIEWS)] for f in fields(ViewPolicy)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def test_the_table_is_what_the_code_does() -> None:
    page_table = PAGE.split("is stale -->\n")[1].split("<!-- end of table")[0]
    assert page_table == table(), f"docs/views.md wants this table:\n{table()}"


@pytest.mark.parametrize("modality", VIEWS)
def test_the_page_says_why_each_operation_is_left_out(modality: str) -> None:
    section = re.split(r"^## ", PAGE.split(f"\n## {modality}\n")[1], flags=re.MULTILINE)[0]
    reasons = re.findall(r"^- ((?:`\w+`(?:, )?)+): \S", section, flags=re.MULTILINE)
    reason_names = [name for reason in reasons for name in re.findall(r"`(\w+)`", reason)]
    assert len(reason_names) == len(set(reason_names))
    assert set(reason_names) == {f.name for f in fields(ViewPolicy) if cell(modality, f.name) == "-"}


def test_the_page_has_no_modality_that_the_code_lacks() -> None:
    assert set(re.findall(r"^## (\w+)$", PAGE, flags=re.MULTILINE)) == {*VIEWS, "Strengths"}
