"""CVAT for images 1.1: tags, boxes, polygons and masks in one XML file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

import numpy as np

from ...core.types import AnnotationKind, BoolArray
from ...data.drawn.base import Mark
from ...data.drawn.shapes import bounds, dot, fill, from_runs, runs
from ...errors import InputError
from ..base import NONE, SKIP
from .base import KINDS, WORDS, Asked, Given, Item, Sheet, colour, structures, write_images
from .content import Content

FILE, LABELS = "annotations.xml", "labels.json"


class Cvat:
    """Images in a folder, labels to paste into a project, and proposals to upload."""

    TOOL: ClassVar[str] = "CVAT"
    KINDS: ClassVar[tuple[AnnotationKind, ...]] = KINDS
    STEPS: ClassVar[tuple[str, ...]] = (
        f"make a task with the images of images/; its labels > Raw: the text of {LABELS}",
        f"Actions > Upload annotations > CVAT 1.1: {FILE}, which has the proposals of the model",
        f"an image without anything to draw: the tag {NONE}; one that nobody can answer: the tag {SKIP}",
        "Actions > Export task dataset > CVAT for images 1.1",
    )

    @staticmethod
    def claims(content: Content) -> bool:
        """See `Format.claims`."""
        return content.xml is not None and content.xml.tag == "annotations"

    @staticmethod
    def write(sheet: Sheet, folder: Path) -> None:
        """See `Format.write`."""
        write_images(sheet, folder)
        names = tuple(dict.fromkeys((*sheet.labels, NONE, SKIP))) if sheet.kind != "class" else sheet.labels
        kinds = [{"name": n, "color": colour(k), "type": "any", "attributes": []} for k, n in enumerate(names)]
        (folder / LABELS).write_text(json.dumps(kinds, ensure_ascii=False, indent=1), encoding="utf-8")
        root = ElementTree.Element("annotations")
        ElementTree.SubElement(root, "version").text = "1.1"
        for k, item in enumerate(sheet.items):
            height, width = map(str, item.size)
            image = ElementTree.SubElement(
                root, "image", id=str(k), name=f"{item.name}.png", width=width, height=height
            )
            _propose(image, sheet, item)
        ElementTree.indent(root)
        text = ElementTree.tostring(root, encoding="unicode")
        (folder / FILE).write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n', encoding="utf-8")

    @staticmethod
    def read(content: Content, asked: Asked) -> Sequence[Given]:
        """See `Format.read`; shapes lie on one another by their z_order."""
        root, path = content.xml, content.path
        assert root is not None
        if root.find("track") is not None:
            raise InputError(path, "an export of kind CVAT for images 1.1", "tracks of a video")
        return [_given(path, image) for image in root.iter("image")]


def _propose(image: ElementTree.Element, sheet: Sheet, item: Item) -> None:
    """Add a proposal to an image."""
    proposal = item.proposal
    if proposal is None:
        return
    if sheet.kind in WORDS:
        for name in proposal.words or (NONE,):
            ElementTree.SubElement(image, "tag", label=name, source="auto")
    base = {"source": "auto", "occluded": "0", "z_order": "0"}
    if sheet.kind == "box":
        for name, (left, top, right, bottom) in proposal.boxes:
            edges = {"xtl": f"{left:.2f}", "ytl": f"{top:.2f}", "xbr": f"{right:.2f}", "ybr": f"{bottom:.2f}"}
            ElementTree.SubElement(image, "box", {"label": name, **base, **edges})
    if sheet.kind == "mask":
        for name, mask in structures(proposal, sheet):
            ElementTree.SubElement(image, "mask", {"label": name, **base, **_crop(mask)})


def _crop(mask: BoolArray) -> dict[str, str]:
    """A mask as CVAT has it: the box around it, and in it runs of pixels row by row."""
    left, top, right, bottom = map(int, bounds(mask))
    lengths = runs(mask[top:bottom, left:right].ravel())
    sides = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    return {"rle": ", ".join(map(str, lengths)), **{key: str(value) for key, value in sides.items()}}


def _given(path: Path, image: ElementTree.Element) -> Given:
    name, words = str(image.get("name")), []
    marks: list[tuple[int, Mark]] = []
    for number, shape in enumerate(image):
        where, label = f"{path}, {shape.tag} {number + 1} of {name}", str(shape.get("label"))
        if shape.tag == "tag":
            words.append(label)
            continue
        try:
            marks.append((int(shape.get("z_order") or 0), _mark(shape, label)))
        except (KeyError, ValueError, OverflowError) as error:
            why = f"one without {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(where, "a box, polygon, mask or points as CVAT writes them", why) from error
    try:
        size = int(image.attrib["height"]), int(image.attrib["width"])
    except (KeyError, ValueError):
        raise InputError(f"{path}, {name}", "an image with width and height", str(dict(image.attrib))) from None
    ordered = tuple(mark for _, mark in sorted(marks, key=lambda pair: pair[0]))
    return Given(name, name, size, tuple(dict.fromkeys(words)), ordered)


def _mark(shape: ElementTree.Element, label: str) -> Mark:
    """A shape; KeyError or ValueError says why it is none."""
    values = shape.attrib
    if float(values.get("rotation") or 0):
        raise ValueError("a shape that is turned")
    if shape.tag == "box":
        left, top, right, bottom = (float(values[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        return Mark(label, box=(left, top, right, bottom))
    if shape.tag == "polygon":
        ring = _points(values["points"])
        return Mark(label, draw=lambda h, w: fill([ring], h, w))
    if shape.tag == "points":
        dots = _points(values["points"])
        return Mark(label, draw=lambda h, w: np.logical_or.reduce([dot(x, y, h, w) for x, y in dots]))
    if shape.tag == "mask":
        lengths = [int(n) for n in values["rle"].split(",")]
        left, top, width, height = (int(float(values[key])) for key in ("left", "top", "width", "height"))

        def draw(rows: int, columns: int) -> BoolArray:
            if not (0 <= left <= left + width <= columns and 0 <= top <= top + height <= rows):
                raise ValueError(f"a mask that leaves the image, which has {rows} x {columns} pixels")
            mask = np.zeros((rows, columns), dtype=np.bool_)
            mask[top : top + height, left : left + width] = from_runs(lengths, height * width).reshape(height, width)
            return mask

        return Mark(label, draw=draw)
    raise ValueError(f"a {shape.tag}")


def _points(text: str) -> list[tuple[float, float]]:
    pairs = [tuple(map(float, pair.split(","))) for pair in text.split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("points that are no x,y;x,y")
    return [(pair[0], pair[1]) for pair in pairs]
