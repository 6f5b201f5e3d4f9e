"""COCO: boxes, polygons and masks of instances in one JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from ...core.types import AnnotationKind, BoolArray
from ...data.drawn.coco import drawings, is_coco
from ...data.drawn.shapes import Edges, bounds, fill, outlines, runs
from ..base import NONE, SKIP
from .base import BOXES, Asked, Given, Sheet, given_of, structures, write_images
from .content import Content

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
        return is_coco(content.json)

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
        return [given_of(drawing.image, drawing) for drawing in drawings(content.path, content.json)]


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
