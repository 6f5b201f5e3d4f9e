"""The same tuning for every arm: which trials there are, what each arm chooses, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_al.bench import results, runner, tuning
from hybrid_al.bench.compared import LINEAR
from hybrid_al.bench.grid import Grid, load_grid
from hybrid_al.bench.results import END, FULL, Arm, Row
from hybrid_al.bench.runner import Paths
from hybrid_al.errors import InputError

RECIPE = """
name: small
learner: frozen
train: {name: fixmatch, steps: 30}
loop: {budgets: [4, 4]}
bench:
  recipe: false
  stratified: false
  seeds: 2
  strategies: [random, entropy]
  tune: {keys: {train.lr_head: [0.001, 0.01], learner.dropout: [0.1, 0.5]}, seeds: 2}
"""
ENTROPY, RANDOM = (Arm(name, "fixmatch", "frozen") for name in ("entropy", "random"))


def grid_of(folder: Path, *overrides: str) -> Grid:
    path = folder / "small.yaml"
    path.write_text(RECIPE)
    return load_grid(path, overrides)


def played(grid: Grid, folder: Path) -> Paths:
    """Trials in which entropy is best with the third setting, and every other arm with the second."""
    trials, paths = tuning.trials(grid), Paths(folder, folder)
    assert trials is not None
    for i, variant in enumerate(trials.variants):
        cells = {}
        for arm, seed in trials.cells(variant):
            best = 2 if arm == ENTROPY else 1
            value = 0.9 if i == best else 0.5 + 0.01 * i
            labels = (60,) if arm.strategy == FULL else (4, 8)
            rows = [Row(r, n, "val/auroc", value) for r, n in enumerate(labels)]
            cells[arm, seed] = (*rows, Row(len(labels) - 1, labels[-1], END, 1.0))
        file = paths.out / "tuning" / f"{variant}.csv"
        file.parent.mkdir(exist_ok=True)
        results.write(file, results.Results(cells), {cell: j for j, cell in enumerate(cells)})
    return paths


def test_every_arm_but_the_linear_one_tries_all_combinations_on_other_seeds(tmp_path: Path) -> None:
    trials = tuning.trials(grid_of(tmp_path))
    assert trials is not None
    assert trials.seeds == (100, 101) and trials.bench.metrics == ("val/auroc",)
    settings = [(r.train.params["lr_head"], r.learner.params["dropout"]) for r in trials.variants.values()]
    assert settings == [(0.001, 0.1), (0.001, 0.5), (0.01, 0.1), (0.01, 0.5)]
    assert set(trials.arms("small-0")) == {RANDOM, ENTROPY, Arm(FULL, "fixmatch", "frozen")}
    assert tuning.trials(grid_of(tmp_path, "bench.tune={}")) is None
    of_target = tuning.trials(grid_of(tmp_path, "bench.metrics=[target/test/auroc]"))
    assert of_target is not None and of_target.bench.metrics == ("target/val/auroc",)
    with pytest.raises(InputError, match=r"tune\.metric: expected a metric of val"):
        tuning.trials(grid_of(tmp_path, "bench.tune.metric=target/test/auroc"))


def test_each_arm_is_compared_with_the_setting_that_was_best_on_val(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "run", lambda *_, **__: None)
    monkeypatch.setattr(runner, "open_variants", lambda *_: [])
    grid, lines = grid_of(tmp_path), list[str]()

    def tuned() -> Grid | None:
        paths = Paths(tmp_path, tmp_path)
        return tuning.tuned(grid, paths, jobs=1, device="cpu", time_limit=None, say=lines.append)

    assert tuned() is None and "goes on" in lines[-1]
    paths = played(grid, tmp_path)
    result = tuned()
    assert result is not None
    for arm, rate, dropout in ((ENTROPY, 0.01, 0.1), (RANDOM, 0.001, 0.5)):
        recipe = result.recipe("small", (arm, 0), 60)
        assert (recipe.train.params["lr_head"], recipe.learner.params["dropout"]) == (rate, dropout)
        assert recipe.query.name == arm.strategy and recipe.seed == 0
    assert result.recipe("small", (LINEAR, 0), 60) == grid.recipe("small", (LINEAR, 0), 60)

    table = tuning.tuning_table(result, paths)
    assert table is not None
    assert ("small", "entropy / fixmatch", "train.lr_head=0.01, learner.dropout=0.1", "0.900", "0.500") in table.rows
    assert "same 4 settings" in table.note and "over 2 other seeds" in table.note
    assert "in small a weight decay of 0, a mean" in table.note and "a dropout" not in table.note  # which is tuned


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("bench.tune.keys={query.name: [entropy, margin]}", "bench.tune.keys.*query.name"),
        ("bench.tune.keys={train.threshold: [0.5]}", "schedule in train.*train.threshold"),
        ("bench.tune.keys={learner.dropout: []}", "bench.tune.keys"),
        ("bench.tune.seeds=1-2", "other seeds.*got 1"),
        ("bench.tune.metric=test/auroc", "a metric of val"),
    ],
)
def test_what_is_no_matter_of_tuning_is_refused(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tuning.trials(grid_of(tmp_path, override))
