"""Boxes, points and scribbles as answers: they are all that training knows, and cost what they cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hybrid_al.assemble import experiment
from hybrid_al.core.types import IGNORE
from hybrid_al.data.answers import read_boxes
from hybrid_al.data.boxes import boxes
from hybrid_al.learners.segment import SegmentLearner
from hybrid_al.metrics.holdout import MaskHoldout
from tests.helpers.mask_runs import N_POOL, N_TEST, N_VAL, play


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
