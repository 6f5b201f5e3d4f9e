"""GeoJSON of QuPath: outlines with the names of their classes, a file for each image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from ...core.types import AnnotationKind
from ...errors import InputError
from ..base import NONE, SKIP
from .base import BOXES, Asked, Given, Mark, Sheet, colour, structures, write_images
from .content import Content, objects, parse_json
from .shapes import corner_box, outlines, union

SUFFIXES = (".geojson", ".json")
PROPOSALS = "proposals"


class GeoJson:
    """Images in a folder, and proposals in files of the same names."""

    TOOL: ClassVar[str] = "QuPath"
    KINDS: ClassVar[tuple[AnnotationKind, ...]] = ("mask", "scribble", *BOXES)
    STEPS: ClassVar[tuple[str, ...]] = (
        "make a project with the images of images/; the classes are in classes.txt",
        f"File > Import objects: the file of the same name in {PROPOSALS}/, the model's, where there is one",
        f"an image without anything to draw: an annotation of class {NONE}; one that nobody can answer: {SKIP}",
        "File > Export objects as GeoJSON (FeatureCollection), all of an image into a file of the image's name, all "
        "files in one folder, which is what comes back",
    )

    @staticmethod
    def claims(content: Content) -> bool:
        """See `Format.claims`: a file of features, or a folder of files called .geojson."""
        if content.path.is_dir():
            return any(file.name.lower().endswith(SUFFIXES[0]) for file in content.files)
        value = content.json
        one = value[0] if isinstance(value, list) and value else value
        return isinstance(one, dict) and one.get("type") in ("FeatureCollection", "Feature")

    @staticmethod
    def write(sheet: Sheet, folder: Path) -> None:
        """See `Format.write`."""
        write_images(sheet, folder)
        (folder / "classes.txt").write_text("\n".join([*sheet.labels, NONE, SKIP]) + "\n", encoding="utf-8")
        for item in sheet.items:
            if item.proposal is None:
                continue
            features: list[dict[str, Any]] = []
            if sheet.kind == "box":
                for name, (x0, y0, x1, y1) in item.proposal.boxes:
                    features.append(_feature(name, sheet, [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]]))
            if sheet.kind == "mask":
                for name, mask in structures(item.proposal, sheet):
                    features += [_feature(name, sheet, cast(Any, rings)) for rings in outlines(mask)]
            (folder / PROPOSALS).mkdir(exist_ok=True)
            text = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)
            (folder / PROPOSALS / f"{item.name}.geojson").write_text(text, encoding="utf-8")

    @staticmethod
    def read(content: Content, asked: Asked) -> Sequence[Given]:
        """See `Format.read`; a later feature lies on an earlier one."""
        return [_given(file) for file in content.files if file.name.lower().endswith(SUFFIXES)]


def _feature(name: str, sheet: Sheet, rings: list[list[tuple[float, float]]]) -> dict[str, Any]:
    text = colour(sheet.labels.index(name))
    rgb = [int(text[k : k + 2], 16) for k in (1, 3, 5)]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*map(list, ring), list(ring[0])] for ring in rings]},
        "properties": {"objectType": "annotation", "classification": {"name": name, "color": rgb}},
    }


def _given(file: Path) -> Given:
    value = parse_json(file, file.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    if isinstance(value, dict):
        value = value.get("features") if value.get("type") == "FeatureCollection" else [value]
    words: list[str] = []
    marks: list[Mark] = []
    for number, feature in enumerate(objects(file, "features", value)):
        where = f"{file}, feature {number + 1}"
        label = _class(where, feature)
        if label in (NONE, SKIP):
            words.append(label)
            continue
        try:
            polygons = _polygons(feature.get("geometry"))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(where, "a polygon", str(error)) from error
        box = corner_box(polygons[0][0]) if len(polygons) == len(polygons[0]) == 1 else None
        marks.append(Mark(label, box, union(polygons)))
    return Given(file.name, _stem(file.name), None, tuple(dict.fromkeys(words)), tuple(marks))


def _stem(name: str) -> str:
    for suffix in SUFFIXES:
        name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    return name


def _class(where: str, feature: dict[str, Any]) -> str:
    properties = feature.get("properties")
    classification = properties.get("classification") if isinstance(properties, dict) else None
    name = classification.get("name") if isinstance(classification, dict) else None
    if not isinstance(name, str) or not name:
        raise InputError(where, "a class (properties.classification.name)", "none")
    return name


def _polygons(geometry: Any) -> list[list[list[tuple[float, float]]]]:
    kind, coordinates = geometry["type"], geometry["coordinates"]
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"a {kind}")
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if not polygons or not all(polygons):
        raise ValueError("one without corners")
    return [[[(float(x), float(y)) for x, y, *_ in ring] for ring in rings] for rings in polygons]
