"""Dice and Hausdorff distance of the structures in label maps, of images and of whole volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..core.types import IGNORE, BoolArray, FloatArray, LabelMap
from ..errors import InputError


def dice(predicted: BoolArray, truth: BoolArray) -> float:
    """2 |A and B| / (|A| + |B|) of two structures of one shape, in [0, 1]; nan where both are empty."""
    total = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / total if total else math.nan


def hd95(predicted: BoolArray, truth: BoolArray, spacing: Sequence[float]) -> float:
    """95th percentile of the distances between two surfaces, the larger of both directions, in the unit of `spacing`.

    A surface is the pixels of a structure with a neighbour that is not, or at the edge of the image. spacing (D,):
    from pixel to pixel along each axis. nan where both structures are empty; where only one is, the diagonal of the
    image, so that a missed structure counts.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    if len(spacing) != truth.ndim or not all(0 < s < math.inf for s in spacing):
        raise InputError("hd95.spacing", f"{truth.ndim} lengths above 0", str(list(spacing)))
    if not predicted.any() and not truth.any():
        return math.nan
    if not predicted.any() or not truth.any():
        return math.hypot(*(n * s for n, s in zip(truth.shape, spacing, strict=True)))
    surfaces = [shape & ~binary_erosion(shape) for shape in (predicted, truth)]
    distances = [distance_transform_edt(~surface, sampling=spacing) for surface in surfaces]
    return max(float(np.percentile(distances[1][surfaces[0]], 95)), float(np.percentile(distances[0][surfaces[1]], 95)))


def structures(predicted: LabelMap, truth: LabelMap, classes: int, spacing: Sequence[float]) -> FloatArray:
    """Dice and hd95 (2, C - 1) of every class but the background, for the label maps of one image or volume.

    Pixels of unknown class (`IGNORE` in the truth) are background in both maps.
    """
    predicted_map = np.where(truth == IGNORE, 0, predicted)
    true_map = np.where(truth == IGNORE, 0, truth)
    rows = []
    for c in range(1, classes):
        box = _around((predicted_map == c) | (true_map == c))
        predicted_box, true_box = predicted_map[box] == c, true_map[box] == c
        if predicted_box.any() != true_box.any():
            distance = hd95(predicted_map == c, true_map == c, spacing)
        else:
            distance = hd95(predicted_box, true_box, spacing)
        rows.append((dice(predicted_box, true_box), distance))
    return np.asarray(rows, dtype=np.float64).T


def _around(shape: BoolArray) -> tuple[slice, ...]:
    """The box of a structure and one pixel around it, if the image has it, so that surfaces stay the same."""
    if not shape.any():
        return tuple(slice(0, 1) for _ in shape.shape)
    slices = []
    for axis in range(shape.ndim):
        occupied = np.flatnonzero(shape.any(axis=tuple(a for a in range(shape.ndim) if a != axis)))
        slices.append(slice(max(int(occupied[0]) - 1, 0), int(occupied[-1]) + 2))
    return tuple(slices)


def mean_structures(rows: Sequence[FloatArray], names: Sequence[str]) -> dict[str, float]:
    """Means over U images or volumes of `structures`, each (2, C - 1); `names` of all classes, the background first.

    `dice/<name>` and `hd95/<name>` are means over the images that have the structure, true or predicted; `dice` and
    `hd95` are the means of these over the structures. A structure that no image has is missing.
    """
    means: dict[str, float] = {}
    for place, metric in enumerate(("dice", "hd95")):
        values = np.stack([row[place] for row in rows]) if rows else np.zeros((0, len(names) - 1))
        by_class = {
            f"{metric}/{name}": float(np.nanmean(column))
            for name, column in zip(names[1:], values.T, strict=True)
            if np.isfinite(column).any()
        }
        if by_class:
            means |= {metric: float(np.mean(list(by_class.values()))), **by_class}
    return means
