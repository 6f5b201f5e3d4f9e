"""Takes in what a file of another tool says, by the inbox of a run: checked whole, then at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ...core.types import IGNORE, AnnotationKind, LabelMap
from ...data.answers import file_name
from ...data.drawn.base import Mark, label_map
from ...data.drawn.shapes import Edges
from ...errors import InputError
from ..base import NONE, SEPARATOR, SKIP
from ..boxes import EDGES, BoxWorklist
from ..masks import MaskWorklist, image_size, refuse
from ..worklist import WorklistOracle
from .base import UNKNOWN, Given, code

NAME = re.compile(r"(\d{6,})-([0-9a-f]{8})")
GIVEN_OUT = "hybrid-al query gives images out by names that no other run has"
SLACK = 0.05  # of a pixel, by which tools round edges beyond those of the image

Inbox = WorklistOracle | MaskWorklist | BoxWorklist
"""The inboxes that answers from files of other tools can go into."""


@dataclass
class Intake:
    """Checks the answers of a file one by one, and hands them to the inbox.

    empty   an image of the open query with nothing drawn has nothing to draw; else it waits. Of an image that was
            answered before the file says nothing then, as one of a whole volume or series holds such images too
    texts   (place, id, text) of classes, or of masks and boxes that are skipped
    """

    inbox: Inbox
    empty: bool
    texts: list[tuple[str, str, str]] = field(default_factory=list)
    maps: dict[int, LabelMap | None] = field(default_factory=dict)
    rows: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    answered: dict[int, str] = field(default_factory=dict)
    waiting: int = 0

    @property
    def lists(self) -> WorklistOracle:
        """The answers of the run."""
        return self.inbox if isinstance(self.inbox, WorklistOracle) else self.inbox.lists

    def take(
        self, file: Path | str, given: Sequence[Given], annotator: str, *, replace: bool, say: Callable[[str], None]
    ) -> tuple[int, int]:
        """(number of answers, answers still missing) of a file; `say` gets what a person should know of it.

        InputError with a line for each image whose answer cannot be taken: nothing was taken then.
        """
        round, ids = self.lists.open_query("labels")
        waits, problems = set(self.lists.run.query_ids(round) or ()), list[str]()
        for one in given:
            try:
                self._add(one, ids, ids - waits)
            except (ValueError, InputError) as error:
                problems.append(f"  {one.where}: {error}")
        refuse(file, "answers about the images of the open query", problems, "that are none")
        if not self.answered:
            raise InputError(file, "at least one answer", self._nothing() or "none")
        if self.waiting:
            say(self._nothing())
        if isinstance(self.inbox, WorklistOracle):
            return self.inbox.take_texts(file, self.texts, annotator, replace=replace)
        if isinstance(self.inbox, MaskWorklist):
            return self.inbox.take_maps(file, self.maps, annotator, replace=replace)
        return self.inbox.take_rows(file, self.rows, annotator, replace=replace)

    def _nothing(self) -> str:
        how = "" if isinstance(self.inbox, WorklistOracle) else "; --empty takes it as nothing to draw there"
        return f"{self.waiting} images have no answer in the file and still wait{how}" if self.waiting else ""

    def _add(self, given: Given, ids: set[str], earlier: set[str]) -> None:
        """ValueError or InputError says why an answer cannot be taken."""
        index = self.index_of(given.image)
        sample = self.lists.manifest.ids[index]
        nothing = not given.words and not given.marks
        if nothing and sample in earlier and self.lists.unasked is None:
            return
        if sample not in ids:
            if nothing:
                return
            raise ValueError(
                f"{sample!r} is an image of this run, but nobody was asked about it{self.lists.way_out(index)}"
            )
        if nothing and (not self.empty or isinstance(self.inbox, WorklistOracle)):
            self.waiting += 1
            return
        if index in self.answered:
            raise ValueError(f"a second answer about {sample!r}, the first is at {self.answered[index]}")
        words = (NONE,) if nothing else given.words
        if isinstance(self.inbox, WorklistOracle):
            self._add_words(given, sample, words)
        else:
            size = image_size(self.lists, index)
            if given.size is not None and given.size != size:
                came = f"got {given.size[0]} x {given.size[1]}"
                raise ValueError(f"expected an image of {size[0]} x {size[1]} pixels (height x width), {came}")
            if words and (given.marks or words not in ((NONE,), (SKIP,))):
                expected = f"shapes, or {NONE} or {SKIP} alone, where {self.lists.wording.kind}s are asked for"
                raise ValueError(f"expected {expected}, got {', '.join(words)} for the whole image")
            self._add_marks(given, index, words, size)
        self.answered[index] = given.where

    def owns(self, image: str) -> bool:
        """Whether a name is that of an image of this run."""
        try:
            return self.index_of(image) >= 0
        except ValueError:
            return False

    def index_of(self, image: str) -> int:
        """The sample of an image's name; ValueError for one of another run, or of none."""
        name = PurePosixPath(image.replace("\\", "/")).name.removesuffix(".png")
        match, manifest = NAME.fullmatch(name), self.lists.manifest
        if match is None:
            raise ValueError(f"no image of this run is called {image[:100]!r}: {GIVEN_OUT}")
        index = int(match[1])
        if index >= len(manifest) or code(manifest, manifest.ids[index]) != match[2]:
            raise ValueError(f"{name} is an image of another run, or of other data: {GIVEN_OUT}")
        return index

    def _add_words(self, given: Given, sample: str, words: tuple[str, ...]) -> None:
        if given.marks:
            raise ValueError(f"{len(given.marks)} shapes, where a class of the whole image is asked for")
        text = SEPARATOR.join(words)
        if text != SKIP:
            self.lists.wording.read("class", text, self.lists.classes)
        self.texts.append((given.where, sample, text))

    def _add_marks(self, given: Given, index: int, words: tuple[str, ...], size: tuple[int, int]) -> None:
        if isinstance(self.inbox, MaskWorklist):
            kind, classes = self.lists.wording.kind, self.lists.classes
            drawn = None if words == (SKIP,) else draw(given.marks, size, kind, classes)
            self.maps[index] = drawn if drawn is not None and (drawn != IGNORE).any() else None
            return
        for word in words:
            self.rows.append((given.where, {"image": file_name(index), "class": word, **dict.fromkeys(EDGES, "")}))
        for mark in given.marks:
            if mark.box is None:
                raise ValueError(f"an outline of {mark.label}, where boxes are asked for")
            edges = zip(EDGES, _snapped(mark.box, *size), strict=True)
            texts = {edge: f"{value:.6f}" for edge, value in edges}
            self.rows.append((given.where, {"image": file_name(index), "class": mark.label, **texts}))


def draw(marks: Sequence[Mark], size: tuple[int, int], kind: AnnotationKind, classes: Sequence[str]) -> LabelMap:
    """The label map (H, W) of shapes, the lowest first; of points and scribbles other pixels are not known.

    ValueError for a shape that cannot be drawn.
    """
    whole = kind == "mask"
    numbers = {name: c for c, name in enumerate(classes)} | ({UNKNOWN: IGNORE} if whole else {})
    return label_map(marks, numbers, *size, 0 if whole else IGNORE)


def _snapped(box: Edges, height: int, width: int) -> Edges:
    """Edges that lie beyond the image by no more than a tool rounds, on the edge of the image."""
    limits = (width, height, width, height)
    left, top, right, bottom = (
        min(max(value, 0.0), float(limit)) if -SLACK <= value <= limit + SLACK else value
        for value, limit in zip(box, limits, strict=True)
    )
    return left, top, right, bottom


def kind_words(kind: str) -> str:
    """The kind of answers of a run, for people."""
    return {"class": "classes", "classes": "several labels an image", "box": "boxes"}.get(kind, f"{kind}s")
