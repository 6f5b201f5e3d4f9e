"""What it takes to draw label maps: the length of outlines, the clicks of polygons, and what all answers cost."""

from __future__ import annotations

import numpy as np

from ..core.labels import LabelStore
from ..core.types import IGNORE, BoolArray, FloatArray, LabelMap
from ..data.stores.masks import MaskStore
from ..regions.base import Parts
from ..scores.samples import outlines

TOLERANCE = 1.0  # pixels that a polygon may lie beside the outline

SIDES = (((-1, 0), (0, 0), (0, 1)), ((0, 1), (0, 1), (1, 1)), ((1, 0), (1, 1), (1, 0)), ((0, -1), (1, 0), (0, 0)))
"""Of each side of a pixel: the neighbour beyond it, and the corners it leads from and to, clockwise."""


def clicks(labels: LabelMap) -> int:
    """Vertices of the polygons that follow the outlines of all structures of a label map (H, W).

    They lie at most `TOLERANCE` beside the outline, by Douglas and Peucker, Algorithms for the Reduction of the Number
    of Points Required to Represent a Digitized Line (1973). An outline that meets the end of the image, or of what is
    known of it, is an open line, whose ends are clicked too. A closed one takes 3 at least, a rectangle 4.
    """
    known, total = labels != IGNORE, 0
    for c in np.unique(labels[known & (labels > 0)]).tolist():
        total += sum(_vertices(line) for line in _lines(labels == c, known))
    return total


def _lines(shape: BoolArray, known: BoolArray) -> list[FloatArray]:
    """The outlines of a shape (H, W) as corners of pixels (V, 2), open ones first; of a closed one the first is last.

    At a corner where two pixels of the shape touch, either way on is taken.
    """
    ways: dict[tuple[int, int], list[tuple[int, int]]] = {}
    arriving: dict[tuple[int, int], int] = {}
    framed, open_ = np.pad(shape, 1), np.pad(known & ~shape, 1)
    for (down, right), start, end in SIDES:
        beyond = np.roll(open_, (-down, -right), axis=(0, 1))
        for i, j in np.argwhere(framed & beyond).tolist():
            ways.setdefault((i + start[0], j + start[1]), []).append((i + end[0], j + end[1]))
            arriving[i + end[0], j + end[1]] = arriving.get((i + end[0], j + end[1]), 0) + 1
    ends = [corner for corner, on in ways.items() for _ in range(len(on) - arriving.get(corner, 0))]
    found = list[FloatArray]()
    for corner in [*ends, *ways]:
        while ways[corner]:
            line = [corner]
            while ways.get(line[-1]):
                line.append(ways[line[-1]].pop())
            found.append(np.asarray(line, dtype=np.float64))
    return found


def _vertices(line: FloatArray) -> int:
    """Corners of a line (V, 2) that a polygon within `TOLERANCE` keeps; a closed one starts at an outermost corner."""
    if (line[0] != line[-1]).any():
        return _kept(line)
    corners = line[:-1]
    first = int(np.square(corners - corners.mean(axis=0)).sum(axis=1).argmax())
    corners = np.roll(corners, -first, axis=0)
    middle = int(np.square(corners - corners[0]).sum(axis=1).argmax())
    return max(_kept(corners[: middle + 1]) + _kept(np.concatenate([corners[middle:], corners[:1]])) - 2, 3)


def _kept(line: FloatArray) -> int:
    """Corners that Douglas-Peucker keeps of an open line (V, 2), its ends among them."""
    parts, kept = [(0, len(line) - 1)], 2
    while parts:
        start, end = parts.pop()
        if end - start < 2:
            continue
        between, way = line[start + 1 : end] - line[start], line[end] - line[start]
        away = np.abs(between[:, 0] * way[1] - between[:, 1] * way[0]) / max(float(np.hypot(*way)), 1e-9)
        farthest = int(away.argmax())
        if away[farthest] > TOLERANCE:
            kept += 1
            parts += [(start, start + 1 + farthest), (start + 1 + farthest, end)]
    return kept


def costs(labels: LabelStore, masks: MaskStore, classes: int, parts: Parts | None) -> dict[str, float]:
    """What is labeled, in the size of the network: `cost/images`, `cost/pixels`, ...

    Images; their known pixels, and those that are no background; pixels of outlines (`samples.outlines`); clicks, of
    polygons around the structures of masks (`clicks`), else those that the answers say (`Annotation.cost`).
    Where `parts` of images are asked about they are drawn one by one: no outline goes on in the next part.
    """
    pixels, length, clicked = masks.pixels[:classes], 0, 0.0
    asked = None if parts is None else parts.query_masks(labels)
    for i, known in zip(masks.samples.tolist(), masks.maps, strict=True):
        answer = labels.current[i]
        clicked += 0 if answer.kind == "mask" else answer.cost
        for drawn in [known] if asked is None else [np.where(part, known, IGNORE) for part in asked(i)]:
            length += int(outlines(drawn).sum())
            clicked += clicks(drawn) if answer.kind == "mask" else 0
    return {
        "cost/images": float(len(masks)),
        "cost/pixels": float(pixels.sum()),
        "cost/foreground": float(pixels[1:].sum()),
        "cost/boundary": float(length),
        "cost/clicks": clicked,
    }
