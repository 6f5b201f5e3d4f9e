"""Points and scribbles in the place of a mask, as a simulated annotator would give them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, label

from ..core.types import IGNORE, BoolArray, LabelMap
from ..data.boxes import TOUCHING


def points(labels: LabelMap) -> LabelMap:
    """A label map (H, W) of which single pixels are left: the deepest of each structure, and as many of the background.

    A structure is a connected piece of one class; each point of the background is the farthest from all that is no
    background and from those before it. Bearman et al., What's the Point (ECCV 2016), ask for one point an object.
    """
    out: LabelMap = np.full(labels.shape, IGNORE, dtype=np.uint8)
    for c in np.unique(labels[(labels != 0) & (labels != IGNORE)]).tolist():
        pieces, count = label(labels == c, TOUCHING)
        for piece in range(1, count + 1):
            out[_deepest(pieces == piece)] = c
    free = labels == 0
    for _ in range(max(int((out != IGNORE).sum()), 1)):
        if free.any():
            place = _deepest(free)
            out[place], free[place] = 0, False
    return out


def scribbles(labels: LabelMap) -> LabelMap:
    """A label map (H, W) of which the skeleton of each class is left, the background's too.

    As scribbles are simulated from masks by Valvano et al., Learning to Segment from Scribbles using Multi-scale
    Adversarial Attention Gates (TMI 2021).
    """
    from skimage.morphology import skeletonize

    out: LabelMap = np.full(labels.shape, IGNORE, dtype=np.uint8)
    for c in np.unique(labels[labels != IGNORE]).tolist():
        out[skeletonize(labels == c)] = c  # type: ignore[no-untyped-call]
    return out


def strokes(labels: LabelMap) -> int:
    """Connected pieces of what is known in a label map (H, W), class by class: clicks, or strokes of a pen."""
    return sum(label(labels == c, TOUCHING)[1] for c in np.unique(labels[labels != IGNORE]).tolist())


def _deepest(shape: BoolArray) -> tuple[int, int]:
    """The pixel of a shape (H, W) farthest from all others, of equals the first; beyond the image is nothing."""
    depth = distance_transform_edt(shape) if not shape.all() else np.ones(shape.shape)
    row, column = np.unravel_index(int(np.argmax(depth)), shape.shape)
    return int(row), int(column)
