"""The signals of a round: calibration and its place, agreement of two models, expected gain, and where a loop ends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from hybrid_al import loop
from hybrid_al.core.embeddings import Embeddings
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.learner import FitResult, Log
from hybrid_al.core.manifest import Manifest, Split
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import FloatArray, IntArray, Need, PredictionBatch, Query, Round
from hybrid_al.errors import InputError, NonFiniteLoss
from hybrid_al.experiment import Experiment, OpenTask
from hybrid_al.metrics.calibration import CalibrationSettings, calibrate, logs
from hybrid_al.metrics.classification import classification
from hybrid_al.metrics.holdout import ClassHoldout
from hybrid_al.oracles.simulated import SimulatedOracle
from hybrid_al.query.base import QueryState
from hybrid_al.query.spending import LabelBudgets
from hybrid_al.query.stopping import AGREEMENT, GAIN, Stopping, expected_gain, kappa, signals, stop_set
from hybrid_al.query.strategies.random import Random
from hybrid_al.regions.base import Whole
from hybrid_al.track.base import Trackers

N = 60
TRUTH = np.arange(N) % 2


@dataclass
class Sure:
    """A learner that is right three times in four and as sure as 0.98; `changed` samples turn over each round."""

    changed: int = 0
    round: int = -1
    held: list[tuple[int, int]] = field(default_factory=list)

    def fit(self, labels: LabelStore, *, round: int, seed: int, log: Log, previous: Path | None = None) -> FitResult:
        self.round = round
        return FitResult({})

    def _probs(self, indices: IntArray) -> FloatArray:
        flipped = (indices % 4 == 0) ^ (indices < self.changed * self.round)
        yes = np.where(TRUTH[indices] == 1, 0.98, 0.02)
        yes = np.where(flipped, 1 - yes, yes)
        return np.stack([1 - yes, yes], axis=1)

    def predict(self, indices: IntArray, samples: int = 1, views: int = 1) -> Iterator[PredictionBatch]:
        yield PredictionBatch(indices, self._probs(indices)[:, None].repeat(samples * views, axis=1))

    def held_out(self, labels: LabelStore, *, round: int, seed: int, folds: int) -> tuple[FloatArray, IntArray]:
        self.held.append((round, folds))
        return self._probs(labels.labeled), labels.class_targets()

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(self.round))

    def load(self, path: Path) -> None:
        self.round = int(path.read_text())


@dataclass(frozen=True)
class Looking:
    """Random picks by a strategy that asks for probabilities and keeps what it saw."""

    seen: list[FloatArray]
    needs: frozenset[Need] = frozenset({"predictions"})

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        self.seen.append(state.probs(2, 1))
        return Query(state.candidates[:budget])


def setting(learner: Sure, **changes: object) -> Experiment:
    ids = tuple(f"{i:02d}" for i in range(N))
    splits: tuple[Split, ...] = tuple("pool" if i < 40 else "val" if i < 50 else "test" for i in range(N))
    manifest = Manifest(ids, ids, ids, splits, ids)
    made = Experiment(
        manifest=manifest,
        classes=("a", "b"),
        embeddings=Embeddings(np.zeros((N, 2), dtype=np.float32), "e", manifest.fingerprint),
        cold_start=("random", Random()),
        query=("random", Random()),
        learner=learner,
        oracle=SimulatedOracle(TRUTH),
        task=OpenTask(ClassHoldout(manifest, TRUTH), Whole(manifest.indices("pool")), LabelBudgets((4, 4, 8, 8))),
        seed=0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def played(tmp_path: Path, learner: Sure, **changes: object) -> list[Round]:
    return loop.run(setting(learner, **changes), RunDir(tmp_path), Trackers())


def test_a_calibration_by_cross_fitting_is_that_of_the_held_out_answers(tmp_path: Path) -> None:
    learner = Sure()
    rounds = played(tmp_path, learner, calibrating=CalibrationSettings("cross", folds=7))
    assert learner.held == [(r, 7) for r in range(4)]
    labeled = RunDir(tmp_path).labels(N).as_of(1).labeled
    expected = calibrate(logs(learner._probs(labeled)), TRUTH[labeled])
    with np.load(RunDir(tmp_path).round_path(1) / "calibration.npz") as archive:
        np.testing.assert_allclose(archive["scale"], expected.scale)
        np.testing.assert_allclose(archive["bias"], expected.bias)
    for split, rows in (("val", np.arange(40, 50)), ("test", np.arange(50, N))):
        after = classification(expected.probs(logs(learner._probs(rows))), TRUTH[rows])
        for name in ("nll", "ece", "classwise_ece", "brier"):
            assert rounds[1].metrics[f"{split}/{name}_calibrated"] == pytest.approx(after[name])
    assert rounds[3].metrics["test/nll_calibrated"] < rounds[3].metrics["test/nll"]
    assert "calibrate" in rounds[1].seconds


def test_a_calibration_on_val_is_not_measured_there_and_never_reads_test(tmp_path: Path) -> None:
    learner, seen = Sure(), list[FloatArray]()
    how = CalibrationSettings("val", queries=True)
    rounds = played(tmp_path / "a", learner, calibrating=how, query=("looking", Looking(seen)))
    assert not learner.held
    names = {name for name in rounds[0].metrics if name.endswith("_calibrated")}
    assert names == {f"test/{m}_calibrated" for m in ("nll", "ece", "classwise_ece", "brier")}
    truth = np.where(np.arange(N) < 50, TRUTH, 1 - TRUTH)  # another truth of the test split changes nothing
    given = setting(learner)
    task = replace(given.task, holdout=ClassHoldout(given.manifest, truth))
    other = replace(given, task=task, calibrating=how)
    loop.run(other, RunDir(tmp_path / "b"), Trackers())
    files = [RunDir(tmp_path / run).round_path(2) / "calibration.npz" for run in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    val = np.arange(40, 50)
    expected = calibrate(logs(learner._probs(val)), TRUTH[val])
    labeled = RunDir(tmp_path / "a").labels(N).as_of(0).labeled
    candidates = np.setdiff1d(np.arange(40), labeled)
    said = expected.probs(logs(learner._probs(candidates)))
    np.testing.assert_allclose(seen[0], said[:, None].repeat(2, axis=1))  # every pass


def test_queries_see_what_the_network_says_unless_the_recipe_says_otherwise(tmp_path: Path) -> None:
    learner, seen = Sure(), list[FloatArray]()
    played(tmp_path, learner, calibrating=CalibrationSettings("val"), query=("looking", Looking(seen)))
    assert set(seen[0].ravel().round(2).tolist()) == {0.02, 0.98}


def test_every_round_leaves_its_reliability_diagrams(tmp_path: Path) -> None:
    played(tmp_path / "plain", Sure())
    played(tmp_path / "mended", Sure(), calibrating=CalibrationSettings("val"))
    for run, names in (("plain", {"val", "test"}), ("mended", {"val", "test", "test_calibrated"})):
        for r in range(4):
            with np.load(RunDir(tmp_path / run).round_path(r) / "reliability.npz") as archive:
                assert set(archive.files) == names
                assert archive["test"][0].sum() == 10 and archive["test"][1, -1] == pytest.approx(0.98)


class Diverges(Sure):
    """A loss that is not finite in round 1."""

    def fit(self, labels: LabelStore, *, round: int, seed: int, log: Log, previous: Path | None = None) -> FitResult:
        if round == 1:
            raise NonFiniteLoss(float("nan"), step=7, rate=1e-3, labeled=[0, 2], unlabeled=[])
        return super().fit(labels, round=round, seed=seed, log=log, previous=previous)


def test_a_loss_that_is_not_finite_leaves_the_last_round_and_its_open_query(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLoss, match=r"step 7: the loss is nan at learning rate 1\.00e-03; labeled 00, 02"):
        played(tmp_path / "a", Diverges())
    disk = RunDir(tmp_path / "a")
    asked = disk.query_ids(1)
    assert len(disk.rounds()) == 1 and asked is not None
    whole = played(tmp_path / "b", Sure())
    assert [r.query for r in played(tmp_path / "a", Sure())] == [r.query for r in whole] and whole[1].query == asked


def test_kappa_against_a_table() -> None:
    rng = np.random.default_rng(0)
    for classes in (2, 3, 9):
        first, second = rng.integers(classes, size=(2, 200))
        same = sum(a == b for a, b in zip(first, second, strict=True)) / 200
        chance = sum((first == c).mean() * (second == c).mean() for c in range(classes))
        assert kappa(first, second) == pytest.approx((same - chance) / (1 - chance))
        assert kappa(first, first) == 1
    assert kappa(np.zeros(5, np.int64), np.zeros(5, np.int64)) == 1
    assert kappa(np.asarray([0, 1]), np.asarray([1, 0])) == -1
    assert kappa(np.zeros(4, np.int64), np.asarray([0, 0, 0, 1])) == 0


def test_the_expected_gain_by_hand() -> None:
    probs = np.asarray([[0.9, 0.1], [0.3, 0.7], [0.5, 0.5], [0.2, 0.8]])
    before = np.asarray([0, 0, 0, 1])  # the second changed, by 0.4
    assert expected_gain(before, probs, (10, 20, 40)) == pytest.approx(0.1)  # each doubling is alike
    assert expected_gain(before, probs, (10, 20, 30)) == pytest.approx(0.1 * math.log2(1.5))
    assert expected_gain(probs.argmax(axis=1), probs, (10, 20, 40)) == 0
    assert signals(before, probs, (10, 20, 40)) == {AGREEMENT: pytest.approx(0.5), GAIN: pytest.approx(0.1)}
    for labels in ((0, 4, 8), (4, 4, 8), (4, 8, 7)):
        with pytest.raises(InputError, match="growing numbers of labels"):
            expected_gain(before, probs, labels)


def test_the_stop_set_is_the_run_s_own_and_within_the_pool() -> None:
    pool = np.arange(5, 5005)
    rows = stop_set(pool, 1)
    assert len(rows) == 2000 and np.isin(rows, pool).all() and (np.diff(rows) > 0).all()
    assert np.array_equal(rows, stop_set(pool, 1)) and not np.array_equal(rows, stop_set(pool, 2))
    assert np.array_equal(stop_set(pool[:7], 1), pool[:7])


def test_a_round_says_how_far_it_agrees_with_the_last_and_what_comes_next(tmp_path: Path) -> None:
    """Six of forty turn over each round: the new model prefers its answer by 0.96 there."""
    learner = Sure(changed=6)
    rounds, answers = played(tmp_path, learner), []
    for learner.round in range(4):
        answers.append(learner._probs(np.arange(40)).argmax(axis=1))
    assert AGREEMENT not in rounds[0].metrics
    expected = [kappa(before, now) for before, now in itertools.pairwise(answers)]
    assert [r.metrics[AGREEMENT] for r in rounds[1:]] == pytest.approx(expected) and max(expected) < 0.8
    assert rounds[1].metrics[GAIN] == pytest.approx(0.144 * 1.0)  # 4, 8, 16 labels
    assert rounds[2].metrics[GAIN] == pytest.approx(0.144 * math.log2(24 / 16))
    assert GAIN not in rounds[3].metrics  # nothing comes after the last


def row(agreement: float | None, gain: float | None) -> Round:
    said = {AGREEMENT: agreement, GAIN: gain}
    return Round(0, "q", 1, (), 1, {k: v for k, v in said.items() if v is not None}, 0, {})


def test_what_is_enough() -> None:
    stopping = Stopping(agreement=0.9, rounds=2, gain=0.01)
    first, steady, moving, rich = row(None, None), row(0.95, 0.005), row(0.5, 0.005), row(0.95, 0.02)
    assert not stopping.enough([])
    assert not stopping.enough([first]) and not stopping.enough([first, steady])
    assert stopping.enough([first, steady, steady]) and not stopping.enough([first, steady, rich])
    assert not stopping.enough([first, steady, moving]) and not stopping.enough([first, moving, steady])
    assert stopping.enough([first, moving, steady, steady])
    assert not stopping.enough([first, steady, row(0.95, None)])
    assert stopping.enough_at([first, rich, moving, steady, steady, moving]) == 4
    assert stopping.enough_at([first, rich]) is None
    for bad in ({"agreement": 1.5}, {"gain": -1.0}, {"rounds": 0}):
        with pytest.raises(InputError, match=f"Stopping.{next(iter(bad))}"):
            Stopping(**bad)


@pytest.mark.parametrize(("enforce", "expected"), [(False, 4), (True, 2)])
def test_the_signal_ends_the_loop_only_where_it_is_enforced(tmp_path: Path, enforce: bool, expected: int) -> None:
    stopping = Stopping(rounds=1, enforce=enforce)
    rounds = played(tmp_path, Sure(), stopping=stopping)
    assert len(rounds) == expected and stopping.enough_at(rounds) == 1
    experiment = setting(Sure(), stopping=stopping)
    assert experiment.over(rounds) and len(loop.run(experiment, RunDir(tmp_path), Trackers())) == expected


def test_a_loop_that_asked_about_all_says_so_where_money_is_left(tmp_path: Path) -> None:
    class Priced(LabelBudgets):
        def least_picks(self, fixed: bool) -> int:
            return self.budgets[0]

    task = replace(setting(Sure()).task, spending=Priced((38, 9, 5)))  # of 40
    rounds = played(tmp_path, Sure(), task=task)
    assert [len(r.query) for r in rounds] == [38, 2] and RunDir(tmp_path).is_exhausted(2)
    assert len(played(tmp_path, Sure(), task=task)) == 2
