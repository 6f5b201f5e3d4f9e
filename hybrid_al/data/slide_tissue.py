"""Where a slide is tissue, by a small map of its saturation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..core.types import BoolArray, FloatArray
from .otsu import otsu
from .slides import NEAR, Pyramid, Slide

if TYPE_CHECKING:
    from .tiles import Grid

TISSUE = "1"
"""Raise it when other tiles are tissue than before: findings about files are kept under it."""

MAX_SCAN = 10**10  # pixels that are read to find tissue
MAP = 4096  # pixels of the longer side of the map
ACROSS = 16  # pixels of it that a tile has
READ = 1024  # pixels of a level from side to side that are read at a time
LEAST, MOST = 12, 40
"""Saturations between which the threshold lies: glass has less, and of stained tissue little has less than 40."""


def tissue_map(slide: Slide, side: float) -> BoolArray:
    """Where a slide (H, W) is tissue: one pixel for several of the slide, which is read block by block.

    side  of a tile in pixels of level 0, which the map must resolve

    Tissue is more saturated than Otsu's threshold of the slide: its brightest channel lies farther above the darkest.
    Neither glass nor what was not scanned, white or black, has any. ValueError where too much would have to be read.
    """
    pyramid = slide.pyramid
    width, height = pyramid.levels[0]
    scale = max(1.0, max(width, height) / MAP, side / ACROSS)
    level = max(k for k in range(len(pyramid.levels)) if k == 0 or max(pyramid.scale(k)) <= NEAR * scale)
    across, down = pyramid.scale(level)
    level_width, level_height = pyramid.levels[level]
    if level_width * level_height > MAX_SCAN:
        came = f"level {level} of {level_width} x {level_height} is the smallest"
        raise ValueError(f"too large to look for tissue, as {came}: data.tissue: 0 would keep all tiles")
    saturation = np.empty((math.ceil(height / scale), math.ceil(width / scale)), dtype=np.uint8)
    step = max(1, int(READ * max(across, down) / scale))
    for top in range(0, saturation.shape[0], step):
        for left in range(0, saturation.shape[1], step):
            block = saturation[top : top + step, left : left + step]
            size = (
                min(level_width, max(1, round(block.shape[1] * scale / across))),
                min(level_height, max(1, round(block.shape[0] * scale / down))),
            )
            colours = Image.fromarray(slide.region(round(left * scale), round(top * scale), level, *size))
            small = np.asarray(colours.resize(block.shape[::-1], Image.Resampling.BOX))
            block[:] = small.max(axis=2) - small.min(axis=2)
    threshold = otsu(np.bincount(saturation.ravel(), minlength=256))
    return np.asarray(saturation > min(max(threshold, LEAST), MOST))


def shares(tissue: BoolArray, slide: Pyramid, grid: Grid) -> FloatArray:
    """The share of each tile (N,) that is tissue, by the map of the slide."""
    width, height = slide.levels[0]
    sums = np.zeros((tissue.shape[0] + 1, tissue.shape[1] + 1), dtype=np.int32)
    sums[1:, 1:] = tissue.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32)
    edges = []
    for count, step, side, full, size in (
        (grid.rows, grid.step[1], grid.side[1], height, tissue.shape[0]),
        (grid.columns, grid.step[0], grid.side[0], width, tissue.shape[1]),
    ):
        first = np.arange(count) * step
        low = np.rint(first * size / full).astype(np.int64).clip(0, size - 1)
        high = np.rint((first + side) * size / full).astype(np.int64)
        edges.append((low, high.clip(low + 1, size)))
    (top, bottom), (left, right) = edges
    inside = sums[bottom][:, right] - sums[top][:, right] - sums[bottom][:, left] + sums[top][:, left]
    area = (bottom - top)[:, None] * (right - left)[None, :]
    return np.asarray(inside / area, dtype=np.float64).ravel()
