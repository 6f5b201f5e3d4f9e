"""What people drew on images in other tools: shapes with the names of their classes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...core.types import BoolArray, LabelMap
from ...errors import InputError, UnknownName, reading
from .shapes import Edges


@dataclass(frozen=True)
class Mark:
    """A shape that a person drew: a box, or an area that `draw` gives for height and width; ValueError says why not.

    where  its place in the file
    """

    label: str
    box: Edges | None = None
    draw: Callable[[int, int], BoolArray] | None = None
    where: str = ""


@dataclass(frozen=True)
class Drawing:
    """What a file draws on one image.

    image  its name, with or without suffix
    size   height and width that the tool has for it, None where it does not say
    marks  the lowest first
    digest of all of it
    """

    image: str
    size: tuple[int, int] | None = None
    marks: tuple[Mark, ...] = ()
    digest: str = ""


def label_map(marks: Sequence[Mark], numbers: Mapping[str, int], height: int, width: int, rest: int) -> LabelMap:
    """The label map (H, W) of marks, a later one over an earlier; `rest` where there is none.

    numbers  label -> class; ValueError for another label, for a box, and for what does not fit the image
    """
    labels: LabelMap = np.full((height, width), rest, dtype=np.uint8)
    for mark in marks:
        where = f"{mark.where}: " if mark.where else ""
        if mark.label not in numbers:
            raise ValueError(where + str(UnknownName("class", mark.label, numbers)))
        if mark.draw is None:
            raise ValueError(f"{where}a box of {mark.label} without an outline, where masks are needed")
        try:
            labels[mark.draw(height, width)] = numbers[mark.label]
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{where}{error}") from error
    return labels


def parse_json(path: Path, text: bytes) -> Any:
    """The value of a JSON text; InputError where it is damaged."""
    with reading(path, "a whole JSON file"):
        return json.loads(text.decode("utf-8"), parse_constant=_not_finite)


def _not_finite(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def objects(where: object, what: str, value: object) -> list[dict[str, Any]]:
    """A list of JSON objects; InputError for anything else."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise InputError(where, f"{what}: a list of objects", type(value).__name__)
    return cast(list[dict[str, Any]], value)


def digest_of(*values: Any) -> str:
    """Digest of values of JSON, 32 hex digits."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
