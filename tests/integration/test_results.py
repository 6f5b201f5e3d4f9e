"""The committed results: what the pages say is what the command makes of the committed CSVs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hybrid_al.bench import provenance, results
from hybrid_al.bench.grid import load_grid
from hybrid_al.bench.publish import result_tables
from hybrid_al.bench.runner import Paths, settings
from hybrid_al.bench.tables import markdown, timing

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PAGES = "".join((BENCHMARKS / name).read_text(encoding="utf-8") for name in ("RESULTS.md", "STRATEGIES.md"))
BENCHES = [path for path in sorted(BENCHMARKS.glob("*.yaml")) if f"<!-- bench: {path.stem} -->" in PAGES]


def block(name: str) -> str:
    match = re.search(rf"<!-- bench: {name} -->\n\n(.*?)<!-- end -->", PAGES, re.DOTALL)
    assert match is not None, name
    return match[1]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", BENCHES, ids=lambda path: path.stem)
def test_the_tables_are_those_of_the_csvs(recipe: Path) -> None:
    grid, paths = load_grid(recipe), Paths(BENCHMARKS / recipe.stem, Path("unused"))
    cells = {variant: results.read(paths.csv(variant)) for variant in grid.variants}
    assert block(grid.bench_recipe.name) == markdown([*result_tables(grid, paths, cells), timing(cells)])


@pytest.mark.parametrize("recipe", BENCHES, ids=lambda path: path.stem)
def test_every_cell_of_a_study_is_there(recipe: Path) -> None:
    grid = load_grid(recipe)
    for variant in grid.variants:
        cells = results.read(BENCHMARKS / recipe.stem / f"{variant}.csv").cells
        assert [cell for cell in grid.cells(variant) if cell not in cells] == []


STUDIES = [path for path in sorted(BENCHMARKS.glob("*.yaml")) if path.with_suffix("").is_dir()]


@pytest.mark.parametrize("recipe", STUDIES, ids=lambda path: path.stem)
def test_a_study_may_go_on_from_its_recipe(recipe: Path) -> None:
    grid, paths = load_grid(recipe), Paths(BENCHMARKS / recipe.stem, Path("unused"))
    for variant in grid.variants:
        if paths.csv(variant).is_file():
            provenance.check(paths.facts(variant), settings(grid, variant))
