"""The hybrid link's record against a loop that remembers every visit."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from scipy.spatial.distance import jensenshannon

from hybrid_al.core.consistency import Consistency, Distance, Recording
from hybrid_al.core.files import write_arrays
from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.errors import InputError
from hybrid_al.scores.recorder import ConsistencyRecorder, largest
from hybrid_al.scores.samples import DISTANCES, jensen_shannon, kullback_leibler

Visit = tuple[FloatArray, FloatArray]


def visits(n: int, steps: int, classes: int = 3) -> list[tuple[IntArray, FloatArray, FloatArray]]:
    """Batches of distinct rows; row 0 never comes, row 1 only once."""
    rng = np.random.default_rng(0)
    batches = []
    for step in range(steps):
        rows = 2 + rng.permutation(n - 2)[: n // 2]
        rows = np.append(rows, 1) if step == 3 else rows
        weak, strong = rng.dirichlet(np.ones(classes), size=(2, len(rows)))
        batches.append((rows, weak, strong))
    return batches


def decayed(values: list[float], decay: float) -> float:
    """Mean of the values, the last with weight 1, the one before with `decay`, ..."""
    weights = [decay ** (len(values) - 1 - i) for i in range(len(values))]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 1.0])
def test_record_against_a_loop(decay: float, distance: Distance) -> None:
    n, batches = 12, visits(12, 9)
    recorder = ConsistencyRecorder(n, Recording(decay=decay, distance=distance))
    history: list[list[Visit]] = [[] for _ in range(n)]
    for rows, weak, strong in batches:
        recorder.update(rows, weak, strong)
        for row, w, s in zip(rows, weak, strong, strict=True):
            history[row].append((w, s))
    record = recorder.record()
    np.testing.assert_array_equal(record.seen, [len(h) for h in history])
    for row, row_visits in enumerate(history):
        if not row_visits:
            continue
        labels = [int(w.argmax()) for w, _ in row_visits]
        flips = [float(a != b) for a, b in pairwise(labels)]
        assert record.pseudo_label[row] == labels[-1]
        assert record.agreement[row] == pytest.approx(
            decayed([float(w.argmax() == s.argmax()) for w, s in row_visits], decay), abs=1e-6
        )
        assert record.confidence[row] == pytest.approx(
            decayed([float(w.max()) for w, _ in row_visits], decay), abs=1e-6
        )
        sure = [float(w.max() >= 0.95) for w, _ in row_visits]
        assert record.above[row] == pytest.approx(decayed(sure, decay), abs=1e-6)
        assert record.flips[row] == pytest.approx(decayed(flips, decay) if flips else 0, abs=1e-6)
        divergences = [
            float(jensenshannon(w, s, base=2)) ** 2
            if distance == "jensen_shannon"
            else 1 - math.exp(-sum(a * math.log(a / b) for a, b in zip(w.tolist(), s.tolist(), strict=True)))
            for w, s in row_visits
        ]
        assert record.divergence[row] == pytest.approx(decayed(divergences, decay), abs=1e-6)


def test_jensen_shannon_against_scipy() -> None:
    p, q = np.random.default_rng(0).dirichlet(np.full(4, 0.3), size=(2, 50))
    np.testing.assert_allclose(jensen_shannon(p, q), jensenshannon(p, q, base=2, axis=1) ** 2, atol=1e-12)


def test_kullback_leibler_is_of_the_second_from_the_first() -> None:
    p, q = np.random.default_rng(0).dirichlet(np.full(4, 0.3), size=(2, 50))
    np.testing.assert_allclose(kullback_leibler(p, q), 1 - np.exp(-scipy.stats.entropy(p, q, axis=1)), atol=1e-12)
    assert (kullback_leibler(p, q) >= (np.abs(p - q).sum(axis=1) / 2) ** 2).all()  # Bretagnolle and Huber
    sure, unsure = np.eye(2)[:1], np.full((1, 2), 0.5)
    np.testing.assert_allclose(kullback_leibler(sure, unsure), 0.5)
    np.testing.assert_array_equal(kullback_leibler(unsure, sure), 1)
    np.testing.assert_array_equal(kullback_leibler(np.eye(3), np.eye(3)), 0)


def test_how_distances_were_taken_is_read_back(tmp_path: Path) -> None:
    recorder = ConsistencyRecorder(3, Recording(distance="kullback_leibler"))
    recorder.update(np.asarray([1]), np.asarray([[0.5, 0.5]]), np.asarray([[0.9, 0.1]]))
    np.savez(tmp_path / "c.npz", **recorder.record().arrays())  # type: ignore[arg-type]
    record = Consistency.load(tmp_path / "c.npz")
    assert record.recording.distance == "kullback_leibler" and record.divergence[1] == pytest.approx(
        0.4
    )  # 1 - 2 sqrt(ab)


def test_jensen_shannon_at_the_extremes() -> None:
    np.testing.assert_array_equal(jensen_shannon(np.eye(3), np.eye(3)), 0)
    np.testing.assert_array_equal(jensen_shannon(np.eye(2), np.eye(2)[::-1]), 1)


def record(counts: list[int], disagreement: list[float]) -> Consistency:
    values = np.asarray(disagreement, dtype=np.float32)
    return Consistency(
        np.asarray(counts), 1 - values, 1 - values, values, values, np.zeros(len(counts), np.int64), values
    )


def test_a_record_of_regions_takes_in_samples_and_parts_that_came_later(tmp_path: Path) -> None:
    regional = replace(record([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]), parts=2)
    more = regional.of(3, 3)
    assert more.seen.tolist() == [1, 2, 0, 3, 4, 0, 0, 0, 0] and more.parts == 3
    assert more.pseudo_label.tolist() == [0, 0, -1, 0, 0, -1, -1, -1, -1]
    assert regional.of(2, 1).seen.tolist() == [1, 3] and regional.of(2).seen.tolist() == [1, 2, 3, 4]
    write_arrays(tmp_path / "c.npz", regional.arrays())
    assert Consistency.load(tmp_path / "c.npz").parts == 2
    unsaid = record([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4])
    assert unsaid.of(2, 2).parts == 2
    with pytest.raises(InputError, match="a record of 6 regions, got one of 4"):
        unsaid.of(3, 2)


def test_rows_never_seen_are_neutral() -> None:
    uncertainty = record([0, 4, 4, 4, 0], [1, 0.1, 0.3, 0.9, 1]).uncertainty()
    np.testing.assert_allclose(uncertainty, [0.3, 0.1, 0.3, 0.9, 0.3], rtol=1e-6)
    np.testing.assert_array_equal(record([0, 0], [0, 1]).uncertainty(), 0.5)


def test_uncertainty_is_the_mean_of_its_parts() -> None:
    consistency = Consistency(*(np.asarray([v]) for v in (5, 0.25, 0.6, 0.5, 0.3, 2, 0.8)))  # type: ignore[arg-type]
    assert consistency.uncertainty()[0] == pytest.approx((0.75 + 0.5 + 0.3) / 3)
    assert consistency.uncertainty(("doubt",))[0] == pytest.approx(0.4)
    assert consistency.uncertainty(("flips", "doubt"))[0] == pytest.approx(0.45)
    assert consistency.uncertainty(("below_threshold",))[0] == pytest.approx(0.2)
    with pytest.raises(InputError, match="did you mean 'flips'"):
        consistency.uncertainty(("flip",))


def test_steady_rows_score_zero_and_wild_rows_one() -> None:
    recorder = ConsistencyRecorder(2)
    for step in range(4):
        one, other = np.eye(2)[step % 2], np.eye(2)[1 - step % 2]
        recorder.update(np.array([0, 1]), np.stack([np.eye(2)[0], one]), np.stack([np.eye(2)[0], other]))
    np.testing.assert_allclose(recorder.record().uncertainty(), [0, 1], atol=1e-6)


def test_options_by_hand() -> None:
    """Uncertainties 0.1, 0.3, 0.9 and an unseen row; visits worth 2, 4 and 3, or less where they fade."""
    plain = record([2, 4, 3, 0], [0.1, 0.3, 0.9, 1])
    shrunk = replace(plain, recording=Recording(shrink=2.0, decay=1.0)).uncertainty()
    np.testing.assert_allclose(shrunk, [(2 * 0.1 + 2 * 0.3) / 4, 0.3, (3 * 0.9 + 2 * 0.3) / 5, 0.3], rtol=1e-6)
    faded = replace(plain, recording=Recording(shrink=2.0, decay=0.5)).uncertainty()  # 1.5, 1.875 and 1.75 visits
    np.testing.assert_allclose(faded, [(1.5 * 0.1 + 2 * 0.3) / 3.5, 0.3, (1.75 * 0.9 + 0.6) / 3.75, 0.3], rtol=1e-6)
    np.testing.assert_array_equal(replace(plain, recording=Recording(decay=0.5)).uncertainty(), plain.uncertainty())


def test_within_a_class_only_the_order_among_its_own_counts() -> None:
    rng = np.random.default_rng(0)
    labels, counts = rng.integers(3, size=40), rng.integers(4, size=40)
    values = rng.random(40).round(1).astype(np.float32)  # with ties
    consistency = replace(
        record(counts.tolist(), values.tolist()), pseudo_label=labels, recording=Recording(within="class")
    )
    for i, got in enumerate(consistency.uncertainty()):
        members = [values[j] for j in range(40) if counts[j] > 1 and labels[j] == labels[i]]
        below, ties = sum(v < values[i] for v in members), sum(v == values[i] for v in members)
        assert got == pytest.approx((below + ties / 2) / len(members) if counts[i] > 1 else 0.5)


def test_a_carried_record_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    now, old = (record(rng.integers(3, size=30).tolist(), rng.random(30).tolist()) for _ in range(2))
    now = replace(now, recording=Recording(carry=0.4), pseudo_label=np.where(now.seen > 0, 2, -1))
    old = replace(old, pseudo_label=np.where(old.seen > 0, 1, -1))
    mixture = now.blend(old)
    for i in range(30):
        expected = now.flips[i] if now.seen[i] or not old.seen[i] else old.flips[i]
        if now.seen[i] and old.seen[i]:
            expected = 0.6 * now.flips[i] + 0.4 * old.flips[i]
        assert mixture.flips[i] == pytest.approx(expected)
        assert mixture.seen[i] == (now.seen[i] or old.seen[i])
        assert mixture.pseudo_label[i] == (2 if now.seen[i] else 1 if old.seen[i] else -1)
    replaced = replace(now, recording=Recording()).blend(old)
    np.testing.assert_array_equal(replaced.flips[now.seen > 0], now.flips[now.seen > 0])


@pytest.mark.parametrize("wrong", [{"decay": 1.1}, {"skip": 1.0}, {"carry": -0.1}, {"shrink": float("nan")}])
def test_a_recording_refuses_what_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"Recording.{next(iter(wrong))}"):
        Recording(**wrong)  # type: ignore[arg-type]


def test_how_a_record_is_read_is_kept_with_it(tmp_path: Path) -> None:
    consistency = replace(record([2, 2], [0.1, 0.2]), recording=Recording(within="class", shrink=1.5))
    np.savez(tmp_path / "c.npz", **consistency.arrays())  # type: ignore[arg-type]
    assert Consistency.load(tmp_path / "c.npz").recording == consistency.recording
    assert "recording" not in record([2, 2], [0.1, 0.2]).arrays()


def test_save_and_load(tmp_path: Path) -> None:
    recorder = ConsistencyRecorder(12)
    for batch in visits(12, 3):
        recorder.update(*batch)
    np.savez(tmp_path / "c.npz", **recorder.record().arrays())  # type: ignore[arg-type]
    again = Consistency.load(tmp_path / "c.npz")
    np.testing.assert_array_equal(again.uncertainty(), recorder.record().uncertainty())
    np.savez(tmp_path / "other.npz", seen=np.zeros(3))
    with pytest.raises(InputError, match="no above"):
        Consistency.load(tmp_path / "other.npz")


@pytest.mark.parametrize("classes", [2, 3, 11])
def test_the_largest_is_the_first_of_equals(classes: int) -> None:
    probs = np.random.default_rng(0).integers(3, size=(50, classes)).astype(np.float32) / 2
    label, top = largest(probs)
    np.testing.assert_array_equal(label, probs.argmax(axis=1))
    np.testing.assert_array_equal(top, probs.max(axis=1))


def test_a_probability_of_zero_or_nearly_counts_nothing() -> None:
    tiny = np.asarray([[1, 0], [1, 1e-45], [1, 1e-38], [0.5, 0.5]], dtype=np.float32)
    assert np.abs(jensen_shannon(tiny, tiny)).max() == 0
    np.testing.assert_allclose(jensen_shannon(tiny[:3], tiny[[1, 2, 0]]), 0, atol=1e-7)
