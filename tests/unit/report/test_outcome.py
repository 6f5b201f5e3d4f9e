"""What a run came to, in words: the numbers in them, beside random picks and without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybrid_al.metrics.classification import aubc
from hybrid_al.report import console
from hybrid_al.report.outcome import AFTER, NEXT, ON_OWN, Outcome
from hybrid_al.report.page import RunView, write_report
from hybrid_al.report.runview import leading
from tests.helpers.fake_run import fake_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunView, list[RunView]]:
    root = tmp_path_factory.mktemp("runs")
    random = [RunView.read(fake_run(root / f"r{seed}", strategy="random", seed=seed)) for seed in range(3)]
    run = RunView.read(fake_run(root / "run"))
    data = {"source": "npz", "root": "package:pneumonia.npz"}
    return replace(run, recipe={**run.recipe, "oracle": "simulated", "data": data}), random


def test_the_words_hold_the_numbers_of_the_run(runs: tuple[RunView, list[RunView]]) -> None:
    run, _ = runs
    outcome = Outcome.of(run)
    assert outcome.story == (
        "96 of 300 images were labeled as atelectasis, cardiomegaly, effusion, nodule or no finding in 4 rounds: "
        "20 picked before there was a model (typiclust), then 80 with its help (hybrid). Each round ended with "
        "a training on all labels so far. The answers were the labels that came with the data."
    )
    assert [s.name for s in outcome.scores] == ["AUROC", "balanced accuracy"]
    assert "0.2 is guessing" in outcome.scores[1].meaning
    assert outcome.scores[0].value == run.rounds[-1].metrics["test/auroc"] and not outcome.scores[0].random
    assert outcome.verdict == "" and outcome.next == NEXT + AFTER


def test_scores_of_the_target_come_first(runs: tuple[RunView, list[RunView]]) -> None:
    run, random = runs
    commit = run.rounds[-1].round
    assert commit is not None
    metrics = {"target/test/auroc": 0.25, **commit.metrics}
    parted = replace(run, rounds=(*run.rounds[:-1], replace(run.rounds[-1], round=replace(commit, metrics=metrics))))
    outcome = Outcome.of(parted, random)
    assert [s.name for s in outcome.scores] == ["AUROC of the target", "AUROC", "balanced accuracy"]
    assert outcome.scores[0].value == 0.25 and "a coin" in outcome.scores[0].meaning
    assert "test images" in outcome.ground
    assert parted.metrics[0] == "target/test/auroc"
    assert leading(parted.metrics) == ["target/test/auroc", "test/auroc", "test/balanced_accuracy"]


def test_labels_of_bags_are_no_images(runs: tuple[RunView, list[RunView]]) -> None:
    outcome = Outcome.of(replace(runs[0], recipe={**runs[0].recipe, "task": "bags"}))
    assert outcome.story.startswith("96 bags in a pool of 300 images were labeled")
    assert "on the bags of" in outcome.ground


def test_after_data_of_ones_own_comes_a_person(runs: tuple[RunView, list[RunView]]) -> None:
    run, _ = runs
    own = Outcome.of(replace(run, recipe={**run.recipe, "data": {"source": "folder", "root": "scans"}}))
    assert own.next == ON_OWN + AFTER and "--run-dir" in own.next[0][0]


def test_random_picks_stand_beside_with_their_range_and_number(runs: tuple[RunView, list[RunView]]) -> None:
    run, random = runs
    outcome = Outcome.of(run, random)
    last = [r.rounds[-1].metrics["test/auroc"] for r in random]
    text = f"{np.mean(last):.3f}, mean of 3 runs ({min(last):.3f} to {max(last):.3f})"
    assert outcome.scores[0].random == tuple(last) and outcome.scores[0].beside == text
    own, *areas = [aubc(*(v.tolist() for v in r.curve("test/auroc"))) for r in (run, *random)]
    assert f"{own:.3f} on average, with random picks {np.mean(areas):.3f}" in outcome.verdict
    assert f"{sum(own > a for a in areas)} of 3 runs with random picks did worse" in outcome.verdict
    assert Outcome.of(run, random[:1]).scores[0].beside == f"{last[0]:.3f} in one run"


def test_random_runs_with_other_numbers_of_labels_are_not_compared(
    runs: tuple[RunView, list[RunView]], tmp_path: Path
) -> None:
    short = RunView.read(fake_run(tmp_path / "short", strategy="random", committed=3))
    outcome = Outcome.of(runs[0], [short])
    assert outcome.verdict == "" and outcome.scores[0].random == ()
    assert "mean of 3 runs" in Outcome.of(runs[0], [*runs[1], short]).scores[0].beside


def test_a_run_that_has_only_asked_says_so(tmp_path: Path) -> None:
    outcome = Outcome.of(RunView.read(fake_run(tmp_path / "run", committed=0)))
    assert outcome == Outcome("Nothing is labeled yet, of a pool of 300 images.", "", (), "", ON_OWN)


def test_the_page_says_how_many_runs_each_line_holds(runs: tuple[RunView, list[RunView]], tmp_path: Path) -> None:
    run, random = runs
    text = write_report([run], tmp_path, random=random).read_text()
    outcome = Outcome.of(run, random)
    for part in (outcome.story, outcome.verdict, outcome.scores[0].beside, NEXT[0][0]):
        assert part in text
    assert "typiclust, then hybrid: one run" in text and "random picks: mean of 3 runs" in text
    assert text.count('id="rounds"') == 1
    assert len((tmp_path / "curve.csv").read_text().splitlines()) == 1 + 4 * 4


def test_the_terminal_says_the_same(runs: tuple[RunView, list[RunView]], capsys: pytest.CaptureFixture[str]) -> None:
    run, random = runs
    outcome = Outcome.of(run, random)
    rows = [[r.round for r in view.rounds if r.round] for view in (run, *random)]
    console.say_table(rows[0], rows[1:])
    console.say_outcome(outcome)
    console.say_next(outcome, Path("runs/my run"))
    out = capsys.readouterr().out
    assert outcome.story in " ".join(out.split()) and outcome.verdict in " ".join(out.split())
    assert f"random picks: {outcome.scores[1].beside}" in out and NEXT[1][0] in out
    assert f"{np.mean([r[0].metrics['test/auroc'] for r in rows[1:]]):.3f}" in out
    assert all(len(line) <= console.WIDTH for line in out.splitlines())


def test_without_labels_to_measure_on_terminal_and_page_say_so(
    runs: tuple[RunView, list[RunView]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = runs
    rounds = [replace(r.round, metrics={"stop/agreement": 0.9}) for r in run.rounds if r.round]
    run = replace(run, rounds=tuple(replace(v, round=r) for v, r in zip(run.rounds, rounds, strict=True)))
    console.say_round(rounds[1])
    console.say_outcome(Outcome.of(run))
    out = capsys.readouterr().out
    assert "labels; no test or val labels to measure on, agreement with the last model 0.900" in out
    assert "No image outside the pool has a label" in out
    page = write_report([run], tmp_path).read_text(encoding="utf-8")
    assert (
        "How far the models of two rounds agree" in page and "AUBC" not in page and "No image outside the pool" in page
    )
