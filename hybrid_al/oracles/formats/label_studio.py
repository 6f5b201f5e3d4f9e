"""Label Studio: tasks with predictions, the configuration of its page, and its JSON export."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

from ...core.types import AnnotationKind
from ...data.drawn.base import Mark, objects
from ...data.drawn.shapes import dot, fill, pack_brush, unpack_brush
from ...errors import InputError
from ..base import NONE, SKIP
from .base import KINDS, WORDS, Asked, Given, Item, Proposal, Sheet, colour, structures
from .content import Content

TASKS, CONFIG = "tasks.json", "config.xml"
TOOLS: dict[AnnotationKind, tuple[str, ...]] = {
    "mask": ("Brush", "Polygon"),
    "scribble": ("Brush",),
    "point": ("KeyPoint",),
    "box": ("Rectangle",),
}
"""The tools that a person has on the page, by the kind of the answers."""

REMARKS = ("relation", "textarea", "rating", "number", "datetime")
"""Results beside the shapes, which say nothing of classes."""


class LabelStudio:
    """Tasks that hold their images, so that nothing else need be served."""

    TOOL: ClassVar[str] = "Label Studio"
    KINDS: ClassVar[tuple[AnnotationKind, ...]] = KINDS
    STEPS: ClassVar[tuple[str, ...]] = (
        f"make a project; Settings > Labeling Interface > Code: the text of {CONFIG}",
        f"Import: {TASKS}. It holds the images; proposals of the model are predictions there",
        f"label; {SKIP} what nobody can say; Submit with nothing drawn, or {NONE}, says that there is nothing to draw",
        "Export > JSON (not JSON-MIN)",
    )

    @staticmethod
    def claims(content: Content) -> bool:
        """See `Format.claims`: a list of tasks, with annotations or as JSON-MIN."""
        tasks = content.json
        if not isinstance(tasks, list) or not tasks or not isinstance(tasks[0], dict):
            return False
        return "annotations" in tasks[0] or "annotation_id" in tasks[0]

    @staticmethod
    def write(sheet: Sheet, folder: Path) -> None:
        """See `Format.write`."""
        (folder / CONFIG).write_text(config(sheet), encoding="utf-8")
        tasks = [task(sheet, item) for item in sheet.items]
        (folder / TASKS).write_text(json.dumps(tasks, ensure_ascii=False, indent=0), encoding="utf-8")

    @staticmethod
    def read(content: Content, asked: Asked) -> Sequence[Given]:
        """See `Format.read`."""
        return given(content.path, objects(content.path, "tasks of Label Studio", content.json))


def config(sheet: Sheet) -> str:
    """The labeling configuration that fits the query."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value="$about")
    ElementTree.SubElement(view, "Image", name="image", value="$image", zoom="true", zoomControl="true")
    if any(item.asked for item in sheet.items):
        ElementTree.SubElement(view, "Header", value="Only what is white here is asked about:")
        ElementTree.SubElement(view, "Image", name="asked", value="$asked")
    if sheet.kind in WORDS:
        choice = "single" if sheet.kind == "class" else "multiple"
        choices = ElementTree.SubElement(
            view, "Choices", name="label", toName="image", choice=choice, required="true", showInline="true"
        )
        for k, name in enumerate(sheet.labels):
            keys = {"hotkey": str(k + 1)} if k < 9 else {}
            ElementTree.SubElement(choices, "Choice", {"value": name, **keys})
    else:
        for tool in TOOLS[sheet.kind]:
            labels = ElementTree.SubElement(view, f"{tool}Labels", name=tool.lower(), toName="image")
            for k, name in enumerate(sheet.labels):
                ElementTree.SubElement(labels, "Label", value=name, background=colour(k))
        choices = ElementTree.SubElement(view, "Choices", name="label", toName="image", choice="single")
        for name in (NONE, SKIP):  # its export leaves out the tasks that are skipped by its own button
            ElementTree.SubElement(choices, "Choice", value=name)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def task(sheet: Sheet, item: Item) -> dict[str, Any]:
    """A task with its image, and the proposal of the model where there is one."""
    about = f"{item.id}: {item.reason}" if item.reason else item.id
    image = f"data:image/png;base64,{base64.b64encode(item.png()).decode('ascii')}"
    data = {"image": image, "name": item.name, "about": about, "run": sheet.run, "round": sheet.round}
    if item.asked is not None:
        data["asked"] = f"data:image/png;base64,{base64.b64encode(item.asked.read_bytes()).decode('ascii')}"
    if item.proposal is None:
        return {"data": data}
    prediction: dict[str, Any] = {"model_version": sheet.model, "result": results(sheet, item, item.proposal)}
    if item.proposal.score is not None:
        prediction["score"] = item.proposal.score
    return {"data": data, "predictions": [prediction]}


def results(sheet: Sheet, item: Item, proposal: Proposal) -> list[dict[str, Any]]:
    """A proposal as results on the page."""
    if sheet.kind in WORDS:
        words = list(proposal.words) or [NONE]
        return [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": words}}]
    height, width = item.size
    base = {"to_name": "image", "original_width": width, "original_height": height, "image_rotation": 0}
    if sheet.kind == "box":
        return [
            {**base, "id": f"p{k}", "from_name": "rectangle", "type": "rectanglelabels",
             "value": {"x": 100 * left / width, "y": 100 * top / height, "width": 100 * (right - left) / width,
                       "height": 100 * (bottom - top) / height, "rotation": 0, "rectanglelabels": [name]}}
            for k, (name, (left, top, right, bottom)) in enumerate(proposal.boxes)
        ]  # fmt: skip
    if sheet.kind != "mask":
        return []
    return [
        {**base, "id": f"p{k}", "from_name": "brush", "type": "brushlabels",
         "value": {"format": "rle", "rle": pack_brush(mask), "brushlabels": [name]}}
        for k, (name, mask) in enumerate(structures(proposal, sheet))
    ]  # fmt: skip


def given(path: object, tasks: Sequence[dict[str, Any]]) -> list[Given]:
    """What the tasks of an export say; those without an annotation are waiting.

    Of several annotations of a task the one that is marked as ground truth counts; InputError where they differ.
    """
    out = []
    for k, one in enumerate(tasks):
        where = f"task {one.get('id', k)}"
        if "annotations" not in one:
            came = "one of another kind, such as JSON-MIN" if "annotation_id" in one else f"{where} without them"
            raise InputError(path, "an export of kind JSON, whose tasks have annotations", came)
        data = one.get("data")
        name = data.get("name") if isinstance(data, dict) else None
        annotations = objects(f"{path}, {where}", "annotations", one["annotations"])
        answers = [(_annotation(f"{path}, {where}", where, str(name or ""), a), a) for a in annotations]
        chosen = [pair for pair in answers if pair[1].get("ground_truth") is True] or answers
        if not chosen:
            out.append(Given(where, str(name or "")))
        elif any(_plain(a) != _plain(chosen[0][1]) for _, a in chosen):
            expected = "one annotation of each task, or one of them marked as ground truth"
            people = ", ".join(sorted({str(a.get("completed_by")) for _, a in chosen}))
            raise InputError(f"{path}, {where}", expected, f"{len(chosen)} that differ (completed by {people})")
        else:
            out.append(chosen[-1][0])
    return out


def _plain(annotation: dict[str, Any]) -> tuple[bool, list[str]]:
    """What an annotation says, without ids and times."""
    values = [json.dumps(r.get("value"), sort_keys=True) for r in annotation.get("result") or [] if isinstance(r, dict)]
    return bool(annotation.get("was_cancelled")), sorted(values)


def _annotation(place: str, where: str, name: str, annotation: dict[str, Any]) -> Given:
    person = annotation.get("completed_by")
    by = str(person.get("email") or person.get("id")) if isinstance(person, dict) else str(person)
    if annotation.get("was_cancelled"):
        return Given(where, name, words=(SKIP,), by=by)
    words: list[str] = []
    marks: list[Mark] = []
    size: tuple[int, int] | None = None
    for result in objects(place, "results", annotation.get("result")):
        kind, value = str(result.get("type")), result.get("value")
        if kind in REMARKS:
            continue
        if not isinstance(value, dict):
            raise InputError(place, "results that have a value", repr(value))
        if kind == "choices":
            if not isinstance(choices := value.get("choices"), list):
                raise InputError(place, "choices: a list", repr(choices))
            words += map(str, choices)
            continue
        try:
            size = int(result["original_height"]), int(result["original_width"])
            marks.append(_mark(kind, value, float(result.get("image_rotation") or 0), *size))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            why = f"one without {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(place, "shapes as Label Studio writes them", f"{kind}: {why}") from error
    submitted = (NONE,) if not words and not marks else tuple(words)
    return Given(where, name, size, submitted, tuple(marks), by)


def _mark(kind: str, value: dict[str, Any], rotation: float, height: int, width: int) -> Mark:
    """A shape; ValueError or KeyError says why it is none."""
    labels = value.get(kind)
    if not isinstance(labels, list) or len(labels) != 1:
        raise ValueError(f"expected one label, got {labels!r}")
    if rotation:
        raise ValueError("an image that was turned on the page")
    name = str(labels[0])
    if kind == "rectanglelabels":
        if value.get("rotation"):
            raise ValueError("a box that is turned")
        left, top = value["x"] * width / 100, value["y"] * height / 100
        right, bottom = left + value["width"] * width / 100, top + value["height"] * height / 100
        return Mark(name, box=(left, top, right, bottom))
    if kind == "brushlabels":
        if value.get("format") != "rle":
            raise ValueError(f"expected format rle, got {value.get('format')!r}")
        packed = value["rle"]
        return Mark(name, draw=lambda h, w: unpack_brush(packed, h, w))
    if kind == "polygonlabels":
        ring = [(x * width / 100, y * height / 100) for x, y in value["points"]]
        return Mark(name, draw=lambda h, w: fill([ring], h, w))
    if kind == "keypointlabels":
        x, y = value["x"] * width / 100, value["y"] * height / 100
        return Mark(name, draw=lambda h, w: dot(x, y, h, w))
    raise ValueError("a shape that is neither a box, nor a polygon, nor drawn by the brush, nor a point")
