"""Strategies on what stage 0 recorded and on what the model before says, and how the loop brings it to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from hybrid_al.components import check_components
from hybrid_al.core.embeddings import Embeddings
from hybrid_al.core.files import write_arrays
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.learner import FitResult, Log
from hybrid_al.core.manifest import Manifest
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import FloatArray, IntArray, Need, PredictionBatch, Query
from hybrid_al.errors import InputError
from hybrid_al.experiment import Experiment, OpenTask
from hybrid_al.loop import play, select
from hybrid_al.metrics.holdout import ClassHoldout
from hybrid_al.oracles.simulated import SimulatedOracle
from hybrid_al.query.base import QueryState, QueryStrategy
from hybrid_al.query.clusters import cluster_pool
from hybrid_al.query.spending import LabelBudgets
from hybrid_al.query.strategies import CSVAL, PT4AL, STRATEGIES, TOD, PT4ALStart, Random
from hybrid_al.query.synthetic import make_state, restrict
from hybrid_al.recipe import parse
from hybrid_al.regions.base import Whole
from hybrid_al.scores.ranks import mid_ranks
from hybrid_al.track.base import Trackers


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def with_extras(state: QueryState, **extras: FloatArray) -> QueryState:
    return replace(state, extras={**state.extras, **extras})


def filled(values: FloatArray, rows: IntArray) -> FloatArray:
    part = values[rows]
    return np.where(np.isnan(part), np.nanmedian(part), part)


@pytest.mark.parametrize("by", ["both", "confidence", "variability"])
def test_csval_takes_the_hardest_of_each_cluster(by: str) -> None:
    state = make_state(60, labeled=0)
    picks = CSVAL(by=by, clusters=3).select(state, 6, rng(3)).indices  # type: ignore[arg-type]
    clusters = cluster_pool(state, 3, "cosine", rng(3))
    axes = {name: filled(np.asarray(state.extras[name]), clusters.samples) for name in ("confidence", "variability")}
    ease = mid_ranks(axes["confidence"]) + mid_ranks(axes["variability"]) if by == "both" else axes[by]
    expected = set[int]()
    for c in range(3):
        members = np.flatnonzero(clusters.cluster == c)
        expected |= set(clusters.samples[members[np.argsort(ease[members])[:2]]].tolist())
    assert set(picks.tolist()) == expected


def test_csval_takes_as_many_clusters_as_labels_and_budget() -> None:
    state = make_state(60, labeled=5)
    assert (
        CSVAL().select(state, 6, rng()).indices.tolist() == CSVAL(clusters=11).select(state, 6, rng()).indices.tolist()
    )


def batches_of(state: QueryState, batches: int) -> dict[int, int]:
    pool = np.union1d(state.candidates, state.labels.answered)
    loss = dict(zip(pool.tolist(), filled(np.asarray(state.extras["pretext_loss"]), pool).tolist(), strict=True))
    order = sorted(loss, key=lambda i: -loss[i])
    return {i: place * batches // len(order) for place, i in enumerate(order)}


def test_pt4al_starts_at_random_in_the_hardest_batch() -> None:
    state = make_state(43, labeled=0, round=0)
    batch = batches_of(state, 4)
    hardest = {i for i, b in batch.items() if b == 0}
    draws = [set(PT4ALStart(batches=4).select(state, 5, rng(s)).indices.tolist()) for s in range(30)]
    assert all(picks < hardest for picks in draws) and set.union(*draws) == hardest
    beyond = PT4ALStart(batches=4).select(state, 15, rng()).indices.tolist()
    assert hardest < set(beyond) and all(batch[i] <= 1 for i in beyond)


@pytest.mark.parametrize("round", [1, 3, 6])
def test_pt4al_asks_the_least_confident_of_the_rounds_batch(round: int) -> None:
    state = make_state(45, labeled=4, round=round)
    batch, top = batches_of(state, 4), state.probs()[:, 0].max(axis=1)
    confidence = dict(zip(state.candidates.tolist(), top.tolist(), strict=True))
    order = sorted(confidence, key=lambda i: ((batch[i] - round) % 4, confidence[i]))
    assert PT4AL(batches=4).select(state, 14, rng()).indices.tolist() == order[:14]


def test_tod_is_half_the_squared_distance_to_the_model_before() -> None:
    state = make_state(labeled=5)
    query = TOD().select(state, 6, rng())
    expected = [
        0.5 * sum((a - b) ** 2 for a, b in zip(now, state.extras["previous_probs"][i], strict=True))
        for i, now in zip(state.candidates, state.probs()[:, 0], strict=True)
    ]
    assert query.scores is not None
    np.testing.assert_allclose(query.scores.values, expected)
    assert query.indices.tolist() == state.candidates[np.argsort(expected)[::-1][:6]].tolist()


def test_tod_is_random_where_there_is_no_model_before() -> None:
    state = make_state()
    first = with_extras(state, previous_probs=np.empty((len(state.groups), 0)))
    queries = [TOD().select(first, 4, rng(s)) for s in range(6)]
    assert len({tuple(q.indices.tolist()) for q in queries}) == 6
    assert queries[0].reasons is not None and "no model before" in queries[0].reasons[0]


def test_samples_that_pretraining_never_saw_take_the_median() -> None:
    state = make_state(30, labeled=0)
    values = np.asarray(state.extras["pretext_loss"]).copy()
    values[state.candidates] = np.arange(30.0)
    values[state.candidates[[0, 29]]] = np.nan
    found = with_extras(state, pretext_loss=values).record("pretext_loss", state.candidates)
    assert found[[0, 1, 28, 29]].tolist() == [14.5, 1, 28, 14.5]
    with pytest.raises(InputError, match="pretext_loss: expected a finite number"):
        with_extras(state, pretext_loss=values * np.nan).record("pretext_loss", state.candidates)


@pytest.mark.parametrize(
    ("name", "extra"), [("csval", "confidence"), ("pt4al", "pretext_loss"), ("tod", "previous_probs")]
)
def test_what_is_missing_is_named(name: str, extra: str) -> None:
    state = make_state()
    fewer = replace(state, extras={key: values for key, values in state.extras.items() if key != extra})
    with pytest.raises(InputError, match=f"expected {extra} of every sample"):
        STRATEGIES[name]().select(fewer, 3, rng())


def test_history_must_be_finite_and_of_the_same_classes() -> None:
    state = make_state()
    past = np.asarray(state.extras["previous_probs"]).copy()
    with pytest.raises(InputError, match="previous_probs: expected shape"):
        TOD().select(with_extras(state, previous_probs=past[:, :2]), 3, rng())
    past[state.candidates[4], 1] = np.nan
    with pytest.raises(InputError, match=f"previous_probs of sample {state.candidates[4]}: expected finite"):
        TOD().select(with_extras(state, previous_probs=past), 3, rng())


# -- how the loop brings it -----------------------------------------------------------------------------------------


@dataclass
class Counting:
    """A learner of two classes whose model is the number of the round that it was fitted in."""

    fitted: int = -1
    loaded: list[int] = field(default_factory=list)

    def fit(self, labels: LabelStore, *, round: int, seed: int, log: Log, previous: Path | None = None) -> FitResult:
        self.fitted = round
        return FitResult({})

    def predict(self, indices: IntArray, samples: int = 1, views: int = 1) -> Iterator[PredictionBatch]:
        p = np.full((len(indices), samples * views), (self.fitted + 1) / 10)
        yield PredictionBatch(indices, np.stack([p, 1 - p], axis=2))

    def held_out(self, labels: LabelStore, *, round: int, seed: int, folds: int) -> tuple[FloatArray, IntArray]:
        raise AssertionError("no calibration was asked for")

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(self.fitted))

    def load(self, path: Path) -> None:
        self.fitted = int(path.read_text())
        self.loaded.append(self.fitted)


@dataclass(frozen=True)
class Probe:
    """A strategy that hands out the states that it sees."""

    seen: list[QueryState]
    needs: frozenset[Need]
    name: ClassVar[str] = "probe"

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        self.seen.append(state)
        return Query(state.candidates[:budget])


@pytest.fixture
def setting(tmp_path: Path) -> Callable[..., tuple[Experiment, RunDir]]:
    def make(query: QueryStrategy, records: Mapping[str, FloatArray] | None = None) -> tuple[Experiment, RunDir]:
        ids = tuple(f"{i:02d}" for i in range(20))
        manifest = Manifest(ids, ids, ids, ("pool",) * 18 + ("test",) * 2, ids)
        truth = np.arange(20) % 2
        if records is not None:
            write_arrays(tmp_path / "records.npz", dict(records))
        experiment = Experiment(
            manifest=manifest,
            classes=("a", "b"),
            embeddings=Embeddings(np.zeros((20, 2), dtype=np.float32), "e", manifest.fingerprint),
            cold_start=("random", Random()),
            query=("probe", query),
            learner=Counting(),
            oracle=SimulatedOracle(truth),
            task=OpenTask(ClassHoldout(manifest, truth), Whole(manifest.indices("pool")), LabelBudgets((3, 2, 2, 2))),
            seed=0,
            records=tmp_path / "records.npz",
        )
        return experiment, RunDir(tmp_path / "run")

    return make


def test_the_loop_asks_the_model_before_for_its_history(setting: Callable[..., tuple[Experiment, RunDir]]) -> None:
    probe = Probe([], frozenset({"history", "predictions"}))
    experiment, disk = setting(probe)
    for r in range(4):
        play(experiment, disk, Trackers(), r)
    first, second, third = probe.seen
    assert first.extras["previous_probs"].shape == (20, 0)
    for round, state in ((2, second), (3, third)):
        past = state.extras["previous_probs"]
        np.testing.assert_allclose(
            past[state.candidates], [[(round - 1) / 10, 1 - (round - 1) / 10]] * len(state.candidates)
        )
        assert np.isnan(np.delete(past, state.candidates, axis=0)).all()
    assert isinstance(experiment.learner, Counting)
    assert experiment.learner.loaded == [0, 0, 1, 1, 2]


def test_the_loop_reads_the_records_of_stage_0(setting: Callable[..., tuple[Experiment, RunDir]]) -> None:
    loss = np.arange(20.0)
    probe = Probe([], frozenset({"stage0"}))
    experiment, disk = setting(probe, {"pretext_loss": loss, "epochs_seen": loss})
    experiment = dataclasses.replace(experiment, cold_start=("probe", probe))
    select(experiment, disk, 0)
    assert set(probe.seen[0].extras) == {"pretext_loss"}
    np.testing.assert_array_equal(probe.seen[0].extras["pretext_loss"], loss)


def test_the_loop_hands_on_what_answers_cost(setting: Callable[..., tuple[Experiment, RunDir]]) -> None:
    probe = Probe([], frozenset({"costs"}))
    experiment, disk = setting(probe)
    experiment = dataclasses.replace(experiment, cold_start=("probe", probe))
    with pytest.raises(InputError, match="round 0: expected what an answer costs"):
        select(experiment, disk, 0)
    costs = np.arange(20.0) + 1
    select(dataclasses.replace(experiment, costs=costs), disk, 0)
    np.testing.assert_array_equal(probe.seen[0].extra("cost", np.arange(20)), costs)


def test_nothing_is_read_that_was_not_asked_for(setting: Callable[..., tuple[Experiment, RunDir]]) -> None:
    probe = Probe([], frozenset({"embeddings"}))
    experiment, disk = setting(probe)
    play(experiment, disk, Trackers(), 0)
    select(experiment, disk, 1)
    assert not probe.seen[0].extras and probe.seen[0].predictor is None
    assert isinstance(experiment.learner, Counting) and not experiment.learner.loaded


def test_records_that_are_missing_or_of_other_data(setting: Callable[..., tuple[Experiment, RunDir]]) -> None:
    probe = Probe([], frozenset({"stage0"}))
    experiment, disk = setting(probe)
    experiment = dataclasses.replace(experiment, cold_start=("probe", probe))
    with pytest.raises(InputError, match=r"records\.npz: expected records of a pretraining"):
        select(experiment, disk, 0)
    setting(probe, {"pretext_loss": np.arange(19.0)})
    with pytest.raises(InputError, match="expected pretext_loss of 20 samples, got \\(19,\\)"):
        select(experiment, disk, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cold_start": "csval"}, None),
        ({"cold_start": "pt4al_start", "query": "pt4al"}, None),
        ({"cold_start": "pt4al"}, "cold_start: expected a strategy that needs embeddings alone"),
        ({"cold_start": "csval", "pretrain": "none"}, "cold_start: expected a pretraining"),
        ({"query": "pt4al", "pretrain": "none"}, "query: expected a pretraining"),
        ({"query": "tta_variance", "learner": "frozen"}, None),
        ({"query": "tta_variance", "learner": "finetune"}, None),
    ],
)
def test_a_recipe_is_checked_for_what_its_strategies_read(changes: dict[str, object], message: str | None) -> None:
    recipe = parse({"name": "x", **changes}, "test")
    if message is None:
        check_components(recipe)
    else:
        with pytest.raises(InputError, match=message):
            check_components(recipe)


def test_restricted_states_hide_the_extras_of_other_needs() -> None:
    assert set(restrict(make_state(), frozenset({"history"})).extras) == {"previous_probs"}
    assert set(restrict(make_state(), frozenset({"stage0"})).extras) == {"pretext_loss", "confidence", "variability"}
