"""Reads COCO: instances as polygons or runs of pixels, and the names of their categories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...core.types import BoolArray
from ...errors import InputError
from .base import Drawing, Mark, digest_of, objects
from .shapes import Edges, from_runs, union, unpack_coco


def is_coco(value: object) -> bool:
    """Whether a value of JSON is that of a COCO file."""
    return isinstance(value, dict) and {"images", "annotations", "categories"} <= value.keys()


def drawings(path: Path, value: dict[str, Any]) -> list[Drawing]:
    """What a COCO file draws on each image that it lists, in its order; a later annotation lies on an earlier one.

    InputError for annotations of images or categories that it does not list, and for what is no shape of COCO.
    """
    images = objects(path, "images", value["images"])
    names = {_id(c): str(c.get("name")) for c in objects(path, "categories", value["categories"])}
    by_image: dict[object, list[dict[str, Any]]] = {}
    for annotation in objects(path, "annotations", value["annotations"]):
        by_image.setdefault(_id(annotation, "image_id"), []).append(annotation)
    first: dict[object, str] = {}
    for image in images:
        name, other = str(image.get("file_name")), first.get(_id(image))
        if other is not None:
            raise InputError(path, "an id for each image", f"{image.get('id')!r} of {other} and of {name}")
        first[_id(image)] = name
    if strangers := [key for key in by_image if key not in first]:
        raise InputError(path, "annotations of its images", f"one of image {strangers[0]!r}, which it does not list")
    return [_drawing(path, image, by_image.get(_id(image), []), names) for image in images]


def _id(one: dict[str, Any], key: str = "id") -> object:
    value = one.get(key)
    return value if isinstance(value, str | int | None) else repr(value)


def _drawing(path: Path, image: dict[str, Any], annotations: list[dict[str, Any]], names: dict[object, str]) -> Drawing:
    name = str(image.get("file_name"))
    marks = []
    for annotation in annotations:
        own = f"annotation {annotation.get('id')}"
        where = f"{path}, {own} of {name}"
        if _id(annotation, "category_id") not in names:
            raise InputError(where, "a category that the file lists", repr(annotation.get("category_id")))
        label = names[_id(annotation, "category_id")]
        try:
            marks.append(Mark(label, _box(annotation.get("bbox")), _area(annotation.get("segmentation")), own))
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise InputError(where, "a box, polygons or a mask as COCO has them", str(error)) from error
    height, width = image.get("height"), image.get("width")
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    shapes = [annotation.get("segmentation") for annotation in annotations]
    return Drawing(name, size, tuple(marks), digest_of(size, [mark.label for mark in marks], shapes))


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
