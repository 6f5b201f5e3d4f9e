"""Pixels are calibrated by images that no training saw."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_al.assemble import experiment
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.rng import derive, derive_seed
from hybrid_al.core.types import IGNORE
from hybrid_al.learners.segment import SegmentLearner
from hybrid_al.metrics.calibration import Calibration, calibrate, logs
from hybrid_al.metrics.classification import classification
from hybrid_al.metrics.holdout import MaskHoldout
from hybrid_al.metrics.pixel_calibration import FEW, sample_pixels
from tests.helpers.mask_runs import N_POOL, N_TEST, N_VAL, TINY, answers, play


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
