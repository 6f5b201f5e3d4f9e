"""DICOM files as series: told apart by UID, their slices ordered by position and orientation, never by file name."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.types import FloatArray
from ..errors import InputError
from .folders import hidden
from .headers import (
    SAME,
    SEGMENTATIONS,
    Place,
    frames_of,
    functional_groups,
    has_window,
    kind_of,
    normal_of,
    place_of,
)
from .index import FileIndex
from .paths import regular
from .readers.dicom import Dicom, read_header, reading
from .samples import reason

FACTS = "1"
"""Raise it when facts say more or other things than before: they are kept under it."""
UNEVEN = 0.1  # share of the usual distance by which one may differ
ALIKE = 0.999  # cosine of the angle between normals of one orientation
LISTED = 3
KEYWORDS = (
    *("SOPClassUID", "ImageType", "Rows", "Columns", "NumberOfFrames", "BitsAllocated", "SamplesPerPixel"),
    *("StudyInstanceUID", "SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber"),
    *("WindowCenter", "WindowWidth", "VOILUTSequence", "PatientName", "PatientBirthDate", "BurnedInAnnotation"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ReferencedSeriesSequence"),
)


class Facts(NamedTuple):
    """What is kept of a header: to tell series apart, to order slices, and to window them.

    kind       of the object; `image` and `mask` say whether its pixels are one
    series     its UID; of a mask that of the series that it is of
    values     of the keywords that were asked for, as texts
    places     of the frames
    windowed   whether it says a window; `deep` whether it has grey values of more than 8 bits
    person     one byte of a digest of name and birth date, which tells two people apart and names nobody
    """

    kind: str
    image: bool
    mask: bool
    series: str
    study: str
    values: list[str]
    places: list[Place]
    shape: list[int]
    instance: int
    localizer: bool
    windowed: bool
    deep: bool
    burnt: bool
    person: int


class Slice(NamedTuple):
    """A frame of a file."""

    path: str
    frame: int
    facts: Facts

    @property
    def place(self) -> Place:
        """Its position and orientation."""
        return self.facts.places[self.frame]

    @property
    def z(self) -> int:
        """Its number in its file, -1 where it is the only one."""
        return self.frame if len(self.facts.places) > 1 else -1


def middle_frame(part: Slice) -> int:
    """The frame that stands for the file of a slice."""
    return (len(part.facts.places) - 1) // 2


@dataclass(frozen=True)
class Series:
    """Slices in the order of their positions, `ordered` where there are any; else of their numbers."""

    slices: tuple[Slice, ...]
    ordered: bool

    @property
    def name(self) -> str:
        """How a remark names it: by a file of it, not by its UID."""
        return f"the series of {min(part.path for part in self.slices)}"


@dataclass(frozen=True)
class Study:
    """The series below a folder, the masks (path, facts), and remarks for the person."""

    series: tuple[Series, ...]
    masks: tuple[tuple[str, Facts], ...]
    notes: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]


def dicom_files(root: Path, ignore: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Files of DICOM below a folder, by content or suffix, and all others, as sorted paths relative to it."""
    found: list[str] = []
    others: list[str] = []
    for folder, names, leaves in os.walk(root):
        names[:] = [name for name in names if not hidden(name, ignore)]
        for leaf in leaves:
            file = Path(folder, leaf)
            if hidden(leaf, ignore):
                continue
            if file.is_symlink() and not file.resolve().is_relative_to(root):
                raise InputError(file, f"a file below {root}", "a symbolic link out of it")
            (found if is_dicom(file) else others).append(file.relative_to(root).as_posix())
    return sorted(found), sorted(others)


def is_dicom(file: Path) -> bool:
    """Whether a file is DICOM by its first bytes, or says so by its suffix."""
    if file.name.lower().endswith(Dicom.SUFFIXES):
        return True
    try:
        regular(file)
        with file.open("rb") as stream:
            return Dicom.claims(stream.read(4096))
    except (OSError, ValueError):
        return False  # a link to nothing, a file that nobody may read, or none


def read_facts(file: Path, keywords: Sequence[str] = ()) -> Facts:
    """The facts of a file; OSError or ValueError where it is no DICOM file."""
    with reading():
        data: Any = read_header(file, keywords=(*KEYWORDS, *keywords))
        uid, shape = data.get("SOPClassUID"), [int(data.get("Rows") or 0), int(data.get("Columns") or 0)]
        person = f"{data.get('PatientName', '')}|{data.get('PatientBirthDate', '')}".encode()
        has_pixels = min(shape) > 0
        frames = frames_of(data) if has_pixels else 1
        kinds = [str(kind).upper() for kind in _several(data.get("ImageType"))]
        groups = functional_groups(data, 0)
        return Facts(
            kind=kind_of(data),
            image=has_pixels and uid not in SEGMENTATIONS,
            mask=has_pixels and uid in SEGMENTATIONS,
            series=str(data.get("SeriesInstanceUID") or "") if uid not in SEGMENTATIONS else _referenced(data),
            study=str(data.get("StudyInstanceUID") or ""),
            values=[str(data.get(keyword) or "").strip() for keyword in keywords],
            places=[place_of(data, frame) for frame in range(frames)],
            shape=shape,
            instance=int(data.get("InstanceNumber") or 0),
            localizer="LOCALIZER" in kinds,
            windowed=has_window(data) or any(group.get("FrameVOILUTSequence") for group in groups),
            deep=int(data.get("BitsAllocated") or 0) > 8 and int(data.get("SamplesPerPixel") or 1) == 1,
            burnt=str(data.get("BurnedInAnnotation") or "").upper() == "YES",
            person=hashlib.sha256(person).digest()[0],
        )


def _referenced(data: Any) -> str:
    """The series that a segmentation is of."""
    items = data.get("ReferencedSeriesSequence") or ()
    return next((str(item.SeriesInstanceUID) for item in items if "SeriesInstanceUID" in item), "")


def _several(value: Any) -> list[Any]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def read_study(
    root: Path, files: Sequence[str], keywords: Sequence[str], index: FileIndex | None = None, *, ordered: bool = True
) -> Study:
    """The series of some files below a folder.

    keywords  of the header whose values are kept, the first that of the group of a file
    ordered   whether slices have to be in order: then two at one position are an InputError
    """
    index = FileIndex() if index is None else index
    facts: dict[str, Facts] = {}
    failures, how = [], f"facts {FACTS} {list(keywords)}"
    for path in files:
        try:
            plain = index.look(root / path, how, partial(_plain, root / path, keywords))
        except (OSError, ValueError) as error:
            failures.append((path, reason(error)))
        else:
            facts[path] = _of_plain(plain)
    notes = _notes(facts, people="PatientID" in keywords[:1])
    members: dict[tuple[str, ...], list[Slice]] = {}
    for path, fact in facts.items():
        if fact.image:
            frames = [Slice(path, frame, fact) for frame in range(len(fact.places))]
            alone = len(frames) > 1 or not fact.series
            members.setdefault((fact.study, fact.series, path if alone else ""), []).extend(frames)
    series = [one for slices in members.values() for one in _sorted_out(slices, notes, ordered=ordered)]
    series.sort(key=lambda one: min(part.path for part in one.slices))
    if ordered:
        notes += [note for one in series if one.ordered for note in gaps(one)]
    masks = tuple((path, fact) for path, fact in facts.items() if fact.mask)
    return Study(tuple(series), masks, tuple(notes), tuple(failures))


def _plain(file: Path, keywords: Sequence[str]) -> list[Any]:
    return list(read_facts(file, keywords))


def _of_plain(plain: list[Any]) -> Facts:
    facts = Facts(*plain)
    return facts._replace(places=[(tuple(position), tuple(axes)) for position, axes in facts.places])


def _notes(facts: Mapping[str, Facts], *, people: bool) -> list[str]:
    """Remarks on files that are no images, burnt-in text, and people who share an id."""
    notes = []
    kinds: dict[str, list[str]] = {}
    for path, fact in facts.items():
        if not (fact.image or fact.mask):
            kinds.setdefault(fact.kind, []).append(path)
    notes += [f"{len(paths)} files without pixels left: {kind} ({paths[0]})" for kind, paths in kinds.items()]
    if burnt := [path for path, fact in facts.items() if fact.burnt]:
        notes.append(f"{len(burnt)} images with text burnt into their pixels, as their headers say ({burnt[0]})")
    first: dict[str, tuple[str, int]] = {}
    others = {}
    for path, fact in facts.items():
        if people and fact.values[0] and fact.image:
            other, person = first.setdefault(fact.values[0], (path, fact.person))
            if person != fact.person:
                others[other] = path
    pairs = "; ".join(f"{one} and {two}" for one, two in list(others.items())[:LISTED])
    if others:
        notes.append(f"{len(others)} groups hold people who differ in name or date of birth ({pairs}): one id, or two?")
    return notes


def _sorted_out(slices: list[Slice], notes: list[str], *, ordered: bool) -> list[Series]:
    """The series of the slices of one UID: none, where none of its orientations is the main one."""
    name = f"the series of {min(part.path for part in slices)}"
    scouts = [part for part in slices if part.facts.localizer]
    if scouts:
        notes.append(f"{len(scouts)} localizers left, as their headers say ({scouts[0].path})")
        slices = [part for part in slices if not part.facts.localizer]
    placed = [part for part in slices if part.place[0]]
    if not slices or not ordered or not placed:
        numbered = sorted(slices, key=lambda part: (part.facts.instance, part.path, part.frame))
        return [Series(tuple(numbered), ordered=False)] if slices else []
    if bare := len(slices) - len(placed):
        notes.append(f"{bare} images left in {name}: without a position, which the others have")
    planes = _planes(placed)
    main = max(planes, key=len)
    if sum(len(plane) == len(main) for plane in planes) > 1:
        notes.append(f"{len(placed)} images left: {name} has as many of one orientation or size as of another")
        return []
    others = [part.path for plane in planes if plane is not main for part in plane]
    if others:
        notes.append(f"{len(others)} images of another orientation or size left in {name} ({others[0]})")
    return [Series(tuple(_in_order(main, name)), ordered=True)]


def _planes(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices apart by orientation and size."""
    planes: list[list[Slice]] = []
    for part in slices:
        normal = normal_of(part.place[1])
        for plane in planes:
            alike = float(normal @ normal_of(plane[0].place[1])) >= ALIKE
            if alike and plane[0].facts.shape == part.facts.shape:
                plane.append(part)
                break
        else:
            planes.append([part])
    return planes


def depths(slices: Sequence[Slice]) -> FloatArray:
    """Positions (n,) in mm along the normal of the first slice."""
    return np.asarray([part.place[0] for part in slices]) @ normal_of(slices[0].place[1])


def _in_order(slices: Sequence[Slice], name: str) -> list[Slice]:
    """Slices by position; InputError where two have the same one."""
    along = depths(slices)
    order = np.argsort(along, kind="stable")
    for one, two in pairwise(order):
        if along[two] - along[one] < SAME:
            first, second = slices[one], slices[two]
            raise InputError(
                f"data.root: {name}",
                "one slice at each position (data.ignore leaves files out; data.sample: file needs no positions)",
                f"{_named(first)} and {_named(second)} at one: copies, or several echoes, phases or weightings?",
            )
    return [slices[i] for i in order]


def _named(part: Slice) -> str:
    return part.path if part.z < 0 else f"{part.path}#{part.z}"


def gaps(series: Series) -> list[str]:
    """Remarks on missing slices and on changes of the distance between slices."""
    if len(series.slices) < 3:
        return []
    steps = np.diff(depths(series.slices))
    usual = float(np.median(steps))
    missing = Counter[int]()
    changes = []
    for k, step in enumerate(steps.tolist()):
        times = round(step / usual)
        if times >= 2 and abs(step - times * usual) <= UNEVEN * usual:
            missing[k] = times - 1
        elif abs(step - usual) > UNEVEN * usual:
            changes.append(k)
    notes = []
    for found, text in ((list(missing), f"{missing.total()} slices are missing"), (changes, "distances change")):
        if found:
            one, two = _named(series.slices[found[0]]), _named(series.slices[found[0] + 1])
            step = f"{steps[found[0]]:.3g} mm where {usual:.3g} are usual"
            notes.append(f"{series.name}: {text}, first between {one} and {two} ({step})")
    return notes
