"""Points and scribbles: right by construction on shapes that one can see through."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_al.core.types import IGNORE, LabelMap
from hybrid_al.oracles.simulated import ANSWERS
from hybrid_al.oracles.weak import dominant, points, scribbles, strokes


def shapes() -> LabelMap:
    """Two squares of class 1, one of which touches a square of class 2 at a corner, and padding."""
    labels: LabelMap = np.zeros((20, 24), dtype=np.uint8)
    labels[2:7, 2:7], labels[12:17, 4:9], labels[17:20, 9:12] = 1, 1, 2
    labels[:, 22:] = IGNORE
    return labels


def test_points_lie_deepest_in_each_structure_and_as_many_in_the_background() -> None:
    labels, label_map = shapes(), points(shapes())
    assert label_map[4, 4] == label_map[14, 6] == 1 and label_map[18, 10] == 2
    assert [(label_map == c).sum() for c in (0, 1, 2)] == [3, 2, 1] and strokes(label_map) == 6
    assert (label_map[label_map != IGNORE] == labels[label_map != IGNORE]).all()
    others = np.argwhere((labels != 0) & (labels != IGNORE) | (labels == IGNORE))
    depth = {(i, j): min(np.hypot(i - a, j - b) for a, b in others) for i, j in np.argwhere(labels == 0)}
    assert max(depth, key=lambda place: depth[place]) in {(int(i), int(j)) for i, j in np.argwhere(label_map == 0)}


def test_an_image_of_background_alone_gets_one_point() -> None:
    label_map = points(np.zeros((5, 5), dtype=np.uint8))
    assert (label_map == 0).sum() == 1 and (label_map == IGNORE).sum() == 24


def test_a_structure_that_fills_the_image_gets_one_point() -> None:
    label_map = points(np.full((5, 5), 1, dtype=np.uint8))
    assert (label_map == 1).sum() == 1 and (label_map == IGNORE).sum() == 24


def test_scribbles_are_thin_and_lie_in_every_structure() -> None:
    labels, label_map = shapes(), scribbles(shapes())
    labeled = label_map != IGNORE
    assert (label_map[labeled] == labels[labeled]).all() and labeled.sum() < 0.25 * labels.size
    for box in (np.s_[2:7, 2:7], np.s_[12:17, 4:9], np.s_[17:20, 9:12]):
        assert labeled[box].any() and not labeled[box].all()
    assert (label_map == 0).any() and not labeled[:, 22:].any()


@pytest.mark.parametrize("name", ANSWERS)
def test_what_nobody_knows_stays_unknown(name: str) -> None:
    assert (ANSWERS[name].pixel_labels(np.full((4, 4), IGNORE, dtype=np.uint8)) == IGNORE).all()


def test_strokes_are_the_pieces_of_each_class() -> None:
    labels: LabelMap = np.full((6, 6), IGNORE, dtype=np.uint8)
    labels[0, 0], labels[1, 1], labels[0, 4], labels[4, :3], labels[5, 3] = 1, 1, 1, 0, 2
    assert strokes(labels) == 2 + 1 + 1


def test_a_region_has_the_class_of_most_of_its_known_pixels() -> None:
    labels: LabelMap = np.asarray([[1, 1, 2, 0], [2, IGNORE, IGNORE, 0], [2, 1, IGNORE, IGNORE]], dtype=np.uint8)
    columns = np.arange(4) * np.ones((3, 1), dtype=np.int64)
    label_map = dominant(labels, [columns == 0, columns == 1, columns == 2])
    assert label_map.T.tolist() == [[2] * 3, [1] * 3, [2] * 3, [IGNORE] * 3]
    assert dominant(np.asarray([[2, 1]], dtype=np.uint8), [np.ones((1, 2), dtype=np.bool_)]).tolist() == [[1, 1]]
