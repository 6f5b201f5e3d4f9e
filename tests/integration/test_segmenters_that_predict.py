"""What the networks of a round of segmentation say: committees, snapshots, side heads, and scores of samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hybrid_al.assemble import experiment
from hybrid_al.learners.committee import warm_start
from hybrid_al.learners.segment import SegmentLearner
from hybrid_al.scores import samples as scores
from tests.helpers.mask_runs import TINY, answers, play


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
def test_side_heads_learn_and_their_disagreement_is_asked(tmp_path: Path) -> None:
    task = {**TINY["task"], "side_heads": 2}
    project = play(
        tmp_path / "run", task=task, train={"name": "deep_supervision", "steps": 4, "batch": 4}, query="dsal"
    )
    setup, run = experiment(project), project.run
    assert [row.labeled for row in run.rounds()] == [3, 5]
    assert isinstance(setup.learner, SegmentLearner)
    setup.learner.load(run.round_path(0) / "model.safetensors")
    network, pool = setup.learner._scores().members[0], np.arange(4)
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
