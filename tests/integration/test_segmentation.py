"""Segmentation through the same loop: whole runs on drawn masks, killed ones too, and what must be refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hybrid_al import loop
from hybrid_al.assemble import Project, experiment, open_project
from hybrid_al.cli import main
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.rng import derive, derive_seed
from hybrid_al.core.types import IGNORE
from hybrid_al.data.answers import read_boxes
from hybrid_al.data.boxes import boxes
from hybrid_al.data.stores.masks import MaskStore
from hybrid_al.errors import InputError, UnknownName
from hybrid_al.learners.committee import warm_start
from hybrid_al.learners.segment import SegmentLearner
from hybrid_al.metrics.calibration import Calibration, calibrate, logs
from hybrid_al.metrics.classification import classification
from hybrid_al.metrics.holdout import MaskHoldout
from hybrid_al.metrics.pixel_calibration import FEW, sample_pixels
from hybrid_al.oracles.effort import clicks
from hybrid_al.oracles.simulated import SimulatedMasks
from hybrid_al.query.stopping import signals, stop_set
from hybrid_al.recipe import parse
from hybrid_al.regions.base import Regions
from hybrid_al.report.overview import standing, write_reports
from hybrid_al.report.pictures import WORST_MASKS
from hybrid_al.scores import samples as scores
from hybrid_al.track.base import Trackers
from pretrain.stage0 import ensure
from tests.fuzz.forked import program, start
from tests.helpers.played import play as play_recipe
from tests.integration.test_kill import LONG, dying, outcome

N_POOL, N_VAL, N_TEST = 16, 4, 5
TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {
        "source": "phantom",
        "masks": True,
        "n_pool": N_POOL,
        "n_val": N_VAL,
        "n_test": N_TEST,
        "classes": 2,
        "size": 16,
        "image_size": 16,
    },
    "encoder": {"name": "test_resnet"},
    "task": {
        "name": "segmentation",
        "network": {"name": "unet", "decoder_channels": [8, 8, 8, 8, 8]},
        "reduction": "boundary",
    },
    "pretrain": "none",
    "cold_start": "random",
    "train": {"name": "mean_teacher", "steps": 3, "batch": 4},
    "loop": {"budgets": [3, 2]},
    "track": {"wandb": {"mode": "off"}},
}


def make_project(path: Path, **changes: Any) -> Project:
    return open_project(parse({**TINY, **changes}), run_dir=path)


def play(path: Path, **changes: Any) -> Project:
    return play_recipe(path, {**TINY, **changes})


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
@pytest.mark.parametrize("train", ["cps", "unimatch"])
def test_objectives_of_two_networks_and_of_two_views(tmp_path: Path, train: str) -> None:
    project = play(tmp_path / "run", train={"name": train, "steps": 3, "batch": 4}, query={"name": "hybrid"})
    learner = experiment(project).learner
    assert isinstance(learner, SegmentLearner) and len(project.run.rounds()) == 2
    learner.load(project.run.round_path(1) / "model.safetensors")
    rows = np.asarray([7, 2])
    passes = {batch.probs.shape[1] for batch in learner.predict(rows, samples=3)}
    assert passes == ({2} if train == "cps" else {3})  # networks of a committee, else passes with dropout
    assert (learner.score("bald", rows, samples=3) > 0).all()
    networks = 2 if train == "cps" else 1
    assert learner.score("gradients", rows).shape == (2, networks * 2 * 8 * 9)
    assert learner.score("class_features", rows).shape == (2, networks * 2 * 8)
    assert learner.score("features", rows).shape == (2, networks * 8)


def answers(learner: SegmentLearner, model: Path) -> Any:
    learner.load(model)
    return np.concatenate([batch.probs for batch in learner.predict(np.arange(6), samples=9)])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "networks"), [("mean_teacher", 1), ("cps", 2)])
def test_members_trained_apart_answer_in_the_place_of_passes(tmp_path: Path, name: str, networks: int) -> None:
    train = {"name": name, "steps": 4, "min_steps": 4, "batch": 4}
    changes: dict[str, Any] = {"query": "bald", "task": {**TINY["task"], "reduction": "mean"}}
    alone = play(tmp_path / "alone", train=train, **changes)
    project = play(tmp_path / "run", train={**train, "members": 2}, **changes)
    setup, model = experiment(project), project.run.round_path(0) / "model.safetensors"
    assert isinstance(setup.learner, SegmentLearner)
    outputs = answers(setup.learner, model)
    assert outputs.shape == (6, 2 * networks, 2, 16, 16)
    single = experiment(alone).learner
    assert isinstance(single, SegmentLearner)
    single.load(alone.run.round_path(0) / "model.safetensors")
    (first,) = single.predict(np.arange(6))
    np.testing.assert_array_equal(outputs[:, :networks], first.probs)  # the first training is that without a committee
    for member in range(2 * networks):
        assert not np.allclose(outputs[:, member], outputs[:, member - 1])
    expected = scores.bald(outputs).mean(axis=(1, 2))
    np.testing.assert_allclose(setup.learner.score("bald", np.arange(6)), expected, atol=1e-6)
    assert setup.learner.score("gradients", np.arange(6)).shape == (6, 2 * networks * 2 * 8 * 9)
    assert [r.metrics["cost/images"] for r in project.run.rounds()] == [3, 5]


@pytest.mark.slow
def test_snapshots_of_masks_and_their_start_from_the_last_round(tmp_path: Path) -> None:
    train = {"name": "supervised", "steps": 6, "min_steps": 6, "batch": 4, "members": 2, "cycles": 2, "start": "last"}
    project = play(tmp_path / "run", train=train, query="vote_entropy")
    learner = experiment(project).learner
    assert isinstance(learner, SegmentLearner)
    outputs = [answers(learner, project.run.round_path(r) / "model.safetensors") for r in (0, 1)]
    assert [s.shape[1] for s in outputs] == [4, 4]
    learner.save(tmp_path / "again.safetensors")
    np.testing.assert_array_equal(answers(learner, tmp_path / "again.safetensors"), outputs[1])
    for member, network in ((0, 0), (1, 3)):  # the end of each training is what it goes on from
        fresh = learner._new_network(0)
        warm_start(fresh, member, learner.schedule, project.run.round_path(0))
        images, _ = learner.inputs.plain(np.arange(6))
        with torch.no_grad():
            np.testing.assert_allclose(fresh.eval()(images).softmax(dim=1).numpy(), outputs[0][:, network], atol=1e-6)


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
@pytest.mark.parametrize(
    ("fit", "changes"),
    [
        ("val", {}),
        ("cross", {}),
        ("cross", {"oracle": {"name": "simulated", "answer": "boxes"}}),
        ("cross", {"unit": 8}),
    ],
)
def test_pixels_are_calibrated_by_those_that_no_training_saw(tmp_path: Path, fit: str, changes: Any) -> None:
    task = {**TINY["task"], "reduction": "mean", "region": {"name": "windows", "side": 8}}
    changes = {"task": task} if "unit" in changes else changes
    project = play(tmp_path / "run", calibration={"fit": fit, "folds": 2}, loop={"budgets": [4]}, **changes)
    setup, store = experiment(project), project.run.labels(N_POOL + N_VAL + N_TEST)
    learner = setup.learner
    assert isinstance(learner, SegmentLearner) and isinstance(setup.task.holdout, MaskHoldout)
    before = answers(learner, project.run.round_path(0) / "model.safetensors")
    outputs, truth = setup.task.holdout.answers(learner, "val")
    if fit == "cross":
        outputs, truth = learner.held_out(store, round=0, seed=0, folds=2)
        np.testing.assert_array_equal(np.concatenate([b.probs for b in learner.predict(np.arange(6), 9)]), before)
    masks = learner.masks(store)
    labeled = [int((label_map != IGNORE).sum()) for label_map in masks.maps] if fit == "cross" else [16 * 16] * N_VAL
    assert outputs.shape == (len(truth), 2) and len(truth) == sum(min(count, FEW) for count in labeled)
    with np.load(project.run.round_path(0) / "calibration.npz") as archive:  # of so few images, a temperature
        np.testing.assert_allclose(archive["scale"], calibrate(logs(outputs), truth, "temperature").scale)
        calibration = Calibration(archive["scale"], archive["bias"])
    metrics = project.run.rounds()[0].metrics
    assert ("val/ece_calibrated" in metrics) == (fit == "cross")
    rows = project.dataset.manifest.indices("test")
    probs = np.concatenate([np.moveaxis(b.probs[:, 0], 1, -1) for b in learner.predict(rows)]).reshape(-1, 2)
    maps = setup.task.holdout.truth(rows).ravel().astype(np.int64)
    for name, values in (("", probs), ("_calibrated", calibration.probs(logs(probs)))):
        expected = classification(values, maps)
        for metric in ("nll", "ece", "classwise_ece", "brier"):
            assert metrics[f"test/{metric}{name}"] == pytest.approx(expected[metric], rel=1e-4)


@pytest.mark.slow
def test_held_out_masks_are_answered_by_networks_that_never_saw_them(tmp_path: Path) -> None:
    """Against a slow refit without them, whose unlabeled images they are not among."""
    project = play(tmp_path / "run", loop={"budgets": [5]})
    learner, store = experiment(project).learner, project.run.labels(N_POOL + N_VAL + N_TEST)
    assert isinstance(learner, SegmentLearner)
    outputs, truth = learner.held_out(store, round=0, seed=0, folds=5)
    seed, rows = derive_seed(0, "fit", 0), np.sort(store.labeled)
    order = derive(seed, "folds").permutation(5)
    for k in range(5):
        (out,) = (int(rows[i]) for place, i in enumerate(order) if place % 5 == k)
        others = LabelStore(store.n, tuple(a for a in store.annotations if a.index != out))
        apart = copy.copy(learner)
        apart.pool = np.setdiff1d(learner.pool, [out])
        masks = apart.masks(others)
        teacher, _ = apart._learn(
            others, masks, apart._open(others), None, derive_seed(seed, "fold", k), lambda *_: None
        )
        assert apart.networks is not None and teacher is apart.networks.teacher
        (batch,) = apart.predict(np.asarray([out]))
        probs, classes = sample_pixels(batch, learner.masks(store).batch(np.asarray([out])))
        np.testing.assert_allclose(outputs[k * FEW : (k + 1) * FEW], probs, atol=1e-6)
        np.testing.assert_array_equal(truth[k * FEW : (k + 1) * FEW], classes)


WINDOWS = {**TINY["task"], "reduction": "mean", "region": {"name": "windows", "side": 8}}
SUPERPIXELS = {**WINDOWS, "region": {"name": "superpixels", "count": 4}}


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
@pytest.mark.parametrize("train", ["supervised", "cps"])
def test_boxes_are_all_that_is_known(tmp_path: Path, train: str) -> None:
    changes = {"oracle": {"name": "simulated", "answer": "boxes"}, "train": {"name": train, "steps": 3, "batch": 4}}
    project = play(tmp_path / "run", **changes)
    setup, labels = experiment(project), project.run.labels(N_POOL + N_VAL + N_TEST)
    assert isinstance(setup.learner, SegmentLearner) and isinstance(setup.task.holdout, MaskHoldout)
    masks = setup.learner.masks(labels)
    whole = setup.task.holdout.truth(masks.samples)
    box_lists = [boxes(m) for m in whole]
    for labeled, truth, box_list, i in zip(masks.maps, whole, box_lists, masks.samples.tolist(), strict=True):
        assert not labeled[labeled != IGNORE].any() and (labeled[truth > 0] == IGNORE).all()
        np.testing.assert_array_equal(read_boxes(project.run.path / str(labels.current[i].target)), box_list)
    assert {a.kind for a in labels.annotations} == {"box"}
    metrics = project.run.rounds()[-1].metrics
    assert metrics["cost/clicks"] == labels.cost == sum(max(2 * len(box_list), 1) for box_list in box_lists)
    assert metrics["cost/foreground"] == metrics["cost/boundary"] == 0
    assert metrics["cost/pixels"] == (masks.maps != IGNORE).sum()


@pytest.mark.slow
def test_a_batch_shows_the_boxes_of_its_images_where_its_views_show_them(tmp_path: Path) -> None:
    project = play(tmp_path / "run", oracle={"name": "simulated", "answer": "boxes"}, loop={"budgets": [6]})
    learner, labels = experiment(project).learner, project.run.labels(N_POOL + N_VAL + N_TEST)
    assert isinstance(learner, SegmentLearner)
    masks = learner.masks(labels)
    box_lists = {i: read_boxes(project.run.path / str(labels.current[i].target)) for i in masks.samples.tolist()}
    batch, again = (
        learner.inputs.labeled(masks.samples, masks, torch.Generator().manual_seed(0), False, box_source)
        for box_source in (box_lists, None)
    )
    assert torch.equal(batch.x, again.x) and torch.equal(batch.y, again.y)
    lines = batch.boxes
    assert lines is not None and 0 < lines.count <= sum(int((b[:, 3:] - b[:, 1:3]).sum()) for b in box_lists.values())
    assert (batch.y.flatten(1)[lines.image, lines.pixel] == IGNORE).all()  # lines lie inside of boxes


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["points", "scribbles"])
def test_points_and_scribbles_are_all_that_is_known(tmp_path: Path, answer: str) -> None:
    project = play(tmp_path / "run", oracle={"name": "simulated", "answer": answer})
    setup, labels = experiment(project), project.run.labels(N_POOL + N_VAL + N_TEST)
    assert isinstance(setup.learner, SegmentLearner) and isinstance(setup.task.holdout, MaskHoldout)
    masks = setup.learner.masks(labels)
    whole = setup.task.holdout.truth(masks.samples)
    labeled = masks.maps != IGNORE
    assert 0 < labeled.sum() < 0.3 * labeled.size and (masks.maps[labeled] == whole[labeled]).all()
    assert {a.kind for a in labels.annotations} == {answer.removesuffix("s")}
    metrics = project.run.rounds()[-1].metrics
    assert metrics["cost/clicks"] == labels.cost and metrics["cost/pixels"] == labeled.sum()
    if answer == "points":
        assert labels.cost == labeled.sum()  # a click each


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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["entropy", "foreground"])
def test_the_score_of_a_sample_is_that_of_its_pixels_reduced(tmp_path: Path, name: str) -> None:
    project = play(tmp_path / "run", task={**TINY["task"], "reduction": "sum"})
    learner = experiment(project).learner
    assert isinstance(learner, SegmentLearner)
    learner.load(project.run.round_path(1) / "model.safetensors")
    rows = np.asarray([7, 2, 11])
    slow = []
    for batch in learner.predict(rows):
        for probs_SCHW in batch.probs.astype(np.float64):
            values = getattr(scores, name)(np.moveaxis(probs_SCHW, (2, 3), (0, 1)).reshape(-1, *probs_SCHW.shape[:2]))
            slow.append(values.mean() if name == "foreground" else values.sum())
    np.testing.assert_allclose(learner.score(name, rows), slow, rtol=1e-4)


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


@pytest.mark.slow
def test_side_heads_learn_and_their_disagreement_is_asked(tmp_path: Path) -> None:
    task = {**TINY["task"], "side_heads": 2}
    project = play(
        tmp_path / "run", task=task, train={"name": "deep_supervision", "steps": 4, "batch": 4}, query="dsal"
    )
    setup, run = experiment(project), project.run
    assert [row.labeled for row in run.rounds()] == [3, 5]
    assert isinstance(setup.learner, SegmentLearner)
    setup.learner.load(run.round_path(0) / "model.safetensors")
    network, pool = setup.learner._members()[0], np.arange(4)
    images, _ = setup.learner.inputs.plain(pool)
    with torch.no_grad():
        main, *sides = network.outputs(images)
        torch.testing.assert_close(main, network(images))
        assert [side.shape for side in sides] == [main.shape] * 2
        moved = [p for p in network.sides.parameters() if p.ndim > 1]
    assert len(moved) == 2
    fresh = project.task.build(project.setting, project.setting.blank(3), 2, seed=0)  # type: ignore[attr-defined]
    assert [p.shape for p in fresh.sides.parameters() if p.ndim > 1] == [p.shape for p in moved]
    values = setup.learner.score("side_disagreement", pool)
    assert values.shape == (4,) and (values >= 0).all() and (values < 1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": "dsal"}, "task.side_heads: expected 1 or more, for dsal"),
        ({"train": "deep_supervision"}, "task.side_heads: expected 1 or more, for deep_supervision"),
        ({"task": {**TINY["task"], "side_heads": 2}}, "train: expected deep_supervision, which trains the side heads"),
        (
            {"task": {"name": "segmentation", "network": "fpn", "side_heads": 1}, "train": "deep_supervision"},
            "task.side_heads: expected a network whose decoder is a row of blocks",
        ),
        (
            {"task": {**TINY["task"], "side_heads": 9}, "train": "deep_supervision"},
            "task.side_heads: expected at most the 4 earlier blocks of unet, got 9",
        ),
        ({"learner": "frozen"}, "learner: expected finetune"),
        (
            {"oracle": {"name": "worklist", "answer": "boxes"}, "task": WINDOWS},
            "oracle.answer: expected mask or dominant, where regions",
        ),
        ({"oracle": {"name": "simulated", "answer": "point"}}, "oracle.answer.*points"),
        (
            {"oracle": {"name": "simulated", "answer": "points"}, "task": WINDOWS},
            "oracle.answer: expected mask",
        ),
        ({"oracle": {"name": "simulated", "answer": "dominant"}}, "task.region: expected regions of images"),
        ({"oracle": {"name": "simulated", "answr": "points"}}, "answer"),
        ({"query": "badge", "task": WINDOWS}, "query \\(badge\\): expected"),
        ({"query": "egl"}, "query \\(egl\\): expected"),
        ({"query": "alfamix"}, "query \\(alfamix\\): expected"),
        ({"query": "batchbald"}, "query \\(batchbald\\): expected"),
        ({"query": "tta_entropy"}, "query \\(tta_entropy\\): expected"),
        (
            {"query": "learning_loss"},
            "query \\(learning_loss\\): expected a strategy for segmentation, got label of sample",
        ),
        ({"train": "flexmatch"}, "train"),
        ({"train": {"name": "supervised", "record": {"witness": "teacher"}}}, "train.record.witness: expected"),
        ({"train": {"name": "supervised", "record": {"within": "class"}}}, "train.record.within: expected"),
        ({"train": {"name": "supervised", "prior": 0.5}}, "train.prior: expected"),
        ({"calibration": {"fit": "val", "queries": True}}, "calibration.queries: expected false"),
        ({"loop": {"budgets": [3, 2], "unit": "pixel"}}, "loop.unit: expected .*pixels"),
        ({"task": {"name": "segmentation", "network": "unetz"}}, "unet"),
        ({"task": {"name": "segmentation", "reduction": "boundry"}}, "boundary"),
        ({"task": {"name": "segmentation", "region": {"name": "window"}}}, "windows"),
        (
            {"task": {"name": "segmentation", "region": {"name": "windows", "side": 17}}},
            "region.side: expected at most the 16 pixels",
        ),
        ({"task": {**WINDOWS, "reduction": "boundary"}}, "task.reduction: expected mean"),
        ({"encoder": {"name": "test_vit"}}, "task.network: expected a network that can take test_vit"),
        ({"data": {"source": "phantom", "size": 16, "image_size": 16}}, "data: expected masks"),
        ({"task": "classification", "train": "mean_teacher"}, "task: expected segmentation"),
        (
            {"task": "classification", "train": "mean_teacher", "loop": {"budgets": [3, 9], "unit": "pixels"}},
            "loop.unit: expected labels in classification, got pixels",
        ),
    ],
)
def test_what_segmentation_has_not_is_refused_before_anything_runs(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises((InputError, UnknownName), match=message):
        make_project(tmp_path / "run", **change)


def test_a_class_that_no_mask_shows_is_refused(tmp_path: Path) -> None:
    maps = np.zeros((2, 8, 8), dtype=np.uint8)
    store = MaskStore.build(np.arange(2), lambda i: maps[i], ["a", "b"], ["a", "b"], size=8, cache=tmp_path)
    with pytest.raises(InputError, match="class 1 \\(cell\\) in the masks, got none"):
        store.check_classes(("background", "cell"))


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
