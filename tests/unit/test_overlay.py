"""Overlays: which pixels an outline takes, against a slow reference, and what is drawn there."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from hybrid_al.track.overlay import BOTH, PREDICTED, SIDE, TRUTH, draw, edges
from hybrid_al.types import IGNORE, LabelMap


def slow_edges(labels: LabelMap) -> list[list[bool]]:
    height, width = labels.shape
    found = []
    for y in range(height):
        row = []
        for x in range(width):
            near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            inside = [labels[a, b] for a, b in near if 0 <= a < height and 0 <= b < width]
            own = labels[y, x]
            row.append(own not in (0, IGNORE) and any(n not in (own, IGNORE) for n in inside))
        found.append(row)
    return found


def test_an_outline_is_where_a_structure_ends() -> None:
    for seed in range(5):
        labels: LabelMap = np.random.default_rng(seed).choice([0, 1, 2, IGNORE], (6, 9)).astype(np.uint8)
        assert edges(labels).tolist() == slow_edges(labels)


def test_a_dark_image_is_stretched() -> None:
    pixels = np.linspace(4, 20, 32 * 32).reshape(32, 32, 1).round().astype(np.uint8)
    nothing = np.zeros((32, 32), dtype=np.uint8)
    picture = np.asarray(Image.open(io.BytesIO(draw(pixels, nothing, nothing)))).astype(int)
    assert picture[-8:].min() > 230 and picture[:4].max() < 15


def test_truth_prediction_and_both_have_their_colours() -> None:
    truth, ours = np.zeros((16, 16), dtype=np.uint8), np.zeros((16, 16), dtype=np.uint8)
    truth[2:8, 2:8], ours[2:8, 2:14] = 1, 1
    picture = np.asarray(Image.open(io.BytesIO(draw(np.full((16, 16, 1), 90, dtype=np.uint8), truth, ours))))
    assert picture.shape == (SIDE, SIDE, 3)
    scale = SIDE // 16
    for (y, x), colour in {(2 * scale, 5 * scale): BOTH, (5 * scale, 8 * scale - 1): TRUTH}.items():
        near = picture[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).astype(int)
        assert (abs(near - colour).sum(axis=1) < 250).any()
    assert abs(picture[5 * scale, 14 * scale - 1].astype(int) - PREDICTED).sum() < 250
    assert abs(picture[scale // 2, scale // 2].astype(int) - 90).max() < 12
