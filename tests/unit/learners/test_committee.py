"""Committees: deep ensembles and snapshots of one training, behind the axis of passes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hybrid_al.train as train_module
from hybrid_al.core.rng import derive_seed
from hybrid_al.errors import InputError
from hybrid_al.learners.network import NetworkLearner
from hybrid_al.models.classifier import Classifier
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import STRATEGIES
from hybrid_al.scores.samples import bald, entropy, vote_entropy
from hybrid_al.semi import ema
from hybrid_al.train import Fit, Schedule, Sets, fit
from tests.unit.test_train import SCHEDULE, N, inputs, labels, learner, no_log, sets

LABELED = [0, 1, 2, 3, 4, 5]


def fit_committee(**settings: object) -> NetworkLearner:
    committee = learner("supervised", **settings)
    committee.fit(labels(LABELED), round=2, seed=7, log=no_log)
    return committee


def probs_of(committee: NetworkLearner, **passes: int) -> np.ndarray:
    return np.concatenate([batch.probs for batch in committee.predict(np.arange(N), **passes)])


def test_each_member_is_trained_alone_and_the_first_as_without_a_committee() -> None:
    committee = fit_committee(members=3)
    alone = probs_of(fit_committee())
    probs = probs_of(committee)
    assert probs.shape == (N, 3, 3)
    np.testing.assert_array_equal(probs[:, 0], alone[:, 0])
    seed = derive_seed(7, "fit", 2)
    for member in (1, 2):
        member_seed = derive_seed(seed, "member", member)
        net = fit(
            committee.make(member_seed),
            committee.objective,
            inputs(),
            sets(6),
            committee.schedule,
            seed=member_seed,
            log=no_log,
        ).teacher
        expected = net(torch.from_numpy(inputs().plain_ND)).softmax(dim=1).detach().numpy()
        np.testing.assert_allclose(probs[:, member], expected, atol=1e-6)
    assert not np.allclose(probs[:, 1], probs[:, 2])


def test_snapshots_are_the_teacher_at_the_ends_of_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    teachers, rates = list[torch.nn.Module](), list[float]()
    make_average, make_optimizer = ema.averaging, train_module._optimizer

    def averaging(teacher: torch.nn.Module, student: torch.nn.Module, *, decay: float) -> Callable[[int], None]:
        average = make_average(teacher, student, decay=decay)

        def update(step: int) -> None:
            average(step)
            teachers.append(copy.deepcopy(teacher))
            rates.append(optimizers[-1].param_groups[0]["lr"])

        return update

    optimizers = list[torch.optim.Optimizer]()

    def note_optimizer(*arguments: object) -> torch.optim.Optimizer:
        optimizers.append(make_optimizer(*arguments))  # type: ignore[arg-type]
        return optimizers[-1]

    monkeypatch.setattr(train_module, "averaging", averaging)
    monkeypatch.setattr(train_module, "_optimizer", note_optimizer)
    probs = probs_of(fit_committee(cycles=3, steps=20, min_steps=20))
    assert len(teachers) == 20 and probs.shape == (N, 3, 3)
    assert rates[0] == 0.05 and min(rates[7], rates[14]) > 0.048
    ends = [t for t in range(19) if rates[t + 1] > rates[t]]
    assert ends == [6, 13]  # 20 steps in cycles of seven, seven and six
    for member, at in ((1, 6), (2, 13), (0, 19)):
        expected = teachers[at](torch.from_numpy(inputs().plain_ND)).softmax(dim=1).detach().numpy()
        np.testing.assert_allclose(probs[:, member], expected, atol=1e-6)


def test_predictions_of_members_replace_passes() -> None:
    committee = fit_committee(members=2, cycles=2)
    probs = probs_of(committee)
    assert probs.shape == (N, 4, 3)
    np.testing.assert_array_equal(probs_of(committee, samples=25), probs)
    assert probs_of(committee, views=3).shape == (N, 12, 3)
    state = QueryState(3, labels(LABELED), np.arange(6, 50), np.zeros(N, dtype=np.int64), predictor=committee.predict)
    for name, score in (("bald", bald), ("vote_entropy", vote_entropy), ("entropy", entropy)):
        query = STRATEGIES[name]().select(state, 5, np.random.default_rng(0))
        assert query.scores is not None
        np.testing.assert_allclose(query.scores.values, score(probs[6:50]), atol=1e-12)


@pytest.mark.parametrize("settings", [{"members": 3}, {"cycles": 3}, {"members": 2, "cycles": 2}])
def test_a_committee_is_saved_and_read_back(settings: dict[str, int], tmp_path: Path) -> None:
    committee = fit_committee(**settings)
    committee.save(tmp_path / "model.safetensors")
    again = learner("supervised", **settings)
    again.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(probs_of(again), probs_of(committee))
    with pytest.raises(InputError, match=r"model\.safetensors"):
        learner("supervised", members=9).load(tmp_path / "model.safetensors")


def test_each_member_starts_from_its_last_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"members": 2, "cycles": 2, "start": "last"}
    committee = fit_committee(**settings)
    committee.save(tmp_path / "model.safetensors")
    ends = probs_of(committee)[:, [0, 3]]  # the members at the end of their training
    starts = list[np.ndarray]()
    inner = ema.make_teacher

    def make_teacher(student: torch.nn.Module) -> torch.nn.Module:
        start = copy.deepcopy(student).eval()
        starts.append(start(torch.from_numpy(inputs().plain_ND)).softmax(dim=1).detach().numpy())
        return inner(student)

    monkeypatch.setattr(train_module, "make_teacher", make_teacher)
    committee.fit(labels(LABELED), round=3, seed=7, log=no_log, previous=tmp_path)
    np.testing.assert_allclose(np.stack(starts, axis=1), ends, atol=1e-6)


def test_bootstraps_give_each_member_labels_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, train = list[list[int]](), NetworkLearner._train

    def watched(self: NetworkLearner, network: Classifier, sets: Sets, *args: Any, **options: Any) -> Fit:
        drawn.append(sets.labeled.tolist())
        return train(self, network, sets, *args, **options)

    monkeypatch.setattr(NetworkLearner, "_train", watched)
    for _ in range(2):
        fit_committee(members=3, bootstrap=True)
    assert drawn[:3] == drawn[3:] and len({tuple(rows) for rows in drawn}) == 3
    assert all(len(rows) == len(LABELED) and set(rows) <= set(LABELED) for rows in drawn)


def test_impossible_committees_are_refused() -> None:
    for settings, words in (
        ({"members": 0}, r"Schedule\.members: expected a whole number of 1 to 1000"),
        ({"cycles": 0}, r"Schedule\.cycles: expected a whole number of 1 to 1000"),
        ({"cycles": 31}, r"Schedule\.cycles: expected a step each at least, got 31 cycles in 30 steps"),
    ):
        with pytest.raises(InputError, match=words):
            Schedule(**{**SCHEDULE.__dict__, **settings})
