"""How well structures are found: Dice and Hausdorff distance of label maps, of images and of whole volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..core.types import IGNORE, BoolArray, FloatArray, LabelMap
from ..errors import InputError


def dice(predicted: BoolArray, truth: BoolArray) -> float:
    """2 |A and B| / (|A| + |B|) of two structures of one shape, in [0, 1]; nan where both are empty."""
    either = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / either if either else math.nan


def hd95(predicted: BoolArray, truth: BoolArray, spacing: Sequence[float]) -> float:
    """95th percentile of the distances between two surfaces, the larger of both directions, in the unit of `spacing`.

    A surface is what of a structure lies beside something else, beside the edge of the image too. spacing (D,) from
    pixel to pixel along each axis. nan where both structures are empty; where one is, the diagonal of the image, so
    that a structure that was missed does not pass unnoticed.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    if len(spacing) != truth.ndim or not all(0 < s < math.inf for s in spacing):
        raise InputError("hd95.spacing", f"{truth.ndim} lengths above 0", str(list(spacing)))
    if not predicted.any() and not truth.any():
        return math.nan
    if not predicted.any() or not truth.any():
        return math.hypot(*(n * s for n, s in zip(truth.shape, spacing, strict=True)))
    surfaces = [shape & ~binary_erosion(shape) for shape in (predicted, truth)]
    away = [distance_transform_edt(~surface, sampling=spacing) for surface in surfaces]
    return max(float(np.percentile(away[1][surfaces[0]], 95)), float(np.percentile(away[0][surfaces[1]], 95)))


def structures(predicted: LabelMap, truth: LabelMap, classes: int, spacing: Sequence[float]) -> FloatArray:
    """Dice and hd95 (2, C - 1) of every class but the background, of label maps of one image or volume.

    What nobody knows (`IGNORE` in the truth) is background in both.
    """
    shown = np.where(truth == IGNORE, 0, predicted)
    known = np.where(truth == IGNORE, 0, truth)
    rows = []
    for c in range(1, classes):
        box = _around((shown == c) | (known == c))
        ours, theirs = shown[box] == c, known[box] == c
        far = hd95(shown == c, known == c, spacing) if ours.any() != theirs.any() else hd95(ours, theirs, spacing)
        rows.append((dice(ours, theirs), far))
    return np.asarray(rows, dtype=np.float64).T


def _around(shape: BoolArray) -> tuple[slice, ...]:
    """The box of a structure with one pixel around it, where the image has one: surfaces are the same in it."""
    if not shape.any():
        return tuple(slice(0, 1) for _ in shape.shape)
    found = []
    for axis in range(shape.ndim):
        there = np.flatnonzero(shape.any(axis=tuple(a for a in range(shape.ndim) if a != axis)))
        found.append(slice(max(int(there[0]) - 1, 0), int(there[-1]) + 2))
    return tuple(found)


def averaged(rows: Sequence[FloatArray], names: Sequence[str]) -> dict[str, float]:
    """Means over images or volumes of `structures` (U times (2, C - 1)); names of all classes, the background first.

    `dice/<name>` and `hd95/<name>` over the units in which the structure is or was seen; `dice` and `hd95` are the
    means of these over the structures. A structure of no unit is left out.
    """
    found: dict[str, float] = {}
    for place, metric in enumerate(("dice", "hd95")):
        values = np.stack([row[place] for row in rows]) if rows else np.zeros((0, len(names) - 1))
        each = {
            f"{metric}/{name}": float(np.nanmean(column))
            for name, column in zip(names[1:], values.T, strict=True)
            if np.isfinite(column).any()
        }
        if each:
            found |= {metric: float(np.mean(list(each.values()))), **each}
    return found
