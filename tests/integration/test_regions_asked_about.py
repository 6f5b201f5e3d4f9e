"""Windows and superpixels of images are asked about, scored, paid for and, after a kill, asked about again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_al import loop
from hybrid_al.assemble import experiment
from hybrid_al.core.types import IGNORE
from hybrid_al.errors import InputError
from hybrid_al.learners.segment import SegmentLearner
from hybrid_al.metrics.holdout import MaskHoldout
from hybrid_al.regions.base import Regions
from hybrid_al.report.overview import standing, write_reports
from hybrid_al.scores import samples as scores
from hybrid_al.track.base import Trackers
from pretrain.stage0 import ensure
from tests.helpers.mask_runs import SUPERPIXELS, TINY, WINDOWS, make_project, play


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "start", "query"),
    [
        (WINDOWS, "random", "random"),
        (WINDOWS, "typiclust", "entropy"),
        (WINDOWS, "random", "foreground_random"),
        (WINDOWS, "random", "ripu"),
        (SUPERPIXELS, "random", "cdal"),
        (SUPERPIXELS, "random", {"name": "hybrid", "batch": {"name": "per_group", "most": 2}}),
        (SUPERPIXELS, "random", {"name": "hybrid"}),
    ],
)
def test_regions_are_asked_about_and_nothing_else_is_known(tmp_path: Path, task: Any, start: str, query: Any) -> None:
    budgets = {"loop": {"budgets": [6, 5]}}
    project = play(tmp_path / "run", task=task, cold_start=start, query=query, **budgets)
    setup, run = experiment(project), project.run
    holdout = setup.task.holdout
    assert isinstance(setup.task.regions, Regions) and isinstance(setup.learner, SegmentLearner)
    assert isinstance(holdout, MaskHoldout)
    assert [r.labeled for r in run.rounds()] == [6, 11]
    labels = run.labels(len(setup.manifest))
    units = setup.task.regions.labels(labels).labeled
    masks = setup.learner.masks(labels)
    sizes = setup.task.regions.sizes.ravel()[units]
    assert (masks.maps != IGNORE).sum() == sizes.sum() == run.rounds()[1].metrics["cost/pixels"]
    for row, labeled in zip(masks.samples, masks.maps, strict=True):
        whole = holdout.truth(np.asarray([row]))[0]
        parts = setup.task.regions.maps(np.asarray([row]))[0]
        mine = [unit % setup.task.regions.parts for unit in units.tolist() if unit // setup.task.regions.parts == row]
        np.testing.assert_array_equal(labeled, np.where(np.isin(parts, mine), whole, IGNORE))
    page = write_reports([run.path], None).read_text()
    assert "test/dice by pixels" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unit", "task", "query"),
    [
        ("pixels", WINDOWS, "entropy"),
        ("boundary", SUPERPIXELS, {"name": "hybrid"}),
        ("foreground", TINY["task"], "random"),
        ("clicks", TINY["task"], "badge"),
    ],
)
def test_budgets_are_spent_in_what_answers_cost(tmp_path: Path, unit: str, task: Any, query: Any) -> None:
    price = {"pixels": 320, "boundary": 24, "foreground": 150, "clicks": 15}[unit]  # of a few answers
    budgets = {"budgets": [3, price, price, 2 * price], "unit": unit}
    project = play(tmp_path / "run", task=task, query=query, loop=budgets)
    rows, setup = project.run.rounds(), experiment(project)
    cost = [r.metrics[f"cost/{unit}"] for r in rows]
    assert rows[0].labeled == 3 and all(r.budget == len(r.query) >= 1 for r in rows)
    assert setup.over(rows) and (len(rows) == 4 or cost[-1] - cost[0] >= 4 * price)
    if unit == "pixels":  # known before, so never overspent; a window has 64
        assert [c - cost[0] for c in cost] == [0, 320, 640, 1280]
    for r in range(1, len(rows) - 1):
        assert cost[r] - cost[0] < 4 * price
    assert "finished" in standing(project.run)[-1]


@pytest.mark.slow
def test_more_parts_than_a_map_of_bytes_can_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"task\.region: expected at most 254 parts an image, got 256"):
        play(tmp_path / "run", task={**WINDOWS, "region": {"name": "windows", "side": 1}})


@pytest.mark.slow
def test_a_window_is_scored_by_its_pixels(tmp_path: Path) -> None:
    project = play(tmp_path / "run", task=WINDOWS)
    setup = experiment(project)
    learner, regions = setup.learner, setup.task.regions
    assert isinstance(learner, SegmentLearner) and isinstance(regions, Regions)
    learner.load(project.run.round_path(1) / "model.safetensors")
    slow = []
    units = np.asarray([4 * 7 + 1, 4 * 2, 4 * 7 + 2, 4 * 11 + 3])
    for unit in units.tolist():
        (batch,) = learner.predict(np.asarray([unit // 4]))
        top, left = 8 * (unit % 4 // 2), 8 * (unit % 2)
        probs_PSC = np.moveaxis(batch.probs[0, :, :, top : top + 8, left : left + 8], (2, 3), (0, 1)).reshape(64, 1, -1)
        slow.append(scores.entropy(probs_PSC.astype(np.float64)).mean())
    np.testing.assert_allclose(learner.score("entropy", units, regions=regions), slow, rtol=1e-4)


@pytest.mark.slow
def test_regions_killed_before_the_commit_end_the_same(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"task": SUPERPIXELS, "query": "entropy"}
    whole, cut = play(tmp_path / "whole", **changes).run, tmp_path / "cut"
    half = make_project(cut, **changes)
    ensure(half, Trackers(), lambda *_: None)
    half.claim()
    setup = experiment(half)
    loop.play(setup, half.run, Trackers(), 0)
    setup.oracle.annotate(loop.select(setup, half.run, 1), 1)
    assert [(r.query, r.metrics, r.digests) for r in play(cut, **changes).run.rounds()] == [
        (r.query, r.metrics, r.digests) for r in whole.rounds()
    ]
