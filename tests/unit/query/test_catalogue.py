"""docs/strategies.md is what the code says, every strategy and batch maker is in it and in docs/papers.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest
import yaml

from hybrid_al.core.registry import component, parse_spec
from hybrid_al.core.types import Need
from hybrid_al.errors import InputError
from hybrid_al.query import catalogue
from hybrid_al.query.batches import BATCHES
from hybrid_al.query.strategies import STRATEGIES
from hybrid_al.query.terms import TERMS
from hybrid_al.semi import OBJECTIVES
from hybrid_al.semi.dense import DENSE_OBJECTIVES

DOCS = Path(__file__).parents[3] / "docs"
REGISTERED = {**{f"strategy {k}": v for k, v in STRATEGIES.items()}, **{f"batch {k}": v for k, v in BATCHES.items()}}


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / "strategies.md").read_text(encoding="utf-8") == catalogue.page(), "run make strategies"


@pytest.mark.parametrize("kind", REGISTERED.values(), ids=REGISTERED)
def test_everything_registered_says_what_it_is(kind: type) -> None:
    entry = catalogue.about(kind)
    assert entry.paper and entry.passes and entry.time and entry.memory
    assert "about" in vars(kind)  # its own, not that of a class above it
    symbols_allowed = {"N", "M", "L", "b", "D", "C", "S", "B", "K"} | set(getattr(kind, "__dataclass_fields__", ()))
    if "terms" not in entry.time and "batch" not in entry.time:
        formulas = (entry.time + " " + entry.memory).replace("k-means", "").replace(" a ", " ")
        symbols = set(re.findall(r"\b[A-Za-z]\b", formulas))
        assert symbols <= symbols_allowed, symbols


@pytest.mark.parametrize("name", ["bald", "mean_std", "batchbald", "tta_jsd"])
def test_passes_are_named_by_the_setting_that_counts_them(name: str) -> None:
    kind = STRATEGIES[name]
    assert catalogue.about(kind).passes in kind.__dataclass_fields__  # type: ignore[attr-defined]


def test_needs_are_all_explained() -> None:
    assert set(catalogue.NEEDS) == set(get_args(Need))


def test_papers_have_a_row_for_each_and_for_nothing_else() -> None:
    text = (DOCS / "papers.md").read_text(encoding="utf-8")
    for heading, names in (
        ("Query strategies", set(STRATEGIES)),
        ("Terms of a fused score", set(TERMS)),
        ("Batch makers", set(BATCHES)),
    ):
        section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
        rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
        row_names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
        lacks, beyond = names - set(row_names), set(row_names) - names
        assert sorted(row_names) == sorted(names), f"docs/papers.md, {heading}: rows missing {lacks}, too many {beyond}"


def test_settings_are_written_with_their_defaults() -> None:
    assert catalogue.settings(STRATEGIES["bald"]) == "samples=25"
    assert catalogue.settings(STRATEGIES["entropy"]) == "-"
    assert "score={entropy: 1.0, consistency: 1.0}, batch={name: kmeanspp, power: 4.0}" in catalogue.settings(
        STRATEGIES["hybrid"]
    )


@pytest.mark.parametrize(
    "registry", [STRATEGIES, BATCHES, OBJECTIVES, DENSE_OBJECTIVES], ids=["query", "batch", "train", "train of masks"]
)
def test_the_listed_lines_are_recipes_of_the_defaults(registry: dict[str, type]) -> None:
    for name, kind in registry.items():
        plain = yaml.safe_load(catalogue.spec(name, kind))
        assert component(registry, "query", *parse_spec(plain)) == kind()


def test_a_word_finds_names_and_papers() -> None:
    lines = catalogue.listed("clue", full=True)
    assert lines[0].startswith("clue               Prabhu et al.: Active Domain Adaptation")
    assert lines[1].strip() == "query: {name: clue, temperature: 1.0, starts: 10, iterations: 100}"
    assert lines[2].strip() == "reads features; passes: 1"
    covers = catalogue.listed("suggestive annotation", full=True)
    assert "                   query: {name: hybrid, batch: {name: cover, shortlist: 2, rows: 20000}}" in covers
    assert any(line.endswith("; cold_start too") for line in covers)  # facility_location
    assert len(catalogue.listed("", full=False)) == len(STRATEGIES) + len(BATCHES)
    trained = catalogue.listed("ceal", full=True, trainings={"classes": OBJECTIVES})
    assert trained[0].startswith("pseudo_label ") and trained[1].strip().startswith("train: {name: pseudo_label, ")
    with pytest.raises(InputError, match=r"strategies: WORD: expected part of the name or paper .* got 'nosuch'"):
        catalogue.listed("nosuch", full=True)


def test_what_declares_nothing_is_an_error() -> None:
    @dataclass(frozen=True)
    class Silent:
        pass

    with pytest.raises(InputError, match="Silent: expected a class variable `about`"):
        catalogue.about(Silent)
