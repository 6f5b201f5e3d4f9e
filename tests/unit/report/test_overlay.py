"""Overlays: what is drawn where."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from hybrid_al.core.types import IGNORE, LabelMap
from hybrid_al.report.overlay import BRIGHTNESS, MISSED, RIGHT, SIDE, TINT, WRONG, draw, thumbnail


def draw_pixels(pixels: np.ndarray, truth: LabelMap, ours: LabelMap) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(draw(pixels, truth, ours)))).astype(int)


def test_a_dark_image_is_stretched() -> None:
    pixels = np.linspace(4, 20, 32 * 32).reshape(32, 32, 1).round().astype(np.uint8)
    nothing = np.zeros((32, 32), dtype=np.uint8)
    picture = draw_pixels(pixels, nothing, nothing)
    assert picture[-8:].min() > BRIGHTNESS * 235 and picture[:4].max() < 15


def test_what_is_missed_wrong_and_right_has_its_colour() -> None:
    """Rows of 4: right, missed, seen where nothing is, another structure, and what nobody knows."""
    truth, ours = np.zeros((32, 16), dtype=np.uint8), np.zeros((32, 16), dtype=np.uint8)
    for row, (true, prediction) in enumerate(((1, 1), (2, 0), (0, 1), (1, 2), (IGNORE, 1))):
        truth[6 * row : 6 * row + 5, 4:12], ours[6 * row : 6 * row + 5, 4:12] = true, prediction
    picture = draw_pixels(np.full((32, 16, 3), 90, dtype=np.uint8), truth, ours)
    scale = SIDE // 32
    assert picture.shape == (SIDE, SIDE // 2, 3)
    plain = BRIGHTNESS * np.full(3, 90)
    tints = {colour: (1 - TINT) * plain + TINT * np.asarray(colour) for colour in (MISSED, WRONG)}
    middles = [picture[scale * (6 * row + 2) + 4, scale * 8] for row in range(5)]
    expected = [plain, tints[MISSED], tints[WRONG], tints[WRONG], plain]
    for prediction, colour in zip(middles, expected, strict=True):
        assert abs(prediction - colour).max() < 25
    assert abs(picture[scale * 2 + 4, scale * 4] - RIGHT).max() < 90  # the outline of both
    assert abs(picture[scale * 2 + 4, scale // 2] - plain).max() < 12
    unknown = picture[24 * scale : 29 * scale, 4 * scale : 12 * scale]  # not even an outline
    assert abs(unknown[scale // 2 :] - plain).max() < 25


@pytest.mark.parametrize("channels", [1, 3])
def test_a_thumbnail_is_small_and_a_dark_one_is_brightened(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 60, (96, 48, channels)).astype(np.uint8)
    for image, bright in ((pixels, True), (pixels + np.uint8(120), False)):
        with Image.open(io.BytesIO(thumbnail(image))) as picture:
            assert picture.size == (32, 64) and picture.mode == ("L" if channels == 1 else "RGB")
            assert (np.asarray(picture).mean() > 1.5 * image.mean()) == bright
