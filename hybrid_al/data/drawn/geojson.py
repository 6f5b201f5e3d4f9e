"""Reads GeoJSON of QuPath: outlines with the names of their classes, a file for each image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import InputError
from .base import Drawing, Mark, digest_of, objects, parse_json
from .shapes import corner_box, union

SUFFIXES = (".geojson", ".json")


def is_geojson(value: object) -> bool:
    """Whether a value of JSON has features."""
    one = value[0] if isinstance(value, list) and value else value
    return isinstance(one, dict) and one.get("type") in ("FeatureCollection", "Feature")


def drawing(file: Path) -> Drawing:
    """What a file draws on the image of its name; a later feature lies on an earlier one.

    InputError for a feature without a class, and for one that is no polygon.
    """
    value = parse_json(file, file.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    if isinstance(value, dict):
        value = value.get("features") if value.get("type") == "FeatureCollection" else [value]
    marks = []
    for number, feature in enumerate(objects(file, "features", value), 1):
        where = f"{file}, feature {number}"
        label = _class(where, feature)
        try:
            polygons = _polygons(feature.get("geometry"))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(where, "a polygon", str(error)) from error
        box = corner_box(polygons[0][0]) if len(polygons) == len(polygons[0]) == 1 else None
        marks.append(Mark(label, box, union(polygons), f"feature {number}"))
    return Drawing(stem(file.name), None, tuple(marks), digest_of(value))


def stem(name: str) -> str:
    """A name without the suffixes of these files."""
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
