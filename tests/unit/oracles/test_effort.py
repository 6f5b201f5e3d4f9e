"""Lengths of outlines, and clicks, of shapes that one can see through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybrid_al.core.labels import LabelStore
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import IGNORE, Annotation, LabelMap
from hybrid_al.data.answers import write_answer
from hybrid_al.data.stores.masks import MaskStore
from hybrid_al.oracles.effort import TOLERANCE, clicks, clicks_of, costs
from hybrid_al.regions.base import Regions, Whole
from hybrid_al.scores.samples import outlines


def label_map(*boxes: tuple[int, int, int, int, int]) -> LabelMap:
    labels: LabelMap = np.zeros((16, 20), dtype=np.uint8)
    for c, top, left, bottom, right in boxes:
        labels[top:bottom, left:right] = c
    return labels


def length_of(labels: LabelMap) -> int:
    return int(outlines(labels).sum())


@pytest.mark.parametrize(
    ("labels", "length", "number"),
    [
        (label_map(), 0, 0),
        (label_map((1, 2, 3, 8, 12)), 2 * (6 + 9) - 4, 4),
        (label_map((1, 2, 3, 8, 12), (0, 4, 6, 6, 9)), 2 * (6 + 9) - 4 + 10, 8),  # a hole
        (label_map((1, 2, 3, 8, 12), (1, 10, 14, 13, 18)), 26 + 10, 8),
        (label_map((1, 2, 3, 8, 8), (2, 2, 8, 8, 13)), 2 * (2 * (6 + 5) - 4), 8),  # both outlines
        (label_map((1, 0, 0, 16, 20)), 0, 0),  # nothing is left to be told apart
        (label_map((1, 0, 0, 6, 20)), 20, 2),  # from one side of the image to the other
        (label_map((1, 0, 5, 6, 12)), 2 * 6 + 7 - 2, 4),
        (label_map((1, 5, 5, 6, 6)), 1, 3),
    ],
)
def test_rectangles_cost_their_corners(labels: LabelMap, length: int, number: int) -> None:
    assert (length_of(labels), clicks(labels)) == (length, number)


def test_what_is_unknown_is_not_outlined() -> None:
    labels = label_map((1, 2, 3, 8, 12))
    labels[:, 8:] = IGNORE
    assert length_of(labels) == 5 + 5 + 4 and clicks(labels) == 4
    assert clicks(np.full((4, 4), IGNORE, dtype=np.uint8)) == 0


def test_a_disc_takes_few_clicks_and_all_its_outline_is_near_them() -> None:
    i, j = np.mgrid[:41, :41]
    disc = (np.hypot(i - 20, j - 20) <= 15).astype(np.uint8)
    # a chord of a circle of radius 15 lies at most 1 pixel inside over 2 acos(14 / 15): 9 of them go round
    assert 8 <= clicks(disc) <= 20 and TOLERANCE == 1.0
    assert clicks(np.kron(disc, np.ones((2, 2), dtype=np.uint8))) > clicks(disc) - 2


def test_pieces_that_touch_at_a_corner_are_all_outlined() -> None:
    labels = label_map((1, 2, 3, 6, 8), (1, 6, 8, 10, 13))
    assert length_of(labels) == 2 * (2 * (4 + 5) - 4) and 6 <= clicks(labels) <= 8


def test_clicks_of_what_is_drawn(tmp_path: Path) -> None:
    """A rectangle in the left half, of whole images and of halves; one image has no answer."""
    run, square = RunDir(tmp_path), np.zeros((16, 16), dtype=np.uint8)
    square[4:8, 2:6] = 1
    halves = np.repeat(np.repeat([[0, 1]], 16, axis=0), 8, axis=1).astype(np.uint8)
    regions = Regions(lambda samples: np.stack([halves] * len(samples)), np.full((2, 2), 128))
    answer = Annotation(1, "mask", write_answer(run, 0, 1, square), "me", 0, region=(1, 0))
    labels = LabelStore(2).add([answer])
    assert clicks_of(run, 16, labels, Whole(np.arange(2))).tolist() == [-1, 4]
    assert clicks_of(run, 16, labels, regions).tolist() == [-1, -1, 4, 0]


def test_a_mask_of_a_source_is_drawn_whole() -> None:
    """A rectangle across both halves: one outline, or one in each half, which is open where the halves meet."""
    square = np.zeros((1, 16, 16), dtype=np.uint8)
    square[0, 4:8, 6:10] = 1
    halves = np.repeat(np.repeat([[0, 1]], 16, axis=0), 8, axis=1).astype(np.uint8)
    parts = Regions(lambda samples: np.stack([halves] * len(samples)), np.full((1, 2), 128))
    masks = MaskStore(np.asarray([0]), square, np.bincount(square.ravel(), minlength=256), "")
    found = []
    for region in (None, (0, 1)):
        labels = LabelStore(1).add([Annotation(0, "mask", "a.png", "given", 0, region=region)])
        found.append(costs(labels, masks, 2, parts)["cost/clicks"])
    of_halves = [clicks(np.where(halves == part, square[0], IGNORE).astype(np.uint8)) for part in (0, 1)]
    assert found == [4, sum(of_halves)] and sum(of_halves) > 4
