"""What a bench promises: the linear baseline takes no steps and embeds no views."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hybrid_al.bench import estimate as module
from hybrid_al.bench.cell import Loop
from hybrid_al.bench.compared import LINEAR
from hybrid_al.bench.estimate import SOLVED, STRONG_VIEWS, Need, estimate
from hybrid_al.bench.grid import load_grid
from hybrid_al.bench.results import END, Arm, Results, Row
from hybrid_al.bench.runner import Paths, _missing_loops, open_variants, stage0_of

RECIPE = """
name: small
learner: frozen
train: {name: mean_teacher, steps: 30, min_steps: 30}
pretrain: none
data: {source: phantom, n_pool: 40, n_val: 0, n_test: 20, size: 16, image_size: 16}
loop: {budgets: [6, 5, 5]}
bench: {recipe: false, seeds: 1, encoders: 1, stratified: false, full: false, objectives: [mean_teacher, supervised]}
"""
FROZEN = Arm("random", "mean_teacher", "frozen")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    grid, paths = load_grid(file), Paths(tmp_path / "out", tmp_path / "work")
    (variant,) = open_variants(grid, paths, "cpu")
    stages = {("small", 0): stage0_of(grid, variant, 0, paths, "cpu")}
    loops = {t.cell[0]: t for t in _missing_loops(grid, [variant], stages, {"small": Results()}, paths)}
    monkeypatch.setattr(module, "_step", lambda task, project: 10.0)
    monkeypatch.setattr(module, "_measure", lambda project: module._Speed(dim=7, weights=1000, embed=1.0, train=1.0))
    return {"loops": loops, "projects": {"small": variant.project}}


def need(bench: dict[str, Any], *loops: Loop, cells: Results | None = None) -> Need:
    return estimate(loops, bench["projects"], {"small": cells or Results()}, 1)


def test_the_linear_baseline_takes_no_steps_and_embeds_no_views(bench: dict[str, Any]) -> None:
    loops, images = bench["loops"], 60
    linear, trained = need(bench, loops[LINEAR]), need(bench, loops[FROZEN])
    assert linear.seconds == pytest.approx(images + 3 * SOLVED)
    views = STRONG_VIEWS * 40.0  # of the pool
    assert trained.seconds == pytest.approx(linear.seconds + views + 3 * 30 * 10.0)
    supervised = need(bench, loops[Arm("random", "supervised", "frozen")])
    assert supervised.seconds == pytest.approx(linear.seconds + views)  # a solved head as well
    both = need(bench, loops[LINEAR], loops[FROZEN])
    assert both.seconds == pytest.approx(linear.seconds + trained.seconds - images)  # one stage 0
    assert supervised.disk > linear.disk


def test_seconds_of_finished_cells_are_those_of_the_same_learner(bench: dict[str, Any]) -> None:
    supervised = Arm("random", "supervised", "frozen")
    cells = Results({(supervised, 5): (Row(2, 16, END, 100.0),), (LINEAR, 5): (Row(2, 16, END, 3.0),)})
    loops = bench["loops"]
    one = need(bench, loops[LINEAR], cells=cells).seconds
    both = need(bench, loops[LINEAR], replace(loops[supervised]), cells=cells).seconds
    assert one == pytest.approx(60 + 3.0)
    assert both == pytest.approx(60 + 240 + 3.0 + 100.0)
