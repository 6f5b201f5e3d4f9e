"""Annotations of ASAP, the XML that QuPath's extension for MONAI Label sends and reads: polygons with names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from ..core.types import BoolArray
from ..data.drawn.base import Mark
from ..data.drawn.shapes import outlines, union
from ..errors import InputError
from ..oracles.formats.base import Given, colour
from ..oracles.formats.content import Content


def read(file: Path) -> Given:
    """What a file says of its image, a later polygon on an earlier one; InputError where it is no such file."""
    root = Content(file).xml
    if root is None or root.tag != "ASAP_Annotations":
        raise InputError(file, "annotations of ASAP (ASAP_Annotations)", "none" if root is None else root.tag)
    return Given(file.name, file.stem, marks=tuple(map(_mark, root.iter("Annotation"))))


def _mark(one: ElementTree.Element) -> Mark:
    name = one.get("PartOfGroup") or one.get("Name") or ""
    try:
        corners = [(float(c.get("X", "")), float(c.get("Y", ""))) for c in one.iter("Coordinate")]
    except ValueError as error:
        raise InputError(f"annotation {name!r}", "corners X and Y", str(error)) from None
    return Mark(name, draw=union([[corners]]))


def write(areas: Iterable[tuple[str, BoolArray]]) -> bytes:
    """The outlines of named areas (H, W); the format knows no holes."""
    root = ElementTree.Element("ASAP_Annotations")
    annotations, groups = ElementTree.SubElement(root, "Annotations"), ElementTree.SubElement(root, "AnnotationGroups")
    for k, (name, area) in enumerate(areas):
        ElementTree.SubElement(groups, "Group", Name=name, PartOfGroup="None", Color=colour(k))
        for outer, *_ in outlines(area):
            one = ElementTree.SubElement(
                annotations, "Annotation", Name=name, Type="Polygon", PartOfGroup=name, Color=colour(k)
            )
            corners = ElementTree.SubElement(one, "Coordinates")
            for order, (x, y) in enumerate(outer):
                ElementTree.SubElement(corners, "Coordinate", Order=str(order), X=str(x), Y=str(y))
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text
