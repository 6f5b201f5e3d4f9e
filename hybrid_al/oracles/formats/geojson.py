"""GeoJSON of QuPath: outlines with the names of their classes, a file for each image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from ...core.types import AnnotationKind
from ...data.drawn.geojson import SUFFIXES, drawing, is_geojson
from ...data.drawn.shapes import outlines
from ..base import NONE, SKIP
from .base import BOXES, Asked, Given, Sheet, colour, given_of, structures, write_images
from .content import Content

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
        return is_geojson(content.json)

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
        files = [file for file in content.files if file.name.lower().endswith(SUFFIXES)]
        return [given_of(file.name, drawing(file)) for file in files]


def _feature(name: str, sheet: Sheet, rings: list[list[tuple[float, float]]]) -> dict[str, Any]:
    text = colour(sheet.labels.index(name))
    rgb = [int(text[k : k + 2], 16) for k in (1, 3, 5)]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*map(list, ring), list(ring[0])] for ring in rings]},
        "properties": {"objectType": "annotation", "classification": {"name": name, "color": rgb}},
    }
