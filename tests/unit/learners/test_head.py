"""The solved head in a learner: where training starts, what its penalty keeps, and the baseline `linear`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation, FloatArray, IntArray
from hybrid_al.learners.frozen import Frozen
from hybrid_al.learners.head import bootstrap
from hybrid_al.learners.linear import Linear
from hybrid_al.learners.network import NetworkLearner
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import STRATEGIES
from hybrid_al.query.usage import DISTANCE, relative_distance
from hybrid_al.semi import OBJECTIVES
from hybrid_al.semi.mean_teacher import MeanTeacher
from hybrid_al.train import Schedule
from tests.unit.learners.test_frozen_views import foundation

SCHEDULE = Schedule(steps=40, min_steps=40, lr_head=3e-4, weight_decay=0.0, ratio=1)


def answers(rows: IntArray, classes: int = 5) -> LabelStore:
    return LabelStore(40).add(Annotation(int(i), "class", int(i) % classes, "t", 0) for i in rows)


def weights(learner: NetworkLearner) -> FloatArray:
    assert learner.networks is not None
    head = learner.networks.teacher.head
    return np.concatenate([head.weight.detach().numpy().ravel(), head.bias.detach().numpy()])


def test_linear_is_the_logistic_regression_of_scikit_learn(tmp_path: Path) -> None:
    base, rows = foundation(tmp_path), np.arange(0, 24)
    learner = Linear().build(base, OBJECTIVES["mean_teacher"](), Schedule())
    result = learner.fit(answers(rows), round=0, seed=3, log=lambda *_: None)
    pool = np.asarray(base.embeddings.vectors)[base.pool]
    features = (np.asarray(base.embeddings.vectors, dtype=np.float64) - pool.mean(axis=0)) / np.maximum(
        pool.std(axis=0), 1e-6
    )
    reference = LogisticRegression(C=1e-3, class_weight="balanced", tol=1e-8).fit(features[rows], rows % 5)
    probs = np.concatenate([batch.probs[:, 0] for batch in learner.predict(np.arange(40))])
    assert np.allclose(probs, reference.predict_proba(features), atol=1e-4)
    assert not list(base.cache.glob("views-*.npy"))  # no view is embedded
    assert result.consistency is not None and not result.consistency.seen.any()


def test_supervised_stays_at_the_solved_head_and_no_seed_changes_it(tmp_path: Path) -> None:
    base = foundation(tmp_path)
    found = []
    for seed in (0, 1):
        learner = Frozen(strong_views=2).build(base, OBJECTIVES["supervised"](), SCHEDULE)
        result = learner.fit(answers(np.arange(20)), round=0, seed=seed, log=lambda *_: None)
        found.append(weights(learner))
        assert result.consistency is not None
        assert (result.consistency.seen[20:30] >= 2).all()  # the rest of the pool is looked at all the same
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize("objective", ["mean_teacher", "fixmatch", "uda", "mixmatch"])
def test_an_objective_starts_at_the_solved_head_and_its_penalty_keeps_it_near(objective: str, tmp_path: Path) -> None:
    base = foundation(tmp_path)
    labels = answers(np.arange(20))
    solved = Frozen(strong_views=2).build(base, OBJECTIVES["supervised"](), SCHEDULE)
    solved.fit(labels, round=0, seed=0, log=lambda *_: None)
    start = weights(solved)
    trained = Frozen(strong_views=2).build(base, OBJECTIVES[objective](), SCHEDULE)
    trained.fit(labels, round=0, seed=0, log=lambda *_: None)
    moved = np.linalg.norm(weights(trained) - start) / np.linalg.norm(start)
    assert 0 < moved < 0.5


def test_without_a_weight_of_the_unlabeled_term_training_stays_where_it_was_solved(tmp_path: Path) -> None:
    """The penalty of the loss is that of the solution: many steps on the labels alone do not leave it."""
    base = foundation(tmp_path)
    labels = answers(np.arange(20))
    solved = Frozen(strong_views=2).build(base, OBJECTIVES["supervised"](), SCHEDULE)
    solved.fit(labels, round=0, seed=0, log=lambda *_: None)
    objective = MeanTeacher(weight=0.0)
    trained = Frozen(strong_views=2, dropout=0.0).build(
        base, objective, replace(SCHEDULE, steps=300, min_steps=300, batch=200)
    )
    trained.fit(labels, round=0, seed=0, log=lambda *_: None)
    assert np.linalg.norm(weights(trained) - weights(solved)) < 0.03 * np.linalg.norm(weights(solved))


def test_members_of_a_committee_differ_by_their_bootstrap(tmp_path: Path) -> None:
    base = foundation(tmp_path)
    learner = Frozen(strong_views=2).build(base, OBJECTIVES["supervised"](), replace(SCHEDULE, members=3))
    learner.fit(answers(np.arange(20)), round=0, seed=0, log=lambda *_: None)
    assert learner.networks is not None and len(learner.networks.members) == 3
    first, second, third = (member.head.weight for member in learner.networks.members)
    assert not torch.equal(first, second) and not torch.equal(second, third)


def test_a_solved_head_with_cycles_survives_the_disk(tmp_path: Path) -> None:
    """It takes no steps, so every cycle ends in the same network; a file holds as many as the schedule says."""
    base, schedule = foundation(tmp_path), replace(SCHEDULE, cycles=2)
    one, other = (Frozen(strong_views=2).build(base, OBJECTIVES["supervised"](), schedule) for _ in range(2))
    one.fit(answers(np.arange(20)), round=0, seed=0, log=lambda *_: None)
    one.save(tmp_path / "model.safetensors")
    other.load(tmp_path / "model.safetensors")
    assert np.array_equal(weights(one), weights(other))
    assert one.networks is not None and len(one.networks.members) == 2


def test_a_bootstrap_keeps_the_classes() -> None:
    targets = np.asarray([0, 0, 0, 1, 2, 2])
    rows = bootstrap(targets, np.random.default_rng(0))
    assert np.array_equal(targets[rows], targets)
    assert rows[3] == 3


def test_labels_of_one_class_train_what_can_be_trained_and_the_next_query_goes_far(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = foundation(tmp_path)
    learner = Frozen(strong_views=2).build(base, OBJECTIVES["mean_teacher"](), SCHEDULE)
    store = LabelStore(40).add(Annotation(i, "class", 2, "t", 0) for i in range(10))
    result = learner.fit(store, round=0, seed=0, log=lambda *_: None)
    assert "round 0: all 10 labels say the same" in capsys.readouterr().err
    probs = np.concatenate([batch.probs[:, 0] for batch in learner.predict(np.arange(40))])
    assert np.isfinite(probs).all()
    assert (probs.argmax(axis=1) == 2).all()

    state = QueryState(
        round=1,
        labels=store,
        candidates=np.arange(10, 30),
        groups=np.arange(40),
        embeddings=base.embeddings,
        predictor=learner.predict,
        consistency=result.consistency,
    )
    distances = [
        relative_distance(base.embeddings, store.labeled, state.candidates, picks, np.random.default_rng(0))[DISTANCE]
        for picks in (STRATEGIES["hybrid"]().select(state, 3, np.random.default_rng(s)).indices for s in range(10))
    ]
    assert np.mean(distances) > 1
