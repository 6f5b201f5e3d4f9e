"""Whole runs of queries with the training that their papers pair them with: masks, classes, several labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_al.assemble import experiment
from hybrid_al.components import check_components
from hybrid_al.errors import InputError
from hybrid_al.learners.segment import SegmentLearner
from hybrid_al.recipe import parse
from hybrid_al.scores.samples import summed_variance
from tests.helpers.played import play

MASKS: dict[str, Any] = {
    "name": "tiny",
    "data": {
        "source": "phantom",
        "masks": True,
        "n_pool": 10,
        "n_val": 2,
        "n_test": 2,
        "classes": 2,
        "size": 16,
        "image_size": 16,
    },
    "encoder": {"name": "test_resnet"},
    "task": {"name": "segmentation", "network": {"name": "unet", "decoder_channels": [8, 8, 8, 8, 8]}},
    "pretrain": "none",
    "cold_start": "random",
    "train": {"name": "supervised", "steps": 3, "min_steps": 3, "batch": 3},
    "loop": {"budgets": [3, 2]},
    "track": {"wandb": {"mode": "off"}},
}


def masks(task: dict[str, Any], train: dict[str, Any], query: Any) -> dict[str, Any]:
    return {**MASKS, "task": {**MASKS["task"], **task}, "train": {**MASKS["train"], **train}, "query": query}


PLAYED = {
    "quality": masks({"quality_head": 1.0}, {"name": "pld"}, "quality"),
    "pld": masks({}, {"name": "pld"}, "pld"),
    "svgd": masks({}, {"name": "svgd", "particles": 2, "repeat": 2.0}, "vote_entropy"),
    "hiasa": masks(
        {"reduction": "balanced"}, {}, {"name": "hybrid", "score": {"variance": 1.0}, "batch": {"name": "topk"}}
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAYED)
def test_masks_are_asked_and_learned_end_to_end(name: str, tmp_path: Path) -> None:
    project = play(tmp_path / "run", PLAYED[name])
    setup, run = experiment(project), project.run
    assert [row.labeled for row in run.rounds()] == [3, 5]
    learner = setup.learner
    assert isinstance(learner, SegmentLearner)
    learner.load(run.round_path(0) / "model.safetensors")
    asked = run.labels(len(setup.manifest)).as_of(0).labeled
    rest, picks = np.setdiff1d(np.arange(10), asked), [setup.manifest.position[i] for i in run.rounds()[1].query]
    score = {"quality": "predicted_error", "pld": "student_divergence", "svgd": "vote_entropy"}.get(name)
    if score is not None:
        values = learner.score(score, rest)
    else:  # variance by structure: of each predicted class the mean over its pixels, then over the classes
        probs = np.concatenate([batch.probs for batch in learner.predict(rest, samples=25)])
        values = np.asarray(
            [
                np.mean([variance[label == c].mean() for c in np.unique(label)])
                for variance, label in zip(summed_variance(probs), probs.mean(axis=1).argmax(axis=1), strict=True)
            ]
        )
        np.testing.assert_allclose(learner.score("summed_variance", rest, samples=25), values, rtol=1e-3, atol=1e-9)
    assert np.isfinite(values).all()
    assert values[np.isin(rest, picks)].min() >= values[~np.isin(rest, picks)].max() - 1e-9


@pytest.mark.slow
def test_several_labels_are_asked_by_their_evidence(tmp_path: Path) -> None:
    recipe = {
        **{key: MASKS[key] for key in ("name", "encoder", "pretrain", "cold_start", "loop", "track")},
        "data": {"source": "phantom", "multilabel": True, "n_pool": 14, "n_val": 6, "n_test": 6, "size": 16}
        | {"image_size": 16},
        "task": {"name": "multilabel", "reduction": "max"},
        "learner": "frozen",
        "train": {
            "name": "evidential",
            "unlabeled": "mean_teacher",
            "steps": 4,
            "min_steps": 4,
            "batch": 4,
            "easy": 0.5,
        },
        "query": "evidential",
    }
    run = play(tmp_path / "run", recipe).run
    assert [row.labeled for row in run.rounds()] == [3, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": "quality"}, "task.quality_head: expected a weight above 0"),
        (masks({"quality_head": 1.0}, {"name": "svgd"}, "random"), "train: expected an objective of one network"),
        (
            masks({"quality_head": 1.0, "region": {"name": "windows", "side": 8}}, {}, "quality"),
            "task.region: expected whole images",
        ),
        ({"train": {"name": "supervised", "easy": 0.5}}, "train.easy: expected 1.0, in segmentation"),
        (
            {
                "task": "multilabel",
                "data": {**MASKS["data"], "masks": False, "multilabel": True},
                "query": "evidential",
            },
            "query \\(evidential\\): expected train: evidential",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_before_data_is_read(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_components(parse({**MASKS, **change}))
