"""The two-level choice on points that one can see through."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hybrid_al.core.embeddings import Embeddings
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies.two_level import TwoLevel

# four images near 0 and three near 100, each of four points in two pairs; the pairs of an image lie `apart`
CENTRES, APART = [0.0, 3.0, 6.0, 9.0, 100.0, 103.0, 106.0], [8.0, 8.0, 2.0, 8.0, 8.0, 2.0, 8.0]
POINTS = np.asarray(
    [c + side * a / 2 + d for c, a in zip(CENTRES, APART, strict=True) for side in (-1, 1) for d in (-0.5, 0.5)]
)
GROUPS = np.repeat(np.arange(7), 4)


def state(*labeled: int) -> QueryState:
    labels = LabelStore(28).add([Annotation(i, "class", 0, "me", 0) for i in labeled])
    vectors = np.stack([POINTS, np.zeros(28)], axis=1).astype(np.float32)
    return QueryState(
        round=0,
        labels=labels,
        candidates=np.setdiff1d(np.arange(28), labels.labeled),
        groups=GROUPS,
        classes=2,
        embeddings=Embeddings(vectors, "e", "m"),
    )


def images(made: QueryState, budget: int, within: int = 1) -> list[int]:
    picks = TwoLevel(within).select(made, budget, np.random.default_rng(0)).indices
    assert len(set(picks.tolist())) == budget and np.isin(picks, made.candidates).all()
    return [int(image) for image in GROUPS[picks]]


def test_the_image_in_the_middle_that_is_even_within_stands_for_its_cluster() -> None:
    """With one centre the spread is a / 2: image 2 is 1.5 from the centre and 1 wide, image 1 as near and 4 wide."""
    assert images(state(), 2) == [2, 5]


def test_samples_of_an_image_lie_across_it() -> None:
    picks = TwoLevel(2).select(state(), 4, np.random.default_rng(0)).indices
    for image in set(GROUPS[picks].tolist()):
        left, right = sorted(POINTS[picks[GROUPS[picks] == image]])
        assert left < CENTRES[image] < right


def test_clusters_with_labels_come_later_and_all_can_be_asked() -> None:
    assert all(image >= 4 for image in images(state(0, 4, 8), 1))
    assert sorted(images(state(0), 27, within=3)) == GROUPS[1:].tolist()
    assert len(images(replace(state(), groups=np.arange(28)), 5, within=4)) == 5
