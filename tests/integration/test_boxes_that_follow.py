"""Boxes that follow the model through the same loop: exactly what was asked is known, and paid for once."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hybrid_al import loop
from hybrid_al.api.export import export
from hybrid_al.assemble import Project, experiment
from hybrid_al.cli import main
from hybrid_al.core import files, rundir
from hybrid_al.core.consistency import Consistency
from hybrid_al.core.files import write_arrays
from hybrid_al.core.types import IGNORE
from hybrid_al.errors import InputError, UnknownName
from hybrid_al.experiment import Experiment
from hybrid_al.learners.segment import SegmentLearner
from hybrid_al.metrics.holdout import MaskHoldout
from hybrid_al.regions.adaptive import MergedSuperpixels
from hybrid_al.regions.base import Whole
from hybrid_al.regions.model_boxes import ModelBoxes
from hybrid_al.report.overview import write_reports
from hybrid_al.scores import samples as scores
from hybrid_al.semi.dense.base import labeled_loss
from hybrid_al.track.base import Trackers
from pretrain.stage0 import ensure
from tests.helpers.mask_runs import N_POOL, TINY, WINDOWS, make_project, play

RIPU = {**WINDOWS, "region": {"name": "ripu", "side": 6, "most": 3}}
PEAKS = {**WINDOWS, "region": {"name": "peaks", "side": [3, 8], "most": 4}}
LOOP = {"budgets": [6, 5, 4]}


def begun(path: Path, **changes: Any) -> tuple[Project, Experiment]:
    project = make_project(path, **changes)
    ensure(project, Trackers(), lambda *_: None)
    project.claim()
    return project, experiment(project)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "start", "query"),
    [
        (RIPU, "random", "random"),
        (RIPU, "typiclust", "ripu"),
        (RIPU, "random", {"name": "hybrid"}),
        (RIPU, "random", "cdal"),
        (PEAKS, "random", "entropy"),
        (PEAKS, "typiclust", "foreground_random"),
        (PEAKS, "random", {"name": "hybrid", "batch": {"name": "per_group", "most": 1}}),
    ],
)
def test_boxes_are_asked_about_once_and_nothing_else_is_known(
    tmp_path: Path, task: Any, start: str, query: Any
) -> None:
    project = play(tmp_path / "run", task=task, cold_start=start, query=query, loop=LOOP)
    setup, run = experiment(project), project.run
    assert isinstance(setup.task.regions, ModelBoxes) and isinstance(setup.learner, SegmentLearner)
    assert isinstance(setup.task.holdout, MaskHoldout)
    assert [r.labeled for r in run.rounds()] == [6, 11, 15]
    labeled, cost = np.full((len(setup.manifest), 16, 16), IGNORE, dtype=np.uint8), 0
    for r, row in enumerate(run.rounds()):
        regions, units = setup.task.regions.at(r), run.picks(r, run.manifest())
        assert units is not None and np.isin(units, regions.indices).all()
        with (run.round_path(r) / "query.csv").open(newline="") as file:
            for unit, line in zip(units.tolist(), csv.DictReader(file), strict=True):
                sample, part = divmod(unit, regions.parts)
                assert (setup.manifest.ids[sample], int(line["region"])) == (line["id"], part)
                where = regions.mask(sample, (part,))
                assert (labeled[sample][where] == IGNORE).all()  # what is known is never asked about again
                labeled[sample][where] = setup.task.holdout.truth(np.asarray([sample]))[0][where]
                cost += int(where.sum())
        assert row.metrics["cost/pixels"] == cost
    labels = run.labels(len(setup.manifest))
    masks = setup.learner.masks(labels)
    np.testing.assert_array_equal(masks.maps, labeled[masks.samples])
    assert (masks.maps != IGNORE).sum() == cost and np.isin(masks.samples, np.arange(N_POOL)).all()
    page = write_reports([run.path], None).read_text()
    assert "test/dice by pixels" in page


@pytest.mark.slow
def test_pixels_that_were_not_asked_about_send_exactly_no_gradient(tmp_path: Path) -> None:
    project = play(tmp_path / "run", task=PEAKS, query="entropy", loop=LOOP)
    setup, labels = experiment(project), project.run.labels(len(project.dataset.manifest))
    assert isinstance(setup.learner, SegmentLearner)
    masks = setup.learner.masks(labels)
    batch = setup.learner.inputs.labeled(masks.samples, masks, torch.Generator().manual_seed(0), True)
    logits = torch.randn(len(batch.y), 2, 16, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
    labeled_loss(logits, batch).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    moved = logits.grad.abs().sum(dim=1)
    assert (moved[batch.y == IGNORE] == 0).all() and (moved[batch.y != IGNORE] > 0).all()
    assert 0 < int((batch.y != IGNORE).sum()) < batch.y.numel() / 2


@pytest.mark.slow
def test_a_box_is_scored_by_its_pixels(tmp_path: Path) -> None:
    project = play(tmp_path / "run", task=PEAKS, loop=LOOP)
    setup = experiment(project)
    assert isinstance(setup.learner, SegmentLearner) and not isinstance(setup.task.regions, Whole)
    setup.learner.load(project.run.round_path(0) / "model.safetensors")
    regions = setup.task.regions.at(1)
    units = np.random.default_rng(0).permutation(regions.indices)[:9]
    labels = project.run.labels(len(setup.manifest)).as_of(0)
    windows = regions.labels(labels).labeled[:2]  # of the round before
    units = np.concatenate([units[:4], windows, units[4:]])
    slow: dict[str, list[float]] = {"entropy": [], "ripu": []}
    for unit in units.tolist():
        sample, part = divmod(unit, regions.parts)
        (batch,) = setup.learner.predict(np.asarray([sample]))
        owner = regions if part >= regions.first else setup.task.regions.at(0)
        inside = batch.probs[0, :, :, owner.mask(sample, (part,))].astype(np.float64)  # (pixels, S, C)
        slow["entropy"].append(scores.entropy(inside).mean())
        slow["ripu"].append(float(scores.ripu(np.moveaxis(inside, 0, -1)[None])[0]))
    for name, expected in slow.items():
        np.testing.assert_allclose(setup.learner.score(name, units, regions=regions), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_a_hybrid_reads_the_record_of_what_a_box_lies_on(tmp_path: Path) -> None:
    """Of each pixel the record of its window of the grid, which training saw twice at least; of a box their mean."""
    query = {"name": "hybrid", "score": {"consistency": 1.0}, "batch": {"name": "topk"}}
    project = play(tmp_path / "run", task=RIPU, query=query, loop=LOOP)
    run, setup = project.run, experiment(project)
    assert not isinstance(setup.task.regions, Whole)
    grid, regions, picks = setup.task.regions.at(0), setup.task.regions.at(1), run.picks(1, run.manifest())
    record = Consistency.load(run.round_path(0) / "consistency.npz")
    assert len(record.seen) == len(setup.manifest) * 9 and (record.seen[grid.indices] >= 2).all() and picks is not None
    unsteady, means = record.uncertainty(), {}
    for unit in regions.indices.tolist():
        sample, part = divmod(unit, regions.parts)
        windows = grid.maps(np.asarray([sample]))[0][regions.mask(sample, (part,))]
        means[unit] = float(np.mean([unsteady[sample * 9 + w] for w in windows.tolist()]))
    order = sorted(means.values(), reverse=True)
    assert [means[u] for u in picks.tolist()] == pytest.approx(order[:5]) and order[0] > order[5]
    assert len(set(means.values())) > N_POOL  # not one value an image


@pytest.mark.slow
@pytest.mark.parametrize(("unit", "query"), [("pixels", "ripu"), ("boundary", "entropy"), ("clicks", "random")])
def test_budgets_are_spent_in_what_boxes_cost(tmp_path: Path, unit: str, query: str) -> None:
    price = {"pixels": 100, "boundary": 20, "clicks": 12}[unit]
    budgets = {"budgets": [5, price, price], "unit": unit}
    project = play(tmp_path / "run", task=PEAKS, query=query, loop=budgets)
    rows = project.run.rounds()
    cost = [row.metrics[f"cost/{unit}"] for row in rows]
    assert rows[0].labeled == 5 and experiment(project).over(rows) and (np.diff(cost) >= 0).all()
    if unit == "pixels":  # known before, so never overspent
        assert 2 * price - 64 < cost[-1] - cost[0] <= 2 * price


class Killed(BaseException):
    """As SIGKILL: nothing of the loop may catch it."""


@pytest.mark.slow
def test_stopped_at_each_commit_of_a_query_it_goes_on_with_what_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"task": RIPU, "query": "ripu", "loop": {"budgets": [6, 5]}}
    whole, (half, setup) = play(tmp_path / "whole", **changes).run, begun(tmp_path / "cut", **changes)
    loop.play(setup, half.run, Trackers(), 0)
    commit, writes = files.write_atomic, list[str]()
    for n in (1, 1, 2, 3):  # what was committed before is not committed again

        def dying(path: Path, data: bytes | str, n: int = n) -> None:
            if len(writes) == n - 1:
                raise Killed
            commit(path, data)
            writes.append(path.name)

        writes.clear()
        with monkeypatch.context() as patched, pytest.raises(Killed):
            for module in (files, rundir):
                patched.setattr(module, "write_atomic", dying)
            again = experiment(half)
            again.oracle.annotate(loop.select(again, half.run, 1), 1)
            raise Killed
    assert (half.run.round_path(1) / "boxes.npz").is_file() and not half.run.rounds()[1:]
    assert [(r.query, r.metrics, r.digests) for r in play(tmp_path / "cut", **changes).run.rounds()] == [
        (r.query, r.metrics, r.digests) for r in whole.rounds()
    ]


@pytest.mark.slow
def test_boxes_that_were_committed_are_never_drawn_again(tmp_path: Path) -> None:
    half, setup = begun(tmp_path / "run", task=RIPU, query="entropy", loop=LOOP)
    loop.play(setup, half.run, Trackers(), 0)
    boxes = np.zeros((len(setup.manifest), 3, 4), dtype=np.int64)
    boxes[np.setdiff1d(np.arange(N_POOL), half.run.labels(len(setup.manifest)).labeled)[:5], 0] = 12, 12, 15, 14
    write_arrays(half.run.round_path(1) / "boxes.npz", {"boxes": boxes})  # such as no model would draw
    loop.play(setup, half.run, Trackers(), 1)
    last = half.run.rounds()[1]
    assert len(set(last.query)) == 5
    assert last.metrics["cost/pixels"] - half.run.rounds()[0].metrics["cost/pixels"] == 5 * 6


@pytest.mark.slow
def test_superpixels_merge_get_one_class_by_a_click_and_are_sieved(tmp_path: Path) -> None:
    task = {**WINDOWS, "region": {"name": "adaptive", "count": 12, "epsilon": 0.2}, "sieve": True}
    oracle = {"name": "simulated", "answer": "dominant"}
    project = play(tmp_path / "run", task=task, oracle=oracle, query="balanced_ratio", loop={"budgets": [6, 5]})
    setup, run = experiment(project), project.run
    assert isinstance(setup.learner, SegmentLearner) and isinstance(setup.task.regions, MergedSuperpixels)
    assert [(r.labeled, r.metrics["cost/clicks"]) for r in run.rounds()] == [(6, 6), (11, 11)]
    labels = run.labels(len(setup.manifest))
    masks, asked = setup.learner.masks(labels), setup.task.regions.query_masks(labels)
    for i, label_map in zip(masks.samples.tolist(), masks.maps, strict=True):
        assert all(len(np.unique(label_map[region])) == 1 for region in asked(i))
        assert ((label_map != IGNORE) == np.any(asked(i), axis=0)).all()
    out = export(run.path, out=tmp_path / "out")  # a region of one class is a mask, not a point for each pixel
    assert "masks/" in (out / "labels.csv").read_text() and not (out / "points.csv").exists()
    kept = setup.learner._sieved(masks, labels, run.round_path(1))
    assert ((kept.maps == masks.maps) | (kept.maps == IGNORE)).all() and (kept.maps != masks.maps).any()
    assert setup.task.regions.at(1).pixels.max() > setup.task.regions.at(0).pixels.max()  # some are merged


@pytest.mark.slow
def test_a_run_is_over_when_no_box_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Boxes of the largest side cover all that the first round left; the second takes them, the third finds none."""
    region = {"name": "ripu", "side": 16, "most": 1}
    project = play(tmp_path / "run", task={**RIPU, "region": region}, loop={"budgets": [N_POOL - 3, 99, 4]})
    rounds = project.run.rounds()
    assert [row.budget for row in rounds] == [N_POOL - 3, 3] and project.run.is_exhausted(2)
    said = capsys.readouterr().err
    assert "round 1: asks about all 3 regions that are left" in said and "round 2: no regions are left" in said
    assert len(loop.run(experiment(project), project.run, Trackers())) == 2
    assert "round 2: no regions" not in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["status", str(project.run.path)])
    assert "finished: nothing is left to ask about" in capsys.readouterr().out
    with pytest.raises(InputError, match="budgets: expected at most the pool's 144 regions in all, got 200"):
        play(tmp_path / "other", task=RIPU, loop={"budgets": [200, 1]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"region": {"name": "ripu", "side": 17}}, "region.side: expected at most the 16 pixels"),
        ({"region": {"name": "peaks", "side": [4, 17]}}, "region.side: expected at most the 16 pixels"),
        (
            {"region": {"name": "ripu", "side": 1}},
            "region.side: expected at most 254 windows of it in an image, got 256",
        ),
        ({"region": {"name": "peaks", "side": [9, 4]}}, "region.*side: expected a largest side of 9 or more"),
        ({"region": {"name": "ripu", "sides": 4}}, "sides"),
        ({"region": {"name": "rippu"}}, "ripu"),
        ({**RIPU, "reduction": "boundary"}, "task.reduction: expected mean"),
    ],
)
def test_boxes_that_cannot_be_are_refused_before_anything_runs(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises((InputError, UnknownName), match=message):
        make_project(tmp_path / "run", task={**RIPU, **change})


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            RIPU,
            "asks about windows of 6 x 6 px that .*, 3 an image and round at most; the cold start about the 9 windows",
        ),
        (
            PEAKS,
            "asks about boxes of 3 to 8 px a side around peaks .*; the cold start about the 4 windows of a grid of 8",
        ),
        (WINDOWS, "asks about windows of 8 x 8 px, 4 an image"),
    ],
)
def test_check_says_what_a_unit_is(tmp_path: Path, capsys: pytest.CaptureFixture[str], task: Any, message: str) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps({**TINY, "task": task}))
    with pytest.raises(SystemExit, match="0"):
        main(["check", str(file), "--run-dir", str(tmp_path / "run")])
    lines = [line for line in capsys.readouterr().out.splitlines() if "asks about" in line]
    assert len(lines) == 1
    assert re.search(message, lines[0])
