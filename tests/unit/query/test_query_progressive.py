"""Entropy with progressive diversity: within an image, between images, and quotas of rare classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation, IntArray, PredictionBatch
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import ProgressiveDiversity
from hybrid_al.query.synthetic import make_state

PROBS = np.array([[0.5, 0.4, 0.1], [0.55, 0.35, 0.1], [0.6, 0.3, 0.1], [0.2, 0.1, 0.7], [0.9, 0.05, 0.05], [0, 0, 1.0]])
FEATURES = np.array([[1, 0.0], [1, 0.1], [0, 1], [1, 0], [-1, 0], [0, 1]])
GROUPS = np.array([0, 0, 0, 1, 1, 2])


def state_of(labels: tuple[int, ...]) -> QueryState:
    """Six candidates, of falling entropy but for the last classes, and behind them a sample of each label."""
    n = 6 + len(labels)
    store = LabelStore(n, tuple(Annotation(6 + i, "class", c, "t", 0) for i, c in enumerate(labels)))

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        yield PredictionBatch(indices, PROBS[indices][:, None], FEATURES[indices], (np.ones((3, 2)), np.zeros(3)))

    return replace(
        make_state(n, labeled=0, held_out=0),
        labels=store,
        candidates=np.arange(6),
        groups=np.concatenate([GROUPS, np.full(len(labels), 9)]),
        predictor=predict,
    )


def picks(budget: int, labels: tuple[int, ...] = (0, 1, 2), **settings: float) -> list[int]:
    query = ProgressiveDiversity(**settings).select(state_of(labels), budget, np.random.default_rng(0))
    return [int(i) for i in query.indices]


def test_repetition_comes_last() -> None:
    """Sample 1 is like 0 in its image; nothing else repeats. By entropy: 0, 1, 2, 3, 4, 5."""
    assert picks(4, rare=0.0) == [0, 2, 3, 4]
    assert picks(6, rare=0.0) == [0, 2, 3, 4, 5, 1]
    assert picks(3, rare=0.0, within=1.0, between=1.0) == [0, 1, 2]


def test_a_pick_of_another_image_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples 3 and 5 have class 2: 5, which is like 3 now, waits; so does 1, of more entropy."""
    monkeypatch.setitem(globals(), "FEATURES", np.concatenate([FEATURES[:5], [[1, 0.2]]]))
    assert picks(5, rare=0.0) == [0, 2, 3, 4, 1]


def test_rare_classes_have_quotas() -> None:
    """Class 2 has no label: of 4 picks, 3 are its quota, and 2 candidates have a probability of 0.3 of it."""
    assert picks(4, (0, 0, 1), rare=0.4) == [3, 5, 0, 2]
    assert picks(2, (0, 0, 1), rare=0.4) == [3, 0]
    assert ProgressiveDiversity().quotas(np.array([5, 1, 0, 3, 9, 2]), 9).tolist() == [0, 2, 2, 0, 0, 2]
