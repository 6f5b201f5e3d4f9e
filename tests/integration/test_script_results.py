"""Committed studies with scripts of their own: what is said of them is what the script makes of the committed CSV."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from hybrid_al.bench.tables import markdown

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # where its dataclasses look for it
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_stage_0_are_those_of_the_csv() -> None:
    page = (BENCHMARKS / "PRETRAINING.md").read_text(encoding="utf-8")
    match = re.search(r"<!-- pretrain_methods -->\n\n(.*?)\n*<!-- end -->", page, re.DOTALL)
    assert match is not None
    lines = list(script("pretrain_methods").tables(BENCHMARKS / "pretrain_methods" / "results.csv"))
    assert match[1] == "\n".join(lines).rstrip()


def test_the_table_of_encoders_is_that_of_the_csv() -> None:
    page = (BENCHMARKS / "ENCODERS.md").read_text(encoding="utf-8")
    match = re.search(r"<!-- encoders -->\n\n(.*?)\n*<!-- end -->", page, re.DOTALL)
    assert match is not None
    encoders = script("encoders")
    assert match[1] == "\n".join(encoders.table(encoders.read(BENCHMARKS / "encoders" / "results.csv")))


def test_the_costs_of_queries_are_those_of_the_csv() -> None:
    page = (BENCHMARKS / "QUERIES.md").read_text(encoding="utf-8")
    match = re.search(r"<!-- query_costs -->\n\n(.*?)\n*<!-- end -->", page, re.DOTALL)
    assert match is not None
    costs = script("query_costs")
    rows = costs.rows_of(BENCHMARKS / "query_costs.csv")
    assert match[1] == costs.table(rows)
    assert all(float(row["mib"]) < 4096 for row in rows if row["ended"] == "done")


def test_the_verdicts_are_those_of_the_csvs() -> None:
    for name, tables in script("verdicts").pages().items():
        page = (BENCHMARKS / name).read_text(encoding="utf-8")
        match = re.search(r"<!-- bench: verdicts -->\n\n(.*?)<!-- end -->", page, re.DOTALL)
        assert match is not None, name
        assert match[1] == markdown(tables), name


def test_the_picture_of_the_readme_is_that_of_the_csvs() -> None:
    curves = script("curves")
    assert curves.OUT.read_text(encoding="utf-8") == curves.drawn()
    assert f"]({curves.OUT.relative_to(BENCHMARKS.parent)})" in (BENCHMARKS.parent / "README.md").read_text("utf-8")


def test_the_tables_of_masks_are_those_of_the_csvs() -> None:
    page = (BENCHMARKS / "SEGMENTATION.md").read_text(encoding="utf-8")
    masks = script("masks")
    blocks = dict(re.findall(r"<!-- bench: (\w+) -->\n\n(.*?)<!-- end -->", page, re.DOTALL))
    assert blocks == {name: markdown(block()) for name, block in masks.BLOCKS.items()}
