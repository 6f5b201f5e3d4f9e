"""Boxes of adaptive size, on maps that one can see through."""

from __future__ import annotations

import numpy as np
import torch

from hybrid_al.regions.components import Components


def boxes_of(uncertainty: np.ndarray, proposer: Components, blocked: np.ndarray | None = None) -> list[list[int]]:
    size = len(uncertainty)
    second = uncertainty / 2  # of two classes: 1 - (first - second) = 2 second
    probs = torch.from_numpy(np.stack([1 - second, second])[None, None])
    none = np.zeros((size, size), dtype=np.bool_)
    frame = torch.tensor([[0, 0, size, size]])
    boxes = proposer.boxes(probs, frame, torch.from_numpy(none if blocked is None else blocked)[None])
    return [box for box in boxes[0].tolist() if box[2] > box[0]]


def bump() -> np.ndarray:
    """A pyramid of height .9 with a base of 12 x 8 pixels at rows 4 to 15, columns 10 to 17, in a map of 32."""
    values, rows, columns = np.zeros((32, 32)), np.arange(32)[:, None], np.arange(32)
    depth = np.minimum(np.minimum(rows - 3, 16 - rows) / 6, np.minimum(columns - 9, 18 - columns) / 4)
    return values + 0.9 * np.clip(depth, 0, 1)


def test_a_box_is_that_of_a_piece_of_the_wanted_size() -> None:
    """At the first threshold that is tried the pyramid is cut to a box between 4 and 12 pixels a side."""
    values, proposer = bump(), Components(side=8, most=1, tail=0.1)
    low = np.quantile(values, 0.9)
    rows, columns = np.nonzero(values >= (low + values.max()) / 2)
    assert boxes_of(values, proposer) == [[rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]]


def test_too_large_pieces_are_cut_higher_and_too_small_ones_get_a_square() -> None:
    box = boxes_of(bump(), Components(side=4, most=1, tail=0.2))[0]
    assert max(box[2] - box[0], box[3] - box[1]) <= 6 and min(box[2] - box[0], box[3] - box[1]) >= 2
    point = np.zeros((20, 20))
    point[10, 19] = 0.8
    assert boxes_of(point, Components(side=6, most=1, tail=0.001)) == [[7, 16, 13, 20]]


def test_boxes_overlap_nothing_and_end_when_nothing_is_free() -> None:
    rng = np.random.default_rng(0)
    blocked = np.zeros((24, 24), dtype=np.bool_)
    blocked[:10] = True
    boxes = boxes_of(rng.random((24, 24)), Components(side=5, most=12), blocked)
    covered = blocked.astype(np.int64)
    for top, left, bottom, right in boxes:
        covered[top:bottom, left:right] += 1
    assert boxes and covered.max() == 1
    assert not boxes_of(rng.random((24, 24)), Components(side=5), np.ones((24, 24), dtype=np.bool_))
