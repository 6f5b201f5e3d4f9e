"""Drawings as the masks of a data set: which of them belongs to which image, and the label map of each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal

from ...core.types import IGNORE, LabelMap
from ...errors import InputError, UnknownName
from ..masks import EmptyMask, check_lies_on
from ..readers import Choice
from ..readers.base import Header, Stamp
from ..samples import Sample
from ..words import normal
from . import coco, geojson
from .base import Drawing, label_map, parse_json

VERSION = "1"
"""Raise it when a drawing gives another label map than before: the keys of caches contain it."""

COCO, GEOJSON = ".json", ".geojson"
Undrawn = Literal["background", "unlabeled", "ignore"]
UNKNOWN = ("ignore", "Ignore*")  # the second is QuPath's
NAMED = 3


def is_drawn(path: str) -> bool:
    """Whether a mask is a drawing, by the suffix of its file."""
    return path.lower().endswith((COCO, GEOJSON))


@dataclass(frozen=True)
class Outlines:
    """How drawings become label maps.

    names    label in the files -> class, or ignore; a label without an entry is the class of its own name
    undrawn  what is not drawn, see `Folder`
    classes  of the pixels, the background first
    """

    names: Mapping[str, str] = field(default_factory=dict)
    undrawn: Undrawn = "background"
    classes: tuple[str, ...] = ()

    @property
    def numbers(self) -> dict[str, int]:
        """Label -> class; UnknownName for a name in `names` that is no class."""
        own = {name: c for c, name in enumerate(self.classes)}
        unknown = dict.fromkeys(UNKNOWN, IGNORE)
        for label, name in self.names.items():
            if name not in own and name not in unknown:
                raise UnknownName(f"data.mask_names.{label}", name, [*own, UNKNOWN[0]])
        return unknown | own | {label: (own | unknown)[name] for label, name in self.names.items()}

    def __str__(self) -> str:
        """All that the label map of a drawing depends on."""
        return f"drawn {VERSION} {sorted(self.numbers.items())} {self.undrawn}"

    def facts(self, path: str, file: Path, key: str, image: Header, *, whole: bool) -> tuple[str, bool]:
        """Digest of a drawing, and whether it has marks; with `whole` it is drawn too, as a check.

        UnknownName for a label that is no class; ValueError where it does not fit its image.
        """
        drawing = drawing_of(file, key)
        if drawing.size is not None:
            check_lies_on(path, Header(*drawing.size, 1), image)
        elif image.orientation > 1:
            raise ValueError(
                f"{path} has EXIF orientation {image.orientation}, which outlines do not say: save it upright, without"
            )
        for mark in drawing.marks:
            if mark.label not in self.numbers:
                where = f"{file}, {mark.where} of {drawing.image}: class, without data.mask_names: {{LABEL: CLASS}}"
                raise UnknownName(where, mark.label, self.numbers)
            if mark.draw is None:
                raise ValueError(f"{mark.where} is a box of {mark.label} without an outline, which draws no mask")
        if whole:
            self.draw(file, key, image.height, image.width)
        return drawing.digest, bool(drawing.marks)

    def draw(self, file: Path, key: str, height: int, width: int) -> LabelMap:
        """The label map (H, W) of an image; ValueError where its drawing does not fit it, or says of no pixel."""
        rest = IGNORE if self.undrawn == "ignore" else 0
        labels = label_map(drawing_of(file, key).marks, self.numbers, height, width, rest)
        if (labels == IGNORE).all():
            raise EmptyMask("every pixel is to be ignored, so the outlines say nothing")
        return labels


def drawing_of(file: Path, key: str) -> Drawing:
    """The drawing in a file: of COCO that of the image of this name."""
    return geojson.drawing(file) if file.name.lower().endswith(GEOJSON) else coco_of(Stamp.of(file))[key]


@lru_cache(maxsize=8)
def coco_of(stamp: Stamp) -> Mapping[str, Drawing]:
    """Name of an image -> its drawing, of all images that a COCO file lists; InputError for another file."""
    value = parse_json(stamp.file, stamp.file.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    if not coco.is_coco(value):
        features = "; it has features of GeoJSON, of which each image has a file .geojson" * geojson.is_geojson(value)
        raise InputError(stamp.file, "COCO: images, annotations and categories", f"another JSON{features}")
    drawings: dict[str, Drawing] = {}
    for drawing in coco.drawings(stamp.file, value):
        if drawing.image in drawings:
            raise InputError(stamp.file, "each image once", f"{drawing.image} twice")
        drawings[drawing.image] = drawing
    return drawings


def located(root: Path, samples: Sequence[Sample], readers: Choice, *, skip: bool) -> tuple[list[Sample], list[str]]:
    """Samples whose COCO files are those that list their image, with the names it has there, and remarks.

    InputError where an image of a file is not among the samples, which `skip` leaves out, or is several of them.
    """
    listing: dict[str, dict[str, str]] = {}
    notes = []
    for path in dict.fromkeys(p for sample in samples for p in (sample.mask, *sample.more_masks) if _is_coco(p)):
        here = [sample.path for sample in samples if path in (sample.mask, *sample.more_masks)]
        names = list(coco_of(Stamp.of(_existing(root / path))))
        listing[path], missing = matched(root, root / path, names, here, readers)
        if missing:
            shown = ", ".join(missing[:NAMED]) + ", ..." * (len(missing) > NAMED)
            if not skip or len(missing) == len(names):
                expected = "images that are below data.root (on_error: skip leaves others out)"
                raise InputError(root / path, expected, f"{len(missing)} of {len(names)} that are not ({shown})")
            notes.append(f"{len(missing)} images of {root / path} are not here, and left out ({shown})")
    if not listing:
        return list(samples), []
    return [_listed(sample, listing) for sample in samples], notes


def _is_coco(path: str) -> bool:
    return path.lower().endswith(COCO)


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise InputError(file, "a file of COCO", "nothing there")
    return file


def _listed(sample: Sample, listing: Mapping[str, Mapping[str, str]]) -> Sample:
    masks = [
        (path, listing[path][sample.path] if path in listing else "")
        for path in (sample.mask, *sample.more_masks)
        if path and (path not in listing or sample.path in listing[path])
    ]
    paths, keys = [path for path, _ in masks], [key for _, key in masks]
    return replace(sample, mask=(paths or [""])[0], more_masks=tuple(paths[1:]), mask_keys=tuple(keys))


def matched(
    root: Path, file: Path, names: Sequence[str], paths: Sequence[str], readers: Choice
) -> tuple[dict[str, str], list[str]]:
    """Path of an image -> its name in a COCO file, and the names that are of no image.

    A name is a path below `root` or beside the file, or the name of the one file called so; suffixes may differ.
    """
    by_path: dict[str, dict[str, None]] = {}
    by_name: dict[str, dict[str, None]] = {}
    for path in paths:
        for key in _forms(path, readers):
            by_path.setdefault(key, {})[path] = None
        for key in _forms(PurePosixPath(path).name, readers):
            by_name.setdefault(key, {})[path] = None
    name_of: dict[str, str] = {}
    missing = []
    for name in names:
        text = name.replace("\\", "/")
        places = (os.path.relpath(file.parent / text, root), os.path.normpath(text))
        found = [by_path.get(key) for place in places for key in _forms(place, readers)]
        found += [by_name.get(key) for key in _forms(PurePosixPath(text).name, readers)]
        fitting = list(next(filter(None, found), {}))
        if len(fitting) > 1:
            raise InputError(file, f"one image that {name!r} names", ", ".join(fitting[:NAMED]))
        if not fitting:
            missing.append(name)
        elif fitting[0] in name_of:
            raise InputError(file, f"one entry of the image {fitting[0]}", f"{name_of[fitting[0]]} and {name}")
        else:
            name_of[fitting[0]] = name
    return name_of, missing


def _forms(path: str, readers: Choice) -> tuple[str, str]:
    """A path as names are compared, with and without suffix."""
    return normal(path), normal(readers.stem(path))
