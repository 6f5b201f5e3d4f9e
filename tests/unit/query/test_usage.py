"""What a query did with its score and how far from the labels it went, against loops, and in a round's record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybrid_al.core.embeddings import Embeddings, Metric
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.loop import play
from hybrid_al.query.strategies import Entropy, Hybrid, KCenter
from hybrid_al.query.synthetic import make_state
from hybrid_al.query.usage import CANDIDATES, DISTANCE, MEAN_RANK, mean_rank, relative_distance
from hybrid_al.track.base import Trackers
from tests.unit.query.test_stopping import N, Sure, setting


def test_the_mean_rank_is_that_among_the_scores() -> None:
    rng = np.random.default_rng(0)
    indices, values = rng.permutation(100)[:40], rng.integers(8, size=40).astype(float)
    picks = indices[[3, 30, 8]]
    ranks = [np.mean([(v > other) + (v == other) / 2 for other in values]) for v in values[[3, 30, 8]]]
    assert mean_rank(indices, values, picks) == {MEAN_RANK: pytest.approx(np.mean(ranks))}
    assert mean_rank(indices, values, np.setdiff1d(np.arange(100), indices)[:2]) == {}
    assert mean_rank(indices[:0], values[:0], picks) == {}


def test_top_k_is_near_one_and_random_at_a_half() -> None:
    values, indices = np.random.default_rng(0).random(1000), np.arange(1000)
    assert mean_rank(indices, values, np.argsort(-values)[:20])[MEAN_RANK] == pytest.approx(1 - 20 / 2000)
    assert mean_rank(indices, values, np.random.default_rng(1).permutation(1000)[:300])[MEAN_RANK] == pytest.approx(
        0.5, abs=0.04
    )


def test_the_distance_is_that_to_the_nearest_label_between_unit_vectors() -> None:
    state = make_state(60, labeled=6)
    assert state.embeddings is not None
    picks, labeled = state.candidates[:4], state.labels.labeled

    def unit(i: int) -> FloatArray:
        row = state.vectors(np.asarray([i]))[0].astype(np.float64)
        scaled: FloatArray = row / np.linalg.norm(row)
        return scaled

    def slow(rows: list[int]) -> float:
        return float(np.mean([min(np.linalg.norm(unit(i) - unit(j)) for j in labeled.tolist()) for i in rows]))

    usage = relative_distance(state.embeddings, labeled, state.candidates, picks, np.random.default_rng(0))
    assert usage == {DISTANCE: pytest.approx(slow(picks.tolist()) / slow(state.candidates.tolist()), rel=1e-5)}


def test_without_labels_or_distances_there_is_nothing_to_say() -> None:
    rng, state, alike = np.random.default_rng(0), make_state(labeled=0), make_state(constant=True)
    assert state.embeddings is not None and alike.embeddings is not None
    for embeddings, s in ((state.embeddings, state), (alike.embeddings, alike)):
        assert relative_distance(embeddings, s.labels.labeled, s.candidates, s.candidates[:3], rng) == {}


def test_of_a_large_pool_few_rows_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, rows, take = np.random.default_rng(0), list[int](), Embeddings.take

    def counted(embeddings: Embeddings, indices: IntArray, metric: Metric = "l2") -> FloatArray:
        rows.append(len(indices))
        return take(embeddings, indices, metric)

    monkeypatch.setattr(Embeddings, "take", counted)
    embeddings, every = Embeddings(rng.normal(size=(100_000, 64)).astype(np.float32), "e", "m"), np.arange(100_000)
    usage = relative_distance(embeddings, every[:1000], every[1000:], every[2000:2100], rng)
    assert usage[DISTANCE] == pytest.approx(1, abs=0.05) and sum(rows) == 1000 + 100 + CANDIDATES


def test_a_round_has_both_where_there_are_scores_and_labels(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
    experiment = setting(Sure())
    embeddings = replace(experiment.embeddings, vectors=vectors)
    experiment = replace(experiment, embeddings=embeddings, query=("entropy", Entropy()))
    disk = RunDir(tmp_path)
    for r in range(3):
        play(experiment, disk, Trackers(), r)
    rounds = disk.rounds()
    assert not {MEAN_RANK, DISTANCE} & set(rounds[0].metrics)
    for row in rounds[1:]:
        picks = disk.picks(row.index, experiment.manifest)
        assert picks is not None
        labels = disk.labels(N).as_of(row.index - 1).labeled
        candidates = np.setdiff1d(np.arange(40), labels)
        expected = relative_distance(embeddings, labels, candidates, picks, np.random.default_rng(0))
        assert row.metrics[DISTANCE] == pytest.approx(expected[DISTANCE])
        assert row.metrics[MEAN_RANK] >= 0.5


def test_strategies_that_spread_go_farther_from_the_labels() -> None:
    state = make_state(300, labeled=10)
    assert state.embeddings is not None
    distances = {}
    for strategy in (KCenter(metric="cosine"), Hybrid({"entropy": 1.0}, {"name": "topk"})):
        picks = strategy.select(state, 10, np.random.default_rng(0)).indices
        usage = relative_distance(
            state.embeddings, state.labels.labeled, state.candidates, picks, np.random.default_rng(0)
        )
        distances[type(strategy).__name__] = usage[DISTANCE]
    assert distances["KCenter"] > 1.2 and distances["KCenter"] > distances["Hybrid"]
