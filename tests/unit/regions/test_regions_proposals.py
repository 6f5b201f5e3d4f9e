"""Boxes that follow the model, against all windows of all pixels, one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hybrid_al.errors import InputError
from hybrid_al.regions.proposals import BOXES, Peaks, Points, Ripu, window_sums
from hybrid_al.scores import samples as scores

B, C, H, W = 3, 3, 13, 13
FRAMES = np.asarray([[0, 0, H, W], [2, 0, 11, W], [0, 4, H, 10]])
Box = tuple[int, int, int, int]
Grow = Callable[[Box, float, np.ndarray], Box]


def predictions(seed: int = 0, samples: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(B * samples, C, 4, 4, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, (H, W), mode="bilinear") * 4
    noise = torch.randn(B * samples, C, H, W, generator=generator) / 4
    return (fine + noise).softmax(dim=1).view(B, samples, C, H, W)


def blocked_pixels() -> np.ndarray:
    blocked = np.zeros((B, H, W), dtype=np.bool_)
    blocked[0, 3:7, 2:6] = blocked[1, 5, 5] = True
    return blocked


def window(row: int, column: int, side: int, frame: np.ndarray) -> Box:
    """What of the window of a pixel lies in the picture."""
    top, left, bottom, right = frame.tolist()
    start, first = row - side // 2, column - side // 2
    return max(start, top), max(first, left), min(start + side, bottom), min(first + side, right)


def slowly(
    value: Callable[[int, int], float], frame: np.ndarray, blocked: np.ndarray, side: int, most: int, grow: Grow | None
) -> list[Box]:
    """The best window without a blocked pixel, then again with the pixels of that window blocked."""
    boxes, blocked = list[Box](), blocked.copy()
    for _ in range(most):
        best: tuple[float, Box] | None = None
        for row in range(int(frame[0]), int(frame[2])):
            for column in range(int(frame[1]), int(frame[3])):
                top, left, bottom, right = box = window(row, column, side, frame)
                if not blocked[top:bottom, left:right].any() and (best is None or value(row, column) > best[0]):
                    best = value(row, column), box
        if best is None:
            break
        top, left, bottom, right = box = best[1] if grow is None else grow(best[1], best[0], blocked)
        assert not blocked[top:bottom, left:right].any()
        blocked[top:bottom, left:right] = True
        boxes.append(box)
    return boxes


def grow_slowly(box: Box, free: np.ndarray, frame: np.ndarray, least: float, largest: int) -> Box:
    """One line more above, below, left and right in turn, until none is left that is uncertain enough."""
    edges, moved = list(box), True
    while moved:
        moved = False
        for side in (0, 2, 1, 3):
            longer = edges.copy()
            longer[side] += 1 if side >= 2 else -1
            outside = longer[side] < frame[side] if side < 2 else longer[side] > frame[side]
            if outside or longer[2] - longer[0] > largest or longer[3] - longer[1] > largest:
                continue
            line = longer.copy()
            line[(side + 2) % 4] = edges[side]
            top, left, bottom, right = line
            if free[top:bottom, left:right].mean() >= least:
                edges, moved = longer, True
    top, left, bottom, right = edges
    return top, left, bottom, right


def listed(boxes: torch.Tensor) -> list[Box]:
    rows = [(int(t), int(n), int(b), int(r)) for t, n, b, r in boxes.tolist()]
    there = [row for row in rows if row[0] < row[2] and row[1] < row[3]]
    assert rows[: len(there)] == there  # those that are none come last
    return there


def boxes_of(proposer: Ripu | Peaks, probs: torch.Tensor, blocked: np.ndarray) -> torch.Tensor:
    return proposer.boxes(probs, torch.from_numpy(FRAMES), torch.from_numpy(blocked))


@pytest.mark.parametrize("side", [1, 2, 4, 5, 13])
@pytest.mark.parametrize("most", [3, 30])
def test_windows_are_the_best_of_all_that_do_not_overlap(side: int, most: int) -> None:
    probs, blocked = predictions(samples=2), blocked_pixels()
    boxes = boxes_of(Ripu(side, most), probs, blocked)
    assert boxes.shape == (B, most, 4)
    for b in range(B):
        pixels_SCHW = probs[b].double().numpy()

        def value(row: int, column: int, pixels_SCHW: np.ndarray = pixels_SCHW, b: int = b) -> float:
            top, left, bottom, right = window(row, column, side, FRAMES[b])
            inside = pixels_SCHW[:, :, top:bottom, left:right].reshape(1, 2, C, -1)
            score = float(scores.ripu(inside)[0])
            uncertain = float(scores.entropy(np.moveaxis(inside[0], 2, 0)).mean())
            return score if score > 0 else uncertain - 2  # after all others, the most uncertain first

        assert listed(boxes[b]) == slowly(value, FRAMES[b], blocked[b], side, most, None)


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize(
    "proposer", [Peaks(4, 6), Peaks((2, 7), 8), Peaks((1, 5), 40, 0.8, 1), Peaks((3, 13), 5, 0.2, 4)]
)
def test_boxes_grow_around_the_peaks(proposer: Peaks, samples: int) -> None:
    probs, blocked = predictions(1, samples), blocked_pixels()
    boxes = boxes_of(proposer, probs, blocked)
    for b in range(B):
        mean = probs[b].double().numpy().mean(axis=0)
        entropy = scores.entropy(np.moveaxis(mean, 0, 2).reshape(-1, 1, C)).reshape(H, W)
        smooth = np.full((H, W), np.nan)
        for row in range(int(FRAMES[b, 0]), int(FRAMES[b, 2])):
            for column in range(int(FRAMES[b, 1]), int(FRAMES[b, 3])):
                top, left, bottom, right = window(row, column, proposer.smooth, FRAMES[b])
                smooth[row, column] = entropy[top:bottom, left:right].mean()

        def grow(box: Box, peak: float, occupied: np.ndarray, smooth: np.ndarray = smooth, b: int = b) -> Box:
            return grow_slowly(
                box, np.where(occupied, -np.inf, smooth), FRAMES[b], proposer.share * peak, proposer.largest
            )

        expected = slowly(
            lambda row, column, s=smooth: float(s[row, column]),  # type: ignore[misc]
            FRAMES[b],
            blocked[b],
            proposer.smallest,
            proposer.most,
            grow if proposer.largest > proposer.smallest else None,
        )
        assert listed(boxes[b]) == expected


@pytest.mark.parametrize("proposer", [Ripu(3, 9), Peaks((2, 5), 9)])
def test_where_all_is_blocked_there_is_no_box_and_where_nothing_is_there_are(proposer: Ripu | Peaks) -> None:
    blocked = np.zeros((B, H, W), dtype=np.bool_)
    blocked[1] = True
    boxes = boxes_of(proposer, predictions(), blocked)
    assert [len(listed(rows)) for rows in boxes][1] == 0 < min(len(listed(boxes[0])), len(listed(boxes[2])))
    assert not boxes[1].any()


def test_where_one_class_is_predicted_the_most_uncertain_windows_are_taken() -> None:
    probs = torch.full((B, 1, 2, H, W), 0.01)
    probs[:, :, 0] = 0.99
    probs[:, :, :, 6, 7] = torch.tensor([0.6, 0.4]).view(1, 1, 2)
    boxes = boxes_of(Ripu(3, 2), probs, np.zeros((B, H, W), dtype=np.bool_))
    for top, left, bottom, right in boxes[:, 0].tolist():
        assert top <= 6 < bottom and left <= 7 < right


@pytest.mark.parametrize("side", [1, 2, 5, 9])
def test_sums_over_windows_equal_the_slow_reference(side: int) -> None:
    values = torch.rand(2, 2, 6, 7, generator=torch.Generator().manual_seed(0))
    sums, frame = window_sums(values, side), np.asarray([0, 0, 6, 7])
    for row in range(6):
        for column in range(7):
            top, left, bottom, right = window(row, column, side, frame)
            expected = values[:, :, top:bottom, left:right].sum(dim=(2, 3))
            torch.testing.assert_close(sums[:, :, row, column], expected)


@pytest.mark.parametrize(
    ("name", "bad", "expected"),
    [
        ("ripu", {"side": 0}, "side: expected a whole number of 1 or more, got 0"),
        ("ripu", {"most": 255}, "most: expected a whole number of 1 to 254, got 255"),
        ("peaks", {"side": (9, 4)}, "side: expected a largest side of 9 or more, got 4"),
        ("peaks", {"side": (0, 4)}, "side: expected .*a whole number of 1 or more"),
        ("peaks", {"share": 0.0}, "share: expected a number above 0 and up to 1, got 0.0"),
        ("peaks", {"smooth": 0}, "smooth: expected a whole number of 1 or more"),
        ("peaks", {"most": 0}, "most: expected a whole number of 1 to 254"),
    ],
)
def test_boxes_that_cannot_be_are_refused(name: str, bad: dict[str, object], expected: str) -> None:
    with pytest.raises(InputError, match=rf"{BOXES[name].__name__}\.{expected}"):
        BOXES[name](**bad)


def test_points_are_single_uncertain_pixels_that_lie_apart() -> None:
    """The two most uncertain pixels are side by side: one of them is asked about; an earlier point keeps others off."""
    probs = torch.full((1, 1, 2, 12, 12), 0.1)
    probs[:, :, 1] = 0.9
    for k, (i, j) in enumerate([(2, 2), (2, 3), (8, 9), (10, 2)]):
        probs[0, 0, 0, i, j], probs[0, 0, 1, i, j] = 0.5 - 0.01 * k, 0.5 + 0.01 * k
    blocked = torch.zeros(1, 12, 12, dtype=torch.bool)
    blocked[0, 9, 3] = True
    frame = torch.tensor([[0, 0, 12, 12]])
    boxes = Points(most=2, apart=3).boxes(probs, frame, blocked)[0].tolist()
    assert boxes == [[2, 2, 3, 3], [8, 9, 9, 10]]
