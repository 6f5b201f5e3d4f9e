"""A member of a committee for masks learns from a bootstrap of the labeled images."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from hybrid_al.learners.segment import SegmentLearner
from hybrid_al.train import Schedule


def drawn(seed: int, *, bootstrap: bool) -> set[int]:
    """Images of a few batches of a training."""
    objective = SimpleNamespace(uses_unlabeled=False)
    inputs = SimpleNamespace(labeled=lambda ids, *_: ids)
    learner: Any = SimpleNamespace(
        objective=objective, inputs=inputs, source=None, schedule=Schedule(batch=4, bootstrap=bootstrap)
    )
    batches = SegmentLearner._batches(learner, Masks(np.arange(10, 18)), np.arange(3), seed, extent=True, boxes=None)  # type: ignore[arg-type]
    return {i for _, (ids, _, _) in zip(range(8), batches, strict=False) for i in ids.tolist()}


class Masks:
    """Label maps by their samples alone."""

    def __init__(self, samples: np.ndarray) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)


def test_members_see_a_part_of_the_labels_each() -> None:
    every = set(range(10, 18))
    parts = [drawn(seed, bootstrap=True) for seed in range(4)]
    assert drawn(0, bootstrap=False) == every and all(part < every for part in parts)
    assert parts[0] == drawn(0, bootstrap=True) and len({frozenset(part) for part in parts}) > 1
