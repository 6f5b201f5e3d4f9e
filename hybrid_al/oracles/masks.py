"""Answers with masks by people: the images of a query go out as PNG files, masks of the same names come in.

What is said of single pixels, points and strokes, comes in as a mask too: all other pixels are of the value of none.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core.rundir import RunDir, write_atomic
from ..core.types import IGNORE, Annotation, AnnotationKind, IntArray, LabelMap, Target
from ..data.answers import file_name, read_answer, to_png, write_answer
from ..data.masks import SaysNothing, check_size, read_mask, said_in
from ..data.readers.images import SUFFIXES, probe
from ..data.samples import reason
from ..errors import AwaitingLabels, InputError
from .base import SKIP
from .weak import strokes
from .worklist import Wording, WorklistOracle

IMAGES = "images"
SHOWN = 20
Picture = Callable[[int], npt.NDArray[np.uint8]]
"""Position -> the image (H, W, 1 or 3) as a person sees it, in its own pixels."""


def _as_it_is(where: str, said: str, classes: tuple[str, ...]) -> Target:
    return said


KINDS: Mapping[str, AnnotationKind] = {"mask": "mask", "points": "point", "scribbles": "scribble", "boxes": "box"}
"""Of annotations, by the word for the answers in a recipe (`oracle.answer`)."""


def wording(answer: str) -> Wording:
    """How the CSV of a round says which file holds an answer."""
    return Wording(KINDS[answer], _as_it_is, f"{answer} for each image")


@dataclass(frozen=True)
class MaskWorklist:
    """A person who draws masks, or points or strokes of them, through folders.

    A round writes each image that it asks about into its folder `images`, as PNG in the image's own pixels. A mask is
    an image file of that name and size, whose values mean classes; one that says nothing of any pixel skips the sample.
    Masks come in by `take`, and lie in the round's folder `answers` with a CSV of who drew them and when.

    lists    the CSV files
    table    value in a mask file -> class, `IGNORE` for a pixel that the person does not know
    size     of the network, in which points and strokes are kept; masks are in the image's own pixels
    picture  position -> image (H, W, 1 or 3); None where answers are taken in alone
    """

    lists: WorklistOracle
    table: Mapping[int, int]
    size: int
    picture: Picture | None = None

    @property
    def run(self) -> RunDir:
        """The run that asks."""
        return self.lists.run

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; masks of samples of earlier rounds come along as corrections."""
        of = "" if self._whole else f" of {self.lists.wording.kind}s"
        how = (
            f"draw one of the same name and size for each image in {self.run.round_path(round) / IMAGES} "
            f"(values: {self._values()}) "
            f"and give the folder of masks to: hybrid-al labels {self.run.path} FOLDER"
        )
        return tuple(map(self._priced, given_images(self.lists, query, round, self.picture, f"masks{of}", how)))

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`: nothing."""
        return {}

    @property
    def _whole(self) -> bool:
        return self.lists.wording.kind == "mask"

    def _priced(self, answer: Annotation) -> Annotation:
        """With the clicks or strokes that it took; a mask counts as one."""
        if self._whole or answer.kind == "skip":
            return answer
        return replace(answer, cost=float(strokes(read_answer(self.run.path / str(answer.target)))))

    def take(self, folder: Path, annotator: str) -> tuple[int, int]:
        """Take a folder of masks in, whole or not at all; (answers taken, answers still missing).

        Errors: no open query, no folder of masks; and, a line for each file, a name that no image has, a file that is
        no mask, one of another size than its image, values that mean no class.
        """
        round, known = open_images(self.lists, "masks")
        masks = self._read(folder, known)
        said = {self.lists.manifest.ids[i]: self._keep(round, i, mask) for i, mask in masks.items()}
        return len(said), self.lists.store(round, said, annotator)

    def _read(self, folder: Path, known: Mapping[str, int]) -> dict[int, LabelMap | None]:
        """The masks of a folder by sample, None for one that says nothing."""
        if not folder.is_dir():
            expected = "a folder of masks that have the names of the images"
            raise InputError(folder, expected, "a file" if folder.exists() else "nothing there")
        files = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")]
        if not files:
            raise InputError(folder, "at least one mask", "no image file")
        found: dict[int, LabelMap | None] = {}
        problems: list[str] = []
        for file in files:
            try:
                index = known.get(file.stem)
                if index is None:
                    raise ValueError("no image of the open query or of an earlier one has this name")
                if index in found:
                    raise ValueError("a second mask of the same image")
                found[index] = self._mask(file, index)
            except (OSError, ValueError) as error:
                problems.append(f"  {file}: {reason(error)}")
        refuse(folder, "masks of the images that were given out", problems, "that are none")
        return found

    def _mask(self, file: Path, index: int) -> LabelMap | None:
        """ValueError or OSError with the reason where a file is no mask of its image."""
        shown = size_given_out(self.run, index)
        height, width, _ = probe(io.BytesIO(file.read_bytes()))
        check_size(file_name(index), (height, width), shown)
        try:
            return read_mask(file, self.table)
        except SaysNothing:
            return None

    def _keep(self, round: int, index: int, mask: LabelMap | None) -> str:
        """Write a mask with the numbers of the classes; what the CSV says of it."""
        if mask is None:
            return SKIP
        return write_answer(self.run, round, index, mask if self._whole else said_in(mask, self.size))

    def _values(self) -> str:
        names = dict(enumerate(self.lists.classes)) | {IGNORE: "not known, everywhere to skip"}
        return ", ".join(f"{value} {names[c]}" for value, c in sorted(self.table.items()))


def given_images(
    lists: WorklistOracle, query: IntArray, round: int, picture: Picture | None, what: str, how: str
) -> tuple[Annotation, ...]:
    """The answers of a round, once each image of its query has one; else those that have none are given out.

    what  is waited for; how  it is made of the images in the round's folder `IMAGES`, and where it is handed in
    """
    given, missing = lists.given(query, round)
    if not missing:
        return given
    for i in missing:
        file = lists.run.round_path(round) / IMAGES / file_name(i)
        if picture is not None and not file.is_file():
            write_atomic(file, _png(picture(i)))
    raise AwaitingLabels(
        f"round {round} waits for {len(missing)} of {len(query)} {what}, the first is {file_name(missing[0])}: {how}"
    )


def open_images(lists: WorklistOracle, waits_for: str) -> tuple[int, dict[str, int]]:
    """The round that waits for answers, and the samples that may be answered by the name of their image, no suffix."""
    round, known = lists.open_query(waits_for)
    position = lists.manifest.position
    return round, {Path(file_name(position[i])).stem: position[i] for i in known}


def size_given_out(run: RunDir, index: int) -> tuple[int, int]:
    """Height and width of a sample's image; ValueError where it lies in no round any more."""
    given = sorted(run.path.glob(f"rounds/*/{IMAGES}/{file_name(index)}"))
    if not given:
        raise ValueError(f"the image {file_name(index)} that was given out is gone: hybrid-al run writes it again")
    return probe(io.BytesIO(given[-1].read_bytes()))[:2]


def refuse(where: Path, expected: str, problems: Sequence[str], what: str) -> None:
    """InputError with a line for each problem, of the first of them; nothing where there is none."""
    if problems:
        more = [f"  ... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        came = "\n".join([f"{len(problems)} {what}:", *problems[:SHOWN], *more])
        raise InputError(where, f"{expected}; nothing was taken", came)


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    return to_png(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
