"""COCO: boxes, polygons and masks of instances in one JSON file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.types import AnnotationKind, BoolArray
from ...errors import InputError
from ..base import NONE, SKIP
from .base import BOXES, Asked, Edges, Given, Mark, Sheet, structures, write_images
from .content import Content, objects
from .shapes import bounds, fill, from_runs, outlines, runs, union, unpack_coco

FILE = "instances.json"


class Coco:
    """Images in a folder, categories and proposals in a JSON file."""

    TOOL: ClassVar[str] = "tools that read and write COCO"
    KINDS: ClassVar[tuple[AnnotationKind, ...]] = ("mask", "scribble", *BOXES)
    STEPS: ClassVar[tuple[str, ...]] = (
        f"load images/ and {FILE}, which names the categories and has the proposals of the model",
        f"an image without anything to draw: one box of category {NONE}; one that nobody can answer: {SKIP}",
        "export as COCO 1.0 (instances)",
    )

    @staticmethod
    def claims(content: Content) -> bool:
        """See `Format.claims`."""
        value = content.json
        return isinstance(value, dict) and {"images", "annotations", "categories"} <= value.keys()

    @staticmethod
    def write(sheet: Sheet, folder: Path) -> None:
        """See `Format.write`."""
        write_images(sheet, folder)
        names = [*sheet.labels, NONE, SKIP]
        images = [
            {"id": k + 1, "file_name": f"{item.name}.png", "height": item.size[0], "width": item.size[1]}
            for k, item in enumerate(sheet.items)
        ]
        annotations: list[dict[str, Any]] = []
        for image, item in zip(images, sheet.items, strict=True):
            if item.proposal is None:
                continue
            shapes: list[tuple[str, Edges, object]] = []
            if sheet.kind == "box":
                shapes = [(name, edges, []) for name, edges in item.proposal.boxes]
            if sheet.kind == "mask":
                shapes = [(n, bounds(m), s) for n, mask in structures(item.proposal, sheet) for m, s in _parts(mask)]
            for name, (left, top, right, bottom), segmentation in shapes:
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": image["id"], "category_id": names.index(name) + 1,
                     "bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top),
                     "segmentation": segmentation, "iscrowd": int(isinstance(segmentation, dict))}
                )  # fmt: skip
        value = {
            "info": {"description": f"{sheet.run} round {sheet.round}"},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": k + 1, "name": name, "supercategory": ""} for k, name in enumerate(names)],
        }
        (folder / FILE).write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")

    @staticmethod
    def read(content: Content, asked: Asked) -> Sequence[Given]:
        """See `Format.read`; a later annotation lies on an earlier one."""
        path, value = content.path, content.json
        images = objects(path, "images", value["images"])
        names = {c.get("id"): str(c.get("name")) for c in objects(path, "categories", value["categories"])}
        by_image: dict[object, list[dict[str, Any]]] = {}
        for annotation in objects(path, "annotations", value["annotations"]):
            by_image.setdefault(annotation.get("image_id"), []).append(annotation)
        ids = {image.get("id") for image in images}
        if strangers := [key for key in by_image if key not in ids]:
            raise InputError(
                path, "annotations of its images", f"one of image {strangers[0]!r}, which it does not list"
            )
        return [_given(path, image, by_image.get(image.get("id"), []), names) for image in images]


def _parts(mask: BoolArray) -> list[tuple[BoolArray, object]]:
    """The connected pieces of a mask, each with its outline, or with its runs where it has a hole."""
    parts: list[tuple[BoolArray, object]] = []
    for rings in outlines(mask):
        piece = fill(rings, *mask.shape)
        if len(rings) == 1:
            parts.append((piece, [[float(v) for point in rings[0] for v in point]]))
        else:
            parts.append((piece, {"size": list(mask.shape), "counts": runs(piece.ravel(order="F"))}))
    return parts


def _given(path: Path, image: dict[str, Any], annotations: list[dict[str, Any]], names: dict[object, str]) -> Given:
    name = str(image.get("file_name"))
    words: list[str] = []
    marks: list[Mark] = []
    for annotation in annotations:
        where = f"{path}, annotation {annotation.get('id')} of {name}"
        if annotation.get("category_id") not in names:
            raise InputError(where, "a category that the file lists", repr(annotation.get("category_id")))
        label = names[annotation["category_id"]]
        if label in (NONE, SKIP):
            words.append(label)
            continue
        try:
            marks.append(Mark(label, _box(annotation.get("bbox")), _area(annotation.get("segmentation"))))
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(where, "a box, polygons or a mask as COCO has them", str(error)) from error
    size = image.get("height"), image.get("width")
    known = (size[0], size[1]) if isinstance(size[0], int) and isinstance(size[1], int) else None
    return Given(name, name, known, tuple(dict.fromkeys(words)), tuple(marks))


def _box(bbox: object) -> Edges | None:
    if not isinstance(bbox, list) or len(bbox) != 4:
        return None
    left, top, width, height = map(float, bbox)
    return left, top, left + width, top + height


def _area(segmentation: object) -> Callable[[int, int], BoolArray] | None:
    """What draws polygons, each a list x, y, x, y, ..., or runs of pixels column by column, packed in a text or not."""
    if isinstance(segmentation, list) and segmentation:
        numbers = [np.asarray(polygon, dtype=np.float64) for polygon in segmentation]
        if any(n.ndim != 1 or len(n) % 2 or len(n) < 6 for n in numbers):
            raise ValueError("a polygon that is no list of x, y of three corners or more")
        return union([[[(x, y) for x, y in n.reshape(-1, 2).tolist()]] for n in numbers])
    if isinstance(segmentation, dict):
        counts, size = segmentation["counts"], segmentation["size"]
        lengths = unpack_coco(counts) if isinstance(counts, str) else list(map(int, counts))

        def draw(height: int, width: int) -> BoolArray:
            if list(size) != [height, width]:
                raise ValueError(f"a mask of size {size}, expected {[height, width]}")
            return from_runs(lengths, height * width).reshape(width, height).T

        return draw
    return None
