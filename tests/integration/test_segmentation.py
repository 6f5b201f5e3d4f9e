"""Segmentation through the same loop: whole runs on drawn masks, killed ones too, and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hybrid_al import loop
from hybrid_al.assemble import experiment
from hybrid_al.cli import main
from hybrid_al.metrics.pixel_calibration import FEW, sample_pixels
from hybrid_al.oracles.effort import clicks
from hybrid_al.oracles.simulated import SimulatedMasks
from hybrid_al.query.stopping import signals, stop_set
from hybrid_al.report.overview import write_reports
from hybrid_al.report.pictures import WORST_MASKS
from hybrid_al.scores import samples as scores
from hybrid_al.track.base import Trackers
from pretrain.stage0 import ensure
from tests.fuzz.forked import program, start
from tests.helpers.mask_runs import N_POOL, N_TEST, N_VAL, TINY, make_project, play
from tests.integration.test_kill import LONG, dying, outcome


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        "random",
        "entropy",
        "bald",
        "foreground_random",
        "badge",
        "cdal",
        {"name": "hybrid", "score": {"entropy": 1.0, "consistency": 1.0}},
        {"name": "hybrid", "score": {"expected_dice": 1.0, "ripu": 1.0}},
    ],
)
def test_a_run_measures_structures_and_asks_for_masks(tmp_path: Path, query: Any) -> None:
    run = play(tmp_path / "run", query=query).run
    rows = run.rounds()
    assert [r.labeled for r in rows] == [3, 5]
    names = {"dice", "hd95", "dice/cell", "hd95/cell"}
    for row in rows:
        assert {f"{split}/{name}" for split in ("val", "test") for name in names} <= set(row.metrics)
        assert 0 <= row.metrics["test/dice"] <= 1
        assert {f"test/{name}" for name in ("nll", "ece", "classwise_ece", "brier")} <= set(row.metrics)
    assert "stop/agreement" not in rows[0].metrics and -1 <= rows[1].metrics["stop/agreement"] <= 1
    with np.load(run.round_path(1) / "reliability.npz") as archive:
        assert set(archive.files) == {"val", "test"} and archive["test"][0].sum() == N_TEST * 16 * 16
    answers = sorted((run.path / "rounds").glob("*/answers/*.png"))
    masks = [np.asarray(Image.open(a)) for a in answers]  # in their own size, which is that of the network
    counts: dict[str, Callable[[Any], Any]] = {
        "clicks": clicks,
        "boundary": lambda labels: scores.outlines(labels).sum(),
        "foreground": np.count_nonzero,
    }
    for name, count in counts.items():
        assert rows[-1].metrics[f"cost/{name}"] == sum(count(g) for g in masks) > 0
    assert len(answers) == 5
    assert all(set(np.unique(np.asarray(Image.open(a)))) <= {0, 1} for a in answers)


@pytest.mark.slow
def test_rounds_agree_on_a_few_pixels_of_a_few_images(tmp_path: Path) -> None:
    """Against what both models say of the same pixels; the gain is told where budgets are of labels."""
    loops = {"budgets": [3, 2, 4], "stop": {"agreement": -1.0, "rounds": 1, "gain": 1.0, "enforce": True}}
    project = play(tmp_path / "run", loop=loops)
    rounds, learner = project.run.rounds(), experiment(project).learner
    assert len(rounds) == 2 and 0 <= rounds[1].metrics["stop/expected_gain"] <= 1  # enough, and the loop is over
    rows, outputs = stop_set(project.dataset.manifest.indices("pool"), 0), []
    for r in (0, 1):
        learner.load(project.run.round_path(r) / "model.safetensors")
        pixels = [
            sample_pixels(batch, np.zeros((len(batch.indices), 16, 16), np.uint8))[0] for batch in learner.predict(rows)
        ]
        outputs.append(np.concatenate(pixels))
    assert outputs[0].shape == (N_POOL * FEW, 2)
    before = outputs[0].argmax(axis=1)
    expected = signals(before, outputs[1], (3, 5, 9))
    assert {name: rounds[1].metrics[name] for name in expected} == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("query", ["random", {"name": "hybrid"}])
def test_missing_views_are_made_only_where_the_query_reads_the_record(tmp_path: Path, query: Any) -> None:
    run = play(tmp_path / "run", query=query, loop={"budgets": [3]}).run
    rows = np.setdiff1d(np.arange(N_POOL), run.labels(N_POOL + N_VAL + N_TEST).labeled)
    with np.load(run.round_path(0) / "consistency.npz", allow_pickle=False) as record:
        assert (record["seen"][rows] >= 2).all() == (query != "random")


@pytest.mark.slow
def test_what_was_killed_before_the_commit_ends_the_same(tmp_path: Path) -> None:
    whole, cut = play(tmp_path / "whole").run, tmp_path / "cut"
    half = make_project(cut)
    ensure(half, Trackers(), lambda *_: None)
    half.claim()
    setup = experiment(half)
    loop.play(setup, half.run, Trackers(), 0)
    setup.oracle.annotate(loop.select(setup, half.run, 1), 1)  # asked and answered, never trained
    again = play(cut).run
    assert [(r.query, r.metrics, r.digests) for r in again.rounds()] == [
        (r.query, r.metrics, r.digests) for r in whole.rounds()
    ]


def test_a_class_that_no_labeled_mask_shows_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(tmp_path / "run", train={"name": "mean_teacher", "steps": 2, "batch": 4})
    ensure(project, Trackers())
    project.claim()
    setup = experiment(project)
    assert isinstance(setup.oracle, SimulatedMasks)
    empty = replace(setup.oracle, read=lambda i: np.zeros((16, 16), dtype=np.uint8))
    loop.play(replace(setup, oracle=empty), project.run, Trackers(), 0)
    assert "round 0: no labeled mask shows class 1 (cell)" in capsys.readouterr().err
    assert project.run.rounds()[0].metrics["test/dice"] >= 0


def test_check_says_what_is_padded_and_what_the_masks_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps(TINY))
    with pytest.raises(SystemExit, match="0"):
        main(["check", str(file), "--run-dir", str(tmp_path / "run")])
    text = capsys.readouterr().out
    assert "images of 16 px are padded to 32 px" in text and "25 of 25 samples have a mask" in text


@pytest.mark.slow
def test_killed_in_the_middle_of_a_fit_it_ends_the_same(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps({**TINY, "query": {"name": "hybrid"}, "train": {"name": "mean_teacher", "steps": 20}}))
    args = ["run", file, "--quiet", "--run-dir"]
    assert start(partial(program, [*args, tmp_path / "whole"]), tmp_path).wait(LONG) == 0
    for n in (2, 3):
        assert start(dying("log", n, *args, tmp_path / "cut"), tmp_path).wait(LONG) == -9
    assert start(partial(program, [*args, tmp_path / "cut"]), tmp_path).wait(LONG) == 0
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


@pytest.mark.slow
def test_the_report_draws_what_is_predicted(tmp_path: Path) -> None:
    project = play(tmp_path / "run")
    page = write_reports([project.run.path], None).read_text()
    assert (
        page.count('alt="Prediction and truth on test/') == N_TEST + min(WORST_MASKS, N_TEST) and "Dice: cell " in page
    )
    assert 'id="balance-spec"' not in page and 'id="reliability-spec"' in page and "Pixels of an image hang" in page
    assert "right %{y:.2f} (%{customdata} pixels)" in page and "samples)" not in page
    with np.load(project.run.round_path(len(project.run.rounds()) - 1) / "holdout.npz") as answers:
        assert answers["test/confusion"].sum() == N_TEST * 16 * 16 and len(answers["test/dice"]) == N_TEST
