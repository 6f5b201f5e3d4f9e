"""Boxes by people: the images of a query go out as PNG files, a CSV of boxes comes in."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core.rundir import RunDir
from ..core.types import Annotation, IntArray
from ..data.answers import file_name, read_boxes, write_answer
from ..data.boxes import background
from ..data.masks import blank
from ..data.pixels import image_box
from ..errors import InputError, UnknownName
from .base import NONE, SKIP, Notes
from .masks import IMAGES, answerable_images, image_answers, image_size, named, refuse
from .worklist import Picture, WorklistOracle, csv_rows, next_answers

EDGES = ("left", "top", "right", "bottom")
COLUMNS = ("image", "class", *EDGES)


@dataclass(frozen=True)
class BoxWorklist:
    """A person who draws a box around each structure, through files.

    A round writes its images as `MaskWorklist` does. Boxes come in as rows of a CSV: the name of the image, the class,
    and the edges in pixels of the image from its upper left corner, `right` and `bottom` up to its width and height. An
    image without a structure has one row of class `none`, an image that nobody can answer one row of class `skip`.
    The boxes and the background around them are stored in the size of the network, side by side in the round's folder
    `answers`. A later answer about an image replaces all its boxes.

    size     of the network
    picture  see `MaskWorklist`
    """

    lists: WorklistOracle
    size: int
    picture: Picture | None = None

    @property
    def run(self) -> RunDir:
        """The run that asks."""
        return self.lists.run

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; an annotation costs two clicks a box, and one at least."""
        how = (
            f"list those of each image in {self.run.round_path(round) / IMAGES} in a CSV with the columns "
            f"{', '.join(COLUMNS)} (edges in pixels from the upper left corner; class: "
            f"{', '.join(self.lists.classes[1:])}, {NONE} in a row of its own for an image without any, {SKIP} to skip "
            f"it) and give it to: hybrid-al labels {shlex.quote(str(self.run.path))} FILE"
        )
        answers = image_answers(self.lists, query, round, self.picture, "answers with boxes", how)
        return tuple(map(self._with_cost, answers))

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`: nothing."""
        return {}

    def take(self, file: Path, annotator: str, *, replace: bool = False) -> tuple[int, int]:
        """Take in a CSV of boxes, whole or not at all; (images answered, images still missing).

        InputError: no open query; no CSV with the columns; and, with a line for each bad row, a name of no image, an
        unknown class, edges that are no numbers or no box of the image, boxes beside `none` or `skip`.
        """
        lines = ((f"line {line}", row) for line, row in csv_rows(file, COLUMNS))
        return self.take_rows(file, lines, annotator, replace=replace)

    def take_rows(
        self, file: Path | str, lines: Iterable[tuple[str, Mapping[str, str]]], annotator: str, *, replace: bool = False
    ) -> tuple[int, int]:
        """As `take`, of (place for errors, row)."""
        round, names = answerable_images(self.lists, "boxes")
        answers: dict[int, list[tuple[int, ...] | str]] = {}
        problems: list[str] = []
        for where, row in lines:
            try:
                index = names.get(row["image"].removesuffix(".png"))
                if index is None:
                    hint = self.lists.way_out(named(self.lists.manifest, row["image"].removesuffix(".png")))
                    raise ValueError(f"no image of the open query or of an earlier one is named {row['image']!r}{hint}")
                answer = self._read(index, row)
                rows = answers.setdefault(index, [])
                if rows and (isinstance(answer, str) or isinstance(rows[0], str)):
                    raise ValueError(f"{file_name(index)} has another row: {NONE} and {SKIP} stand alone")
                rows.append(answer)
            except ValueError as error:
                problems.append(f"  {where}: {error}")
        refuse(file, "a row for each box of the images that were given out", problems, "that are none")
        if not answers:
            raise InputError(file, "at least one row", "none")
        self.lists.admit(file, annotator, answers)
        unsaid = self.lists.unsaid(round, answers, lambda a: not self._same(a, answers[a.index]), annotator)
        return len(answers), self._store(file, round, {i: answers[i] for i in unsaid}, annotator, replace=replace)

    def put(
        self, where: object, texts: Mapping[str, str], annotator: str, notes: Notes, *, replace: bool = False
    ) -> None:
        """See `Inbox.put`."""
        round, _ = self.lists.open_query("boxes")
        answers: dict[int, Sequence[tuple[int, ...] | str]] = {}
        for sample, text in texts.items():
            index = self.lists.manifest.position[sample]
            answers[index] = [SKIP] if text == SKIP else self.read_rows(index, self.run.path / text)
        self._store(where, round, answers, annotator, notes, replace=replace)

    def read_rows(self, index: int, file: Path) -> Sequence[tuple[int, ...] | str]:
        """The boxes of a JSON file with a mapping of `class` and edges each; ValueError for one that is none."""
        boxes = json.loads(file.read_text(encoding="utf-8"))
        return [self._read(index, {key: str(box[key]) for key in ("class", *EDGES)}) for box in boxes] or [NONE]

    def _store(
        self,
        where: object,
        round: int,
        answers: Mapping[int, Sequence[tuple[int, ...] | str]],
        annotator: str,
        notes: Notes | None = None,
        *,
        replace: bool,
    ) -> int:
        """Write boxes and the CSV of them; how many answers are still missing."""
        differs: Callable[[Annotation], bool] = lambda a: not self._same(a, answers[a.index])  # noqa: E731
        replaces = self.lists.replaces(where, round, answers, differs, annotator, replace=replace)
        texts = {self.lists.manifest.ids[i]: self._keep(round, i, answer) for i, answer in answers.items()}
        return self.lists.store(where, round, texts, annotator, replaces, notes)

    def _same(self, answer: Annotation, rows: Sequence[tuple[int, ...] | str]) -> bool:
        """Whether an earlier answer is that of these rows."""
        if rows == [SKIP] or answer.kind == "skip":
            return rows == [SKIP] and answer.kind == "skip"
        before = [tuple(box) for box in read_boxes(self.run.path / str(answer.target)).tolist()]
        return sorted(before) == sorted(row for row in rows if not isinstance(row, str))

    def _read(self, index: int, row: Mapping[str, str]) -> tuple[int, ...] | str:
        """(class, top, left, bottom, right) in the size of the network, `none` or `skip`; ValueError says why not."""
        if row["class"] in (NONE, SKIP):
            return row["class"]
        if row["class"] not in self.lists.classes[1:]:
            raise ValueError(str(UnknownName("class", row["class"], (*self.lists.classes[1:], NONE, SKIP))))
        height, width = image_size(self.lists, index)
        try:
            left, top, right, bottom = (float(row[edge]) for edge in EDGES)
        except ValueError:
            raise ValueError(f"expected numbers, got {', '.join(row[edge] or 'nothing' for edge in EDGES)}") from None
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            expected = f"expected 0 <= left < right <= {width} and 0 <= top < bottom <= {height}, the size of the image"
            raise ValueError(f"{expected}, got {', '.join(row[edge] for edge in EDGES)}")
        box = image_box(height, width, self.size)
        rows = _pixels(top * box.height / height, bottom * box.height / height, box.height)
        columns = _pixels(left * box.width / width, right * box.width / width, box.width)
        number = self.lists.classes.index(row["class"])
        return (number, box.top + rows[0], box.left + columns[0], box.top + rows[1], box.left + columns[1])

    def _keep(self, round: int, index: int, answer: Sequence[tuple[int, ...] | str]) -> str:
        """Write the boxes of an image and the background around them; the text for the CSV of the round."""
        if answer == [SKIP]:
            return SKIP
        rows = np.asarray([row for row in answer if not isinstance(row, str)], dtype=np.int64).reshape(-1, 5)
        valid = blank(np.asarray([image_size(self.lists, index)]), self.size)[0]
        folder = next_answers(self.run, round)
        return write_answer(self.run, round, index, background(valid, rows), boxes=rows, folder=folder)

    def _with_cost(self, answer: Annotation) -> Annotation:
        if answer.kind == "skip":
            return answer
        return replace(answer, cost=float(max(2 * len(read_boxes(self.run.path / str(answer.target))), 1)))


def _pixels(begin: float, end: float, count: int) -> tuple[int, int]:
    """The pixels whose middle lies between two edges, as (first, last + 1); the nearest one where there is none."""
    first, beyond = math.ceil(begin - 0.5), math.ceil(end - 0.5)
    if first >= beyond:
        first = min(int((begin + end) / 2), count - 1)
        beyond = first + 1
    return first, beyond
