"""The effort of label maps: the length of outlines, the clicks of polygons, and the costs of all answers."""

from __future__ import annotations

import numpy as np

from ..core.labels import LabelStore
from ..core.rundir import RunDir
from ..core.types import IGNORE, BoolArray, FloatArray, LabelMap
from ..data.answers import read_answer
from ..data.masks import resize_mask
from ..data.stores.masks import MaskStore
from ..regions.base import Parts, Regions, Whole
from ..scores.samples import outlines

TOLERANCE = 1.0  # largest distance of a polygon from the outline, in pixels

SECONDS_A_CLICK = 1.75
"""Of a click on an outline: 7 s for the four of a box, Papadopoulos et al., Extreme clicking (ICCV 2017)."""
BOX_CLICKS = 4

SIDES = (((-1, 0), (0, 0), (0, 1)), ((0, 1), (0, 1), (1, 1)), ((1, 0), (1, 1), (1, 0)), ((0, -1), (1, 0), (0, 0)))
"""For each side of a pixel: the offset of the neighbour there, and the corners where it starts and ends, clockwise."""


def clicks(labels: LabelMap) -> int:
    """Number of vertices of the polygons around all structures of a label map (H, W).

    The polygons are within `TOLERANCE` of the outlines, by Douglas and Peucker, Algorithms for the Reduction of the
    Number of Points Required to Represent a Digitized Line (1973). An outline that meets the edge of the image, or of
    its labeled pixels, is an open line, whose ends are clicked too. A closed outline takes at least 3, a rectangle 4.
    """
    labeled, total = labels != IGNORE, 0
    for c in np.unique(labels[labeled & (labels > 0)]).tolist():
        total += sum(_vertices(line) for line in _lines(labels == c, labeled))
    return total


def _lines(shape: BoolArray, labeled: BoolArray) -> list[FloatArray]:
    """The outlines of a shape (H, W) as corners of pixels (V, 2), open ones first; a closed one ends where it starts.

    At a corner where two pixels of the shape touch, the line may go on either way.
    """
    edges: dict[tuple[int, int], list[tuple[int, int]]] = {}
    arrivals: dict[tuple[int, int], int] = {}
    framed, outside = np.pad(shape, 1), np.pad(labeled & ~shape, 1)
    for (down, right), start, end in SIDES:
        neighbours = np.roll(outside, (-down, -right), axis=(0, 1))
        for i, j in np.argwhere(framed & neighbours).tolist():
            edges.setdefault((i + start[0], j + start[1]), []).append((i + end[0], j + end[1]))
            arrivals[i + end[0], j + end[1]] = arrivals.get((i + end[0], j + end[1]), 0) + 1
    line_ends = [corner for corner, ends in edges.items() for _ in range(len(ends) - arrivals.get(corner, 0))]
    lines = list[FloatArray]()
    for corner in [*line_ends, *edges]:
        while edges[corner]:
            line = [corner]
            while edges.get(line[-1]):
                line.append(edges[line[-1]].pop())
            lines.append(np.asarray(line, dtype=np.float64))
    return lines


def _vertices(line: FloatArray) -> int:
    """Corners of a polygon within `TOLERANCE` of a line (V, 2), counted; a closed one starts at an outermost corner."""
    if (line[0] != line[-1]).any():
        return _corner_count(line)
    corners = line[:-1]
    first = int(np.square(corners - corners.mean(axis=0)).sum(axis=1).argmax())
    corners = np.roll(corners, -first, axis=0)
    middle = int(np.square(corners - corners[0]).sum(axis=1).argmax())
    halves = corners[: middle + 1], np.concatenate([corners[middle:], corners[:1]])
    return max(sum(map(_corner_count, halves)) - 2, 3)


def _corner_count(line: FloatArray) -> int:
    """Number of corners, with both ends, that Douglas-Peucker keeps of an open line (V, 2)."""
    parts, count = [(0, len(line) - 1)], 2
    while parts:
        start, end = parts.pop()
        if end - start < 2:
            continue
        offsets, direction = line[start + 1 : end] - line[start], line[end] - line[start]
        areas = np.abs(offsets[:, 0] * direction[1] - offsets[:, 1] * direction[0])
        distances = areas / max(float(np.hypot(*direction)), 1e-9)
        farthest = int(distances.argmax())
        if distances[farthest] > TOLERANCE:
            count += 1
            parts += [(start, start + 1 + farthest), (start + 1 + farthest, end)]
    return count


def clicks_of(run: RunDir, size: int, labels: LabelStore, regions: Regions | Whole) -> FloatArray:
    """Clicks of each drawn region (N * parts,), or image, in the size of the network; -1 of what is not drawn."""
    values = np.full(labels.n * regions.parts, -1.0)
    for i in regions.labels(labels).labeled.tolist():
        answer = labels.current[i // regions.parts]
        if answer.kind == "mask":
            label_map = resize_mask(read_answer(run.path / str(answer.target)), size)
            pixels = label_map if isinstance(regions, Whole) else np.where(regions.mask_of(i), label_map, IGNORE)
            values[i] = clicks(pixels.astype(np.uint8))
    return values


def costs(labels: LabelStore, masks: MaskStore, classes: int, parts: Parts | None) -> dict[str, float]:
    """The costs of all answers, in the size of the network, by metric.

    cost/images      labeled images
    cost/pixels      their labeled pixels
    cost/foreground  labeled pixels that are no background
    cost/boundary    pixels of outlines (`samples.outlines`)
    cost/clicks      of the polygons around the structures of masks (`clicks`); one a region where an answer is its
                     class alone; of other answers, `Annotation.cost`

    Where `parts` of images are asked about, each is drawn alone: no outline continues in the next part. A mask of a
    source is given whole.
    """
    pixels, boundary, total_clicks = masks.pixels[:classes], 0, 0.0
    masks_of = None if parts is None else parts.query_masks(labels)
    for i, label_map in zip(masks.samples.tolist(), masks.maps, strict=True):
        answer = labels.current[i]
        pieces = [label_map]
        if masks_of is not None and answer.region is not None:
            pieces = [np.where(mask, label_map, IGNORE) for mask in masks_of(i)]
        if answer.kind != "mask":
            total_clicks += answer.cost if masks_of is None else len(pieces)
        for piece in pieces:
            boundary += int(outlines(piece).sum())
            total_clicks += clicks(piece) if answer.kind == "mask" else 0
    return {
        "cost/images": float(len(masks)),
        "cost/pixels": float(pixels.sum()),
        "cost/foreground": float(pixels[1:].sum()),
        "cost/boundary": float(boundary),
        "cost/clicks": total_clicks,
    }
