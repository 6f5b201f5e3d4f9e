"""Boxes as answers: where they lie, which of their rows and columns a view shows, and the loss, against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hybrid_al.core.types import IGNORE, IntArray, LabelMap
from hybrid_al.data.boxes import boxes, outside
from hybrid_al.semi.dense.base import LabeledPixels, labeled_loss
from hybrid_al.semi.dense.boxes import lines, tightness

SIDE, CLASSES = 8, 3
NONE: IntArray = np.empty((0, 5), dtype=np.int64)


def shapes() -> LabelMap:
    """A diagonal of class 1, whose pixels touch at corners, a square of 2 with a pixel of 1 in its box, padding."""
    labels: LabelMap = np.zeros((SIDE, SIDE), dtype=np.uint8)
    labels[1, 1] = labels[2, 2] = labels[3, 3] = 1
    labels[4:7, 2:6], labels[5, 3] = 2, 1
    labels[:, 7] = IGNORE
    return labels


def test_boxes_are_those_of_connected_pieces() -> None:
    assert boxes(shapes()).tolist() == [[1, 1, 1, 4, 4], [1, 5, 3, 6, 4], [2, 4, 2, 7, 6]]
    assert (
        boxes(np.full((4, 4), IGNORE, dtype=np.uint8)).shape == boxes(np.zeros((4, 4), dtype=np.uint8)).shape == (0, 5)
    )


def test_only_what_lies_in_no_box_is_known() -> None:
    labels, background = shapes(), outside(shapes())
    for i in range(SIDE):
        for j in range(SIDE):
            boxed = any(t <= i < b and le <= j < r for _, t, le, b, r in boxes(labels).tolist())
            assert background[i, j] == (IGNORE if boxed or j == 7 else 0)


def views(seed: int) -> torch.Tensor:
    """Where pixels of views (5, SIDE, SIDE) come from: plain, mirrored, turned, shifted with boxes cut, mixed."""
    plain = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    shifted = plain[np.clip(np.arange(SIDE) + 2, 0, SIDE - 1)][:, np.clip(np.arange(SIDE) - 3, 0, SIDE - 1)]
    mixed = np.random.default_rng(seed).integers(0, SIDE * SIDE, (SIDE, SIDE))
    return torch.from_numpy(np.stack([plain, plain[:, ::-1], plain.T, shifted, mixed]))


def view_boxes() -> list[IntArray]:
    full = np.asarray([[1, 0, 0, SIDE, SIDE]])
    return [boxes(shapes()), boxes(shapes()), np.concatenate([boxes(shapes()), full]), boxes(shapes()), full]


def slow_lines(place: np.ndarray, rows: IntArray) -> list[tuple[int, set[int]]]:
    """(class, pixels of the view) of each row and column that is shown from end to end."""
    segments = []
    flat = place.ravel().tolist()
    for c, top, left, bottom, right in rows.tolist():
        across = [[(i, j) for j in range(left, right)] for i in range(top, bottom)]
        down = [[(i, j) for i in range(top, bottom)] for j in range(left, right)]
        for line in (*across, *down):
            pixels = [i * SIDE + j for i, j in line]
            if pixels[0] in flat and pixels[-1] in flat:
                segments.append((c, {k for k, p in enumerate(flat) if p in pixels}))
    return segments


def test_lines_are_the_rows_and_columns_that_a_view_shows_from_end_to_end() -> None:
    place, box_sets = views(0), view_boxes()
    fast = lines(place, box_sets, SIDE)
    ours: list[tuple[int, int, set[int]]] = []
    for k in range(fast.count):
        on_line = fast.line == k
        image, channel = int(fast.image[on_line][0]), int(fast.channel[on_line][0])
        assert (fast.image[on_line] == image).all() and (fast.channel[on_line] == channel).all()
        ours.append((image, channel, set(fast.pixel[on_line].tolist())))
    slow = [(b, *line) for b in range(len(box_sets)) for line in slow_lines(place[b].numpy(), box_sets[b])]

    def ordered(segments: list[tuple[int, int, set[int]]]) -> list[tuple[int, int, list[int]]]:
        return sorted((b, c, sorted(pixels)) for b, c, pixels in segments)

    assert ordered(ours) == ordered(slow)
    per_view = [sum(b == image for image, *_ in slow) for b in range(5)]
    assert per_view[0] == per_view[1] == 6 + 2 + 7 and per_view[2] == 15 + 2 * SIDE and 0 < per_view[3] < 15


def test_the_loss_equals_the_slow_reference() -> None:
    place, box_sets = views(1), view_boxes()
    logits = torch.randn(5, CLASSES, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).double()
    p = logits.softmax(dim=1).flatten(2).numpy()
    terms = [
        -math.log(max(p[b, c, k] for k in pixels))
        for b in range(5)
        for c, pixels in slow_lines(place[b].numpy(), box_sets[b])
    ]
    assert tightness(logits, lines(place, box_sets, SIDE)).item() == pytest.approx(np.mean(terms), rel=1e-9)
    y = torch.from_numpy(outside(shapes())).long().expand(5, SIDE, SIDE)
    background_terms = [-math.log(p[b, 0, i * SIDE + j]) for b in range(5) for i, j in np.argwhere(y[0].numpy() == 0)]
    labeled = LabeledPixels(torch.zeros(0), y, extent=False, boxes=lines(place, box_sets, SIDE))
    assert labeled_loss(logits, labeled).item() == pytest.approx(np.mean(background_terms) + np.mean(terms), rel=1e-9)


def test_pixels_of_which_nothing_is_known_send_exactly_no_gradient() -> None:
    """Inside a box all but the best of a row or column, and all of a box that is cut off at both ends of its lines."""
    place, box_sets = views(0)[:1], [boxes(shapes())]
    y = torch.from_numpy(outside(shapes())).long().unsqueeze(0)
    logits = torch.randn(1, CLASSES, SIDE, SIDE, generator=torch.Generator().manual_seed(3), requires_grad=True)
    labeled_loss(logits, LabeledPixels(torch.zeros(0), y, extent=False, boxes=lines(place, box_sets, SIDE))).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    sent = (logits.grad.abs().sum(dim=1) > 0)[0].numpy()
    p = logits.detach().softmax(dim=1)[0].flatten(1).numpy()
    best = {max(pixels, key=lambda k: p[c, k]) for c, pixels in slow_lines(place[0].numpy(), box_sets[0])}
    for i in range(SIDE):
        for j in range(SIDE):
            assert sent[i, j] == (y[0, i, j] == 0 or i * SIDE + j in best)


def test_without_boxes_there_is_nothing_to_be_tight() -> None:
    logits = torch.randn(2, CLASSES, SIDE, SIDE, requires_grad=True)
    loss = tightness(logits, lines(views(0)[:2], [NONE, NONE], SIDE))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()
