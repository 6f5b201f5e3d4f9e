"""What a format of another tool writes and reads: the images of a query, and what people say of them there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from ...core.manifest import Manifest
from ...core.types import AnnotationKind, BoolArray, LabelMap
from ...data.drawn.base import Drawing, Mark
from ...data.drawn.shapes import Edges
from ..base import NONE, SKIP
from .content import Content

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
"""Of volumes."""

UNKNOWN = "ignore"
"""The label of pixels that the person does not know, the word of `data.mask_values`."""

WORDS: tuple[AnnotationKind, ...] = ("class", "classes")
DENSE: tuple[AnnotationKind, ...] = ("mask", "scribble", "point")
BOXES: tuple[AnnotationKind, ...] = ("box",)
KINDS = (*WORDS, *DENSE, *BOXES)


@dataclass(frozen=True)
class Proposal:
    """What the model says of an image before a person does.

    words   names of its classes; of a task of pixels none
    labels  label map (H, W) in the image's own pixels
    boxes   (class, edges)
    score   probability of the class, or the mean of those of the pixels; None where there is none
    """

    words: tuple[str, ...] = ()
    labels: LabelMap | None = None
    boxes: tuple[tuple[str, Edges], ...] = ()
    score: float | None = None


@dataclass(frozen=True)
class Plane:
    """A slice of a volume: the file of the volume, the kind of its slices, and the number of this one.

    name  of the volume in files of other tools, without suffix; it ends in a code that another run does not have
    """

    file: Path
    name: str
    axis: str
    z: int


@dataclass(frozen=True)
class Instance:
    """An image in a DICOM file: the file, its frame from 0, and the UIDs of its series and of itself."""

    file: Path
    frame: int
    series: str
    uid: str


@dataclass(frozen=True)
class Item:
    """An image that is asked about.

    name    of its file without suffix, which images of another run do not have
    size    height and width of the image in its own pixels
    png     its content as a PNG file
    asked   the same of what is asked about of it, white; None for all of it
    plane   of a slice of a volume in a file; `instance` of an image in a DICOM file
    """

    index: int
    id: str
    name: str
    size: tuple[int, int]
    png: Callable[[], bytes]
    reason: str = ""
    asked: Path | None = None
    plane: Plane | None = None
    instance: Instance | None = None
    proposal: Proposal | None = None


@dataclass(frozen=True)
class Sheet:
    """An open query for people.

    run     name of the run and seed
    kind    of the answers
    classes of the run, of pixels the background first
    items   in order of preference
    values  in mask files -> what they mean
    """

    run: str
    round: int
    kind: AnnotationKind
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """What a person may call a shape or an image."""
        return labels_of(self.kind, self.classes)

    @property
    def model(self) -> str:
        """Who made the proposals."""
        return f"{self.run} round {self.round}"


def labels_of(kind: AnnotationKind, classes: Sequence[str]) -> tuple[str, ...]:
    """What a person may call a shape, or the whole image in a task of classes."""
    if kind == "class":
        return (*classes, SKIP)
    if kind == "classes":
        return (*classes, NONE, SKIP)
    if kind == "mask":
        return (*classes[1:], UNKNOWN)
    return tuple(classes[1:] if kind == "box" else classes)


@dataclass(frozen=True)
class Given:
    """What a file says of an image; without words and marks nothing is drawn there.

    where   its place in the file
    image   name of the image, with or without suffix
    size    height and width that the tool has for it, None where it does not say
    words   classes of the image, or `none` or `skip`
    marks   the lowest first
    by      who said it, where the file tells
    """

    where: str
    image: str
    size: tuple[int, int] | None = None
    words: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    by: str = ""


def given_of(where: str, drawing: Drawing) -> Given:
    """What a drawing says, of which the labels `none` and `skip` are words about the whole image."""
    words = dict.fromkeys(mark.label for mark in drawing.marks if mark.label in (NONE, SKIP))
    marks = tuple(mark for mark in drawing.marks if mark.label not in words)
    return Given(where, drawing.image, drawing.size, tuple(words), marks)


@dataclass(frozen=True)
class Reference:
    """What a mask in a file of voxels lies on: a volume, or an image that was given out as one slice.

    shape, affine  of the file: voxels along its axes (3,), and from their numbers to millimetres (4, 4)
    images         number of a slice -> name of its image, of all that may be answered
    axis           kind of the slices; None for an image
    """

    shape: tuple[int, ...]
    affine: npt.NDArray[np.float64]
    images: Mapping[int, str]
    axis: str | None = None


def _none(name: str) -> Reference:
    raise ValueError(f"{name} lies on no volume of this run")


@dataclass(frozen=True)
class Asked:
    """What may be answered, for formats that cannot be read without it.

    values     in files of masks -> label
    reference  name of a file of voxels -> what it lies on; ValueError where that is nothing of this run
    instances  DICOM image -> its name, of all that may be answered
    say        gets what a person should know beside
    """

    kind: AnnotationKind
    classes: tuple[str, ...]
    values: Mapping[int, str] = field(default_factory=dict)
    reference: Callable[[str], Reference] = _none
    say: Callable[[str], None] = lambda text: None
    instances: Callable[[], Mapping[Instance, str]] = dict


class Format(Protocol):
    """The files of a tool; `FORMATS[name]` in `__init__.py`, with nothing to set.

    TOOL   for people
    KINDS  of answers that it can hold
    STEPS  what a person does with the written folder, a line each
    """

    TOOL: ClassVar[str]
    KINDS: ClassVar[tuple[AnnotationKind, ...]]
    STEPS: ClassVar[tuple[str, ...]]

    @staticmethod
    def claims(content: Content) -> bool:
        """Whether a file or folder is of this format, by what is in it."""
        ...

    @staticmethod
    def write(sheet: Sheet, folder: Path) -> None:
        """Write a query into an empty folder; InputError where the images do not fit the format."""
        ...

    @staticmethod
    def read(content: Content, asked: Asked) -> Sequence[Given]:
        """What a file says of each image in it; InputError where it is damaged."""
        ...


def image_name(manifest: Manifest, index: int) -> str:
    """Name of the image of a sample in files of other tools: its number, and a code that another run does not have."""
    return f"{index:06d}-{code(manifest, manifest.ids[index])}"


def volume_name(manifest: Manifest, path: str) -> str:
    """As `image_name`, of a volume by its path."""
    name = Path(path).name
    stem = next((name[: -len(end)] for end in ENDINGS if name.lower().endswith(end)), name)
    return f"{stem}-{code(manifest, path)}"


def code(manifest: Manifest, text: str) -> str:
    """Eight hex digits of a sample or volume of a run."""
    return hashlib.sha256(f"{manifest.fingerprint}\0{text}".encode()).hexdigest()[:8]


def write_images(sheet: Sheet, folder: Path, name: Callable[[Item], str] = lambda item: f"{item.name}.png") -> None:
    """Write `images/NAME.png`, and `asked/NAME.png` where regions are asked about."""
    (folder / "images").mkdir()
    for item in sheet.items:
        (folder / "images" / name(item)).write_bytes(item.png())
        if item.asked is not None:
            (folder / "asked").mkdir(exist_ok=True)
            (folder / "asked" / name(item)).write_bytes(item.asked.read_bytes())


def structures(proposal: Proposal, sheet: Sheet) -> list[tuple[str, BoolArray]]:
    """(class, mask (H, W)) of each class beside the background that a proposed label map has."""
    labels = proposal.labels
    if labels is None:
        return []
    numbers = [int(c) for c in np.unique(labels) if 0 < c < len(sheet.classes)]
    return [(sheet.classes[c], labels == c) for c in numbers]


def colour(number: int) -> str:
    """A colour for a class, as `#rrggbb`; neighbours are far apart."""
    import colorsys

    red, green, blue = (round(255 * v) for v in colorsys.hsv_to_rgb(number * 0.381966 % 1, 0.75, 0.95))
    return f"#{red:02x}{green:02x}{blue:02x}"
