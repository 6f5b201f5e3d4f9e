"""Boxes around the structures of a label map."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import find_objects, label

from ..core.types import IGNORE, IntArray, LabelMap

TOUCHING = np.ones((3, 3), dtype=np.int64)  # pixels touch at their corners too


def boxes(labels: LabelMap) -> IntArray:
    """The bounding boxes of the structures in a label map (H, W): rows (class, top, left, bottom, right).

    A structure is a connected piece of one class; `bottom` and `right` are the first row and column beyond.
    """
    corners = [
        (c, rows.start, columns.start, rows.stop, columns.stop)
        for c in np.unique(labels[(labels != 0) & (labels != IGNORE)]).tolist()
        for rows, columns in find_objects(label(labels == c, TOUCHING)[0])
    ]
    return np.asarray(corners, dtype=np.int64).reshape(-1, 5)


def outside(labels: LabelMap) -> LabelMap:
    """A label map (H, W) with `IGNORE` in the boxes of its structures: only the background remains."""
    return background(labels, boxes(labels))


def background(labels: LabelMap, rows: IntArray) -> LabelMap:
    """A label map (H, W) with `IGNORE` in the boxes (n, 5)."""
    out = labels.copy()
    for _, top, left, bottom, right in rows.tolist():
        out[top:bottom, left:right] = IGNORE
    return out
