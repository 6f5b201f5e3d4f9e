"""The hybrid link's record against a loop that remembers every visit."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from hybrid_al.consistency import Consistency, ConsistencyRecorder, jensen_shannon
from hybrid_al.errors import InputError
from hybrid_al.types import FloatArray, IntArray

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


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_record_against_a_loop(decay: float) -> None:
    n, batches = 12, visits(12, 9)
    recorder = ConsistencyRecorder(n, decay=decay)
    history: list[list[Visit]] = [[] for _ in range(n)]
    for rows, weak, strong in batches:
        recorder.update(rows, weak, strong)
        for row, w, s in zip(rows, weak, strong, strict=True):
            history[row].append((w, s))
    record = recorder.record()
    np.testing.assert_array_equal(record.seen, [len(h) for h in history])
    for row, seen in enumerate(history):
        if not seen:
            continue
        labels = [int(w.argmax()) for w, _ in seen]
        flips = [float(a != b) for a, b in pairwise(labels)]
        assert record.pseudo_label[row] == labels[-1]
        assert record.agreement[row] == pytest.approx(
            decayed([float(w.argmax() == s.argmax()) for w, s in seen], decay), abs=1e-6
        )
        assert record.confidence[row] == pytest.approx(decayed([float(w.max()) for w, _ in seen], decay), abs=1e-6)
        sure = [float(w.max() >= 0.95) for w, _ in seen]
        assert record.above[row] == pytest.approx(decayed(sure, decay), abs=1e-6)
        assert record.flips[row] == pytest.approx(decayed(flips, decay) if flips else 0, abs=1e-6)
        divergences = [float(jensenshannon(w, s, base=2)) ** 2 for w, s in seen]
        assert record.divergence[row] == pytest.approx(decayed(divergences, decay), abs=1e-6)


def test_jensen_shannon_against_scipy() -> None:
    p, q = np.random.default_rng(0).dirichlet(np.full(4, 0.3), size=(2, 50))
    np.testing.assert_allclose(jensen_shannon(p, q), jensenshannon(p, q, base=2, axis=1) ** 2, atol=1e-12)


def test_jensen_shannon_at_the_extremes() -> None:
    np.testing.assert_array_equal(jensen_shannon(np.eye(3), np.eye(3)), 0)
    np.testing.assert_array_equal(jensen_shannon(np.eye(2), np.eye(2)[::-1]), 1)


def record(seen: list[int], disagreement: list[float]) -> Consistency:
    values = np.asarray(disagreement, dtype=np.float32)
    return Consistency(np.asarray(seen), 1 - values, 1 - values, values, values, np.zeros(len(seen), np.int64), values)


def test_rows_never_seen_are_neutral() -> None:
    uncertainty = record([0, 4, 4, 4, 0], [1, 0.1, 0.3, 0.9, 1]).uncertainty()
    np.testing.assert_allclose(uncertainty, [0.3, 0.1, 0.3, 0.9, 0.3], rtol=1e-6)
    np.testing.assert_array_equal(record([0, 0], [0, 1]).uncertainty(), 0.5)


def test_uncertainty_is_the_mean_of_its_parts() -> None:
    found = Consistency(*(np.asarray([v]) for v in (5, 0.25, 0.6, 0.5, 0.3, 2, 0.8)))
    assert found.uncertainty()[0] == pytest.approx((0.75 + 0.5 + 0.3) / 3)
    assert found.uncertainty(("doubt",))[0] == pytest.approx(0.4)
    assert found.uncertainty(("flips", "doubt"))[0] == pytest.approx(0.45)
    assert found.uncertainty(("below_threshold",))[0] == pytest.approx(0.2)
    with pytest.raises(InputError, match="did you mean 'flips'"):
        found.uncertainty(("flip",))


def test_steady_rows_score_zero_and_wild_rows_one() -> None:
    recorder = ConsistencyRecorder(2)
    for step in range(4):
        one, other = np.eye(2)[step % 2], np.eye(2)[1 - step % 2]
        recorder.update(np.array([0, 1]), np.stack([np.eye(2)[0], one]), np.stack([np.eye(2)[0], other]))
    np.testing.assert_allclose(recorder.record().uncertainty(), [0, 1], atol=1e-6)


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
