"""Easy, hard and noisy samples of a class."""

from __future__ import annotations

import numpy as np

from hybrid_al.kernels.triage import EASY, LEAST, NOISY, SHARE, triage


def test_what_lies_apart_from_its_class_is_noisy() -> None:
    """Two classes of a tight group each, in one of which three samples lie far off; a small class is left alone."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(40, 4)), 12 + rng.normal(size=(30, 4)), rng.normal(size=(LEAST - 1, 4))])
    classes = np.repeat([0, 1, 2], [40, 30, LEAST - 1])
    rows[:3] += 12
    levels = triage(rows, classes)
    assert (levels[:3] == NOISY).all() and (levels[classes == 2] == EASY).all()
    assert (levels[3:40] == NOISY).mean() < 0.5


def test_the_density_equals_the_slow_reference() -> None:
    """Counts of neighbours decide: the noisy ones have fewer than all others."""
    rows = np.random.default_rng(1).normal(size=(25, 3))
    distances = [[float(((a - b) ** 2).sum()) for b in rows] for a in rows]
    radius = np.quantile([distances[i][j] for i in range(25) for j in range(25) if i != j], SHARE)
    counts = np.asarray([sum(d < radius for d in row) for row in distances])
    levels = triage(rows, np.zeros(25, dtype=np.int64))
    assert len(np.unique(levels)) == 3
    for level in range(2):
        assert counts[levels == level].min() > counts[levels == level + 1].max()


def test_equal_rows_are_easy() -> None:
    assert (triage(np.ones((20, 2)), np.zeros(20, dtype=np.int64)) == EASY).all()
