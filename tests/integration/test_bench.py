"""A bench for real: worker processes, kills, failures, limits; what it finds is the same whatever happened to it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import yaml

from hybrid_al.bench.compared import LINEAR
from hybrid_al.bench.results import END, Arm, read
from hybrid_al.core.types import Need, Query
from hybrid_al.query.base import QueryState
from tests.fuzz import forked
from tests.helpers.command import call
from tests.helpers.played import play

pytestmark = pytest.mark.slow

RECIPE = """
name: small
learner: frozen
train: {name: supervised, steps: 20, min_steps: 20}
pretrain: none
data: {source: phantom, n_pool: 60, n_val: 10, n_test: 40, size: 16, image_size: 16}
loop: {budgets: [6, 5, 5]}
track: {wandb: {mode: "off"}}
bench: {recipe: false, strategies: [random, typiclust+entropy], seeds: 3, encoders: 2}
"""


@dataclass(frozen=True)
class Moody:
    """Random picks, but none at all where the first candidate is odd."""

    needs: ClassVar[frozenset[Need]] = frozenset()

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        picks = rng.permutation(state.candidates)[:budget]
        if rng.integers(2):
            raise ValueError("not in the mood")
        return Query(picks)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bench that ran undisturbed; its work directory."""
    work = tmp_path_factory.mktemp("whole")
    assert call("bench", recipe, "--run-dir", work, "--jobs", 2) == 0
    return work


def numbers(csv: Path) -> list[str]:
    """The rows of a CSV without the times."""
    return [line for line in csv.read_text().splitlines() if ",seconds/" not in line]


def same(work: Path, whole: Path) -> None:
    a, b = work / "small", whole / "small"
    assert numbers(a / "small.csv") == numbers(b / "small.csv")
    assert (a / "tables.md").read_bytes() == (b / "tables.md").read_bytes()


def test_a_bench_leaves_tables_a_page_and_nothing_in_progress(whole: Path) -> None:
    cells = read(whole / "small" / "small.csv").cells
    assert len(cells) == 3 * (1 + 3 + 1)
    assert all(rows[-1].metric == END for rows in cells.values())
    text = (whole / "small" / "tables.md").read_text()
    assert "class_stratified (cheating)" in text and "typiclust+entropy" in text
    assert "| small | random | random / linear |" in text
    assert "drawFigure" in (whole / "small" / "index.html").read_text()
    assert not list((whole / "loops").iterdir())
    assert len([f for f in (whole / "stage0").iterdir() if f.name != ".cache"]) == 2


def test_seeds_are_paired(whole: Path) -> None:
    """The same start for the same cold start, another for another seed."""
    cells = read(whole / "small" / "small.csv").cells

    def start(strategy: str, seed: int) -> list[float]:
        rows = cells[Arm(strategy, "supervised", "frozen"), seed]
        return [r.value for r in rows if r.round == 0 and not r.metric.startswith("seconds")]

    assert start("random", 0) != start("random", 2)  # seeds 0 and 2 share an encoder
    assert start("random", 0) != start("typiclust+entropy", 0)
    for seed in range(3):
        of_frozen, of_linear = (
            [r for r in cells[arm, seed] if r.metric.startswith("labels/")]
            for arm in (Arm("random", "supervised", "frozen"), LINEAR)
        )
        assert of_frozen == of_linear


def test_cells_of_an_earlier_version_are_played_again_and_vouched_for(
    whole: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    shutil.copytree(whole, work)
    csv, note = work / "small" / "small.csv", work / "small" / "small.json"
    noted = json.loads(note.read_text())
    codes = {name: origin["code"] for name, origin in noted["arms"].items()}
    for name in ("random / supervised", "full / supervised"):
        noted["arms"][name]["code"] = "earlier"
    note.write_text(json.dumps({k: v for k, v in noted.items() if k != "digest"}))
    text = csv.read_text()
    at = text.index("full,supervised")
    csv.write_text(text[:at] + re.sub(r"test/auroc,[0-9.]+", "test/auroc,0.123", text[at:], count=1))
    capsys.readouterr()
    assert call("bench", recipe, "--run-dir", work, "--recheck") == 1
    out = capsys.readouterr()
    assert "small: 2 arms of another version" in out.out and "random / supervised, seed 0: the same" in out.out
    assert "full / supervised, seed 0: round 0, test/auroc: 0.123 before, now 0." in out.err
    now = json.loads(note.read_text())
    assert now["arms"]["random / supervised"]["code"] == codes["random / supervised"]
    assert now["arms"]["full / supervised"]["code"] == "earlier"
    assert [row["arm"] for row in now["rechecked"]] == ["random / supervised"]


def test_random_picks_are_the_same_whatever_the_learner_and_the_objective(tmp_path: Path) -> None:
    """Only the seed decides them, so that a bench compares trainers on the same labels."""
    plain = yaml.safe_load(RECIPE)
    picks = {}
    for seed in (0, 1):
        for learner, objective in (("linear", "supervised"), ("frozen", "fixmatch"), ("finetune", "supervised")):
            train = {"name": objective, "steps": 2, "min_steps": 2, "batch": 4, "ratio": 1}
            arms = {"cold_start": "random", "query": "random"}
            recipe = {**plain, **arms, "seed": seed, "learner": learner, "train": train}
            rounds = play(tmp_path / f"{learner}-{seed}", recipe).run.rounds()
            picks[learner, seed] = [r.query for r in rounds]
    for seed in (0, 1):
        assert picks["linear", seed] == picks["frozen", seed] == picks["finetune", seed]
        assert [len(query) for query in picks["linear", seed]] == [6, 5, 5]
    assert picks["linear", 0] != picks["linear", 1]


def test_killed_at_any_moment_it_goes_on(recipe: Path, whole: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    # lines of what it says: the promise, stage 0 twice, then cells
    for lines, jobs in ((1, 1), (3, 1), (5, 2)):
        child = forked.start(partial(forked.program, ["bench", recipe, "--run-dir", work, "--jobs", jobs]), tmp_path)
        while child.out.read_text(encoding="utf-8").count("\n") < lines:
            assert child.wait(0.01) is None, child.lines()
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait(60) == -signal.SIGKILL
    cell_count = len(read(work / "small" / "small.csv").cells)
    assert 0 < cell_count < 15
    assert call("bench", recipe, "--run-dir", work) == 0
    same(work, whole)


def test_a_cut_file_and_a_time_limit(
    recipe: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("bench", recipe, "--run-dir", tmp_path, "--time-limit", 0) == 0
    assert "15 cells are left" in capsys.readouterr().out
    text = (whole / "small" / "small.csv").read_text()
    (tmp_path / "small" / "small.csv").write_text(text[: len(text) // 2])
    assert call("bench", recipe, "--run-dir", tmp_path, "--jobs", 1) == 0
    same(tmp_path, whole)


def test_with_nothing_missing_no_data_is_looked_at(
    recipe: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object, **__: object) -> Iterator[None]:
        raise AssertionError

    monkeypatch.setattr("hybrid_al.bench.runner.open_project", never)
    before = (whole / "small" / "tables.md").read_bytes()
    assert call("bench", recipe, "--run-dir", whole) == 0
    assert (whole / "small" / "tables.md").read_bytes() == before
    assert "cells to play" not in capsys.readouterr().out
    assert call("bench", recipe, "loop.budgets=[6, 6, 4]", "--run-dir", whole) == 2
    assert "one budgets" in capsys.readouterr().err


def test_other_data_or_settings_are_refused(recipe: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (whole / "small" / "small.csv").read_bytes()
    for change, named in (
        ("data.n_pool=61", "one data"),
        ("loop.budgets=[6, 5]", "budgets"),
        ("bench.encoders=3", "enc"),
    ):
        assert call("bench", recipe, change, "--run-dir", whole, "--seeds", 4) == 2
        error = capsys.readouterr().err
        assert named in error and error.count("\n") == 1
    assert (whole / "small" / "small.csv").read_bytes() == before


def test_a_failed_cell_does_not_stop_the_rest(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moody = "bench.strategies={random: null, moody: {query: '" + f"{__name__}:Moody" + "'}}"
    code = call("bench", recipe, moody, "--run-dir", tmp_path, "--jobs", 1)
    errors = capsys.readouterr().err
    cells = read(tmp_path / "small" / "small.csv").cells
    assert code == 1
    assert "not in the mood" in errors and "tries them again" in errors
    assert sum(arm == Arm("random", "supervised", "frozen") for arm, _ in cells) == 3
    assert sum(arm == LINEAR for arm, _ in cells) == 3
    assert sum(arm.strategy == "moody" for arm, _ in cells) < 3
    assert "moody" in (tmp_path / "small" / "tables.md").read_text()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--strategies", "random,entropi"], "did you mean 'entropy'"),
        (["--seeds", "1,1"], "1 twice"),
        (["loop.budgets=[30, 31]"], "at most the pool's 60 samples in all, got 61"),
        (["data.n_test=0"], "a metric of a split with labels"),
        (["bench.metrics=[trest/auroc]"], "a metric of a split"),
        (["oracle=worklist"], "simulated"),
        (["bench.variants={a: {data.image_size: 16}, b: {loop.budgets: [99]}}"], "b: loop.budgets"),
    ],
)
def test_bad_input_is_one_line_before_anything_runs(
    recipe: Path, tmp_path: Path, argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("bench", recipe, *argv, "--run-dir", tmp_path) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.rglob("*.csv"))


def test_a_disk_too_small(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full:
        free = 10

    monkeypatch.setattr("hybrid_al.bench.runner.shutil.disk_usage", lambda _: Full)
    assert call("bench", recipe, "--run-dir", tmp_path) == 2
    assert "MiB free for the bench, got 0 MiB" in capsys.readouterr().err


MASKS = """
name: small
task: {name: segmentation, network: {name: unet, decoder_channels: [8, 8, 8, 8, 8]}}
data: {source: phantom, masks: true, n_pool: 16, n_val: 4, n_test: 5, classes: 2, size: 16, image_size: 16}
encoder: {name: test_resnet}
pretrain: none
train: {name: mean_teacher, steps: 3, batch: 4}
loop: {budgets: [3, 2]}
track: {wandb: {mode: "off"}}
bench: {recipe: false, strategies: [entropy], seeds: 1, encoders: 1, metrics: [test/dice, test/hd95]}
"""


def test_masks_are_compared_by_dice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "masks.yaml"
    recipe.write_text(MASKS)
    assert call("bench", recipe, "--run-dir", tmp_path / "work", "--jobs", 1) == 0
    cells = read(tmp_path / "work" / "small" / "small.csv").cells
    assert {arm.strategy for arm, _ in cells} == {"random", "foreground_random", "entropy", "full"}
    for rows in cells.values():
        assert {"test/dice", "test/hd95"} <= {r.metric for r in rows}
    for metric in ("test/hd95", "test/auroc"):
        assert call("bench", recipe, f"bench.metrics=[{metric}]", "--run-dir", tmp_path / "other") == 2
        assert f"dice of a split with masks, as test/dice, got {metric}" in capsys.readouterr().err
