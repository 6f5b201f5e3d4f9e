"""Points, scribbles and clicks on regions from a mask, as a simulated annotator gives them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.ndimage import distance_transform_edt, label

from ..core.types import IGNORE, BoolArray, LabelMap
from ..data.boxes import TOUCHING


def points(labels: LabelMap) -> LabelMap:
    """Label map (H, W) of points: the innermost pixel of each structure, and as many pixels of the background.

    A structure is a connected piece of one class. Each point of the background is the farthest from all structures and
    from the points before it. Bearman et al., What's the Point (ECCV 2016), ask for one point an object.
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
    """Label map (H, W) of scribbles: the skeleton of each class, the background included.

    As Valvano et al. simulate scribbles, Learning to Segment from Scribbles using Multi-scale Adversarial Attention
    Gates (TMI 2021).
    """
    from skimage.morphology import skeletonize

    out: LabelMap = np.full(labels.shape, IGNORE, dtype=np.uint8)
    for c in np.unique(labels[labels != IGNORE]).tolist():
        out[skeletonize(labels == c)] = c  # type: ignore[no-untyped-call]
    return out


def dominant(labels: LabelMap, regions: Iterable[BoolArray]) -> LabelMap:
    """Label map (H, W) in which each region (H, W) has one class, that of most of its known pixels; else `IGNORE`.

    Of equals the smaller class. One click says as much: Cai et al., Revisiting Superpixels for Active Learning in
    Semantic Segmentation with Realistic Annotation Costs (CVPR 2021), section 3.2.
    """
    out: LabelMap = np.full(labels.shape, IGNORE, dtype=np.uint8)
    for region in regions:
        counts = np.bincount(labels[region], minlength=IGNORE)[:IGNORE]
        if counts.any():
            out[region] = counts.argmax()
    return out


def strokes(labels: LabelMap) -> int:
    """Number of connected pieces of the labeled pixels of a label map (H, W), class by class: clicks or strokes."""
    return sum(label(labels == c, TOUCHING)[1] for c in np.unique(labels[labels != IGNORE]).tolist())


def _deepest(shape: BoolArray) -> tuple[int, int]:
    """The pixel of a shape (H, W) farthest from the pixels outside it, of equals the first; the image edge is none."""
    depth = distance_transform_edt(shape) if not shape.all() else np.ones(shape.shape)
    row, column = np.unravel_index(int(np.argmax(depth)), shape.shape)
    return int(row), int(column)
