"""The public list of the survey's systems: each once, with files that are there, and counts that are right."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from hybrid_al.components import check_components
from hybrid_al.recipe import parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "survey.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in re.findall(r"^\| \d+ \|.*$", PAGE, re.M)]


def test_every_system_is_there_once() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 197))
    assert {row[2] for row in ROWS} == {"core", "expected", "beyond"}
    assert {len(row) for row in ROWS} == {7}


def test_what_works_names_its_files() -> None:
    for number, _, _, status, recipe, where, missing in ROWS:
        assert not recipe or status != "no", number
        files = re.findall(r"`([^`]+)`", where)
        assert bool(files) == (status in ("works", "part")), number
        assert bool(missing) >= (status == "part"), number
        for file in files:
            places = [ROOT / "hybrid_al" / file, ROOT / file]
            assert any(place.is_file() for place in places), f"{number}: {file}"


RECIPES = {row[0]: row for row in ROWS if row[4]}
OF_A_TARGET = {str(number) for number in range(149, 162)} - {"159"}


@pytest.mark.parametrize("number", RECIPES, ids=lambda number: RECIPES[number][1])
def test_what_stands_in_a_recipe_is_one(number: str) -> None:
    """Every name, key and value of it is right, and the parts go together."""
    spans = re.findall(r"`([^`]+)`", RECIPES[number][4])
    keys: dict[str, Any] = {}
    for span in spans:
        keys |= yaml.safe_load(span)
    assert len(keys) == len(spans)
    domains = {"domains": {"source": "a"}} if number in OF_A_TARGET else {}
    small = {"name": "x", "track": {}, "encoder": {"name": "test_resnet"}}
    check_components(parse({**small, **domains, **keys}))


def test_the_counts_are_those_of_the_table() -> None:
    counts = Counter(row[3] for row in ROWS)
    words = f"{counts['works']} work here, {counts['part']} work in part, and {counts['no']} are not there"
    assert words in " ".join(PAGE.split())
