"""Masks by people: the images of a query go out as PNG files, masks of the same names come in.

Points and strokes come in as masks too, in which all other pixels have the value for no label.
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
from ..data.masks import EmptyMask, check_size, read_mask, resize_marks
from ..data.readers.images import SUFFIXES, probe
from ..data.samples import reason
from ..errors import AwaitingLabels, InputError
from .base import NONE, SKIP
from .weak import strokes
from .worklist import Wording, WorklistOracle

IMAGES = "images"
MOST_PROBLEMS = 20
Picture = Callable[[int], npt.NDArray[np.uint8]]
"""Position -> the image (H, W, 1 or 3) for a person, in its own pixels."""


def _file_name(where: str, text: str, classes: tuple[str, ...]) -> Target:
    return text


KINDS: Mapping[str, AnnotationKind] = {"mask": "mask", "points": "point", "scribbles": "scribble", "boxes": "box"}
"""The kinds of annotations by the word in a recipe (`oracle.answer`)."""


def wording(answer: str) -> Wording:
    """The wording of a CSV whose texts are files of answers."""
    return Wording(KINDS[answer], _file_name, f"{answer} for each image", words=(NONE, SKIP))


@dataclass(frozen=True)
class MaskWorklist:
    """A person who draws masks, points or strokes, through folders.

    A round writes each image that it asks about into its folder `images`, as PNG in the image's own pixels. A mask is
    an image file of that name and size, whose values mean classes; a mask that labels no pixel skips the sample. Masks
    come in by `take`. The round's folder `answers` holds them, and a CSV of who drew them and when.

    lists    the CSV files
    table    value in a mask file -> class, `IGNORE` for a pixel that the person does not know
    size     of the network, in which points and strokes are stored; masks are in the image's own pixels
    picture  position -> image (H, W, 1 or 3); None where answers only come in
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
        """See `Oracle.annotate`; masks of samples of earlier rounds are corrections."""
        kind = "" if self._whole else f" of {self.lists.wording.kind}s"
        how = (
            f"draw one of the same name and size for each image in {self.run.round_path(round) / IMAGES} "
            f"(values: {self._values()}) "
            f"and give the folder of masks to: hybrid-al labels {self.run.path} FOLDER"
        )
        return tuple(map(self._with_cost, image_answers(self.lists, query, round, self.picture, f"masks{kind}", how)))

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`: nothing."""
        return {}

    @property
    def _whole(self) -> bool:
        return self.lists.wording.kind == "mask"

    def _with_cost(self, answer: Annotation) -> Annotation:
        """The annotation with its cost in clicks or strokes; a mask costs 1."""
        if self._whole or answer.kind == "skip":
            return answer
        return replace(answer, cost=float(strokes(read_answer(self.run.path / str(answer.target)))))

    def take(self, folder: Path, annotator: str, *, replace: bool = False) -> tuple[int, int]:
        """Take in a folder of masks, whole or not at all; (number of its answers, answers still missing).

        InputError: no open query; no folder of masks; and, with a line for each bad file, a name of no image, a file
        that is no mask, another size than that of the image, values that mean no class.
        """
        round, names = answerable_images(self.lists, "masks")
        masks = self._read(folder, names)
        differs: Callable[[Annotation], bool] = lambda a: not self._same(a, masks[a.index])  # noqa: E731
        replaces = self.lists.replaces(folder, round, masks, differs, annotator, replace=replace)
        texts = {self.lists.manifest.ids[i]: self._keep(round, i, mask) for i, mask in masks.items()}
        return len(texts), self.lists.store(round, texts, annotator, replaces)

    def _same(self, answer: Annotation, mask: LabelMap | None) -> bool:
        """Whether an earlier answer is the one that a mask gives."""
        if mask is None or answer.kind == "skip":
            return mask is None and answer.kind == "skip"
        marks = mask if self._whole else resize_marks(mask, self.size)
        return np.array_equal(read_answer(self.run.path / str(answer.target)), marks)

    def _read(self, folder: Path, names: Mapping[str, int]) -> dict[int, LabelMap | None]:
        """The masks of a folder by sample, None for one that labels no pixel."""
        if not folder.is_dir():
            expected = "a folder of masks that have the names of the images"
            raise InputError(folder, expected, "a file" if folder.exists() else "nothing there")
        files = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")]
        if not files:
            raise InputError(folder, "at least one mask", "no image file")
        masks: dict[int, LabelMap | None] = {}
        problems: list[str] = []
        for file in files:
            try:
                index = names.get(file.stem)
                if index is None:
                    raise ValueError("no image of the open query or of an earlier one has this name")
                if index in masks:
                    raise ValueError("a second mask of the same image")
                masks[index] = self._mask(file, index)
            except (OSError, ValueError) as error:
                problems.append(f"  {file}: {reason(error)}")
        refuse(folder, "masks of the images that were given out", problems, "that are none")
        return masks

    def _mask(self, file: Path, index: int) -> LabelMap | None:
        """A mask, None where it labels no pixel; ValueError or OSError where the file is no mask of its image."""
        expected = image_size(self.run, index)
        height, width, _ = probe(io.BytesIO(file.read_bytes()))
        check_size(file_name(index), (height, width), expected)
        try:
            return read_mask(file, self.table)
        except EmptyMask:
            return None

    def _keep(self, round: int, index: int, mask: LabelMap | None) -> str:
        """Write a mask with the numbers of the classes; the text for the CSV of the round."""
        if mask is None:
            return SKIP
        return write_answer(self.run, round, index, mask if self._whole else resize_marks(mask, self.size))

    def _values(self) -> str:
        names = dict(enumerate(self.lists.classes)) | {IGNORE: "not known, everywhere to skip"}
        return ", ".join(f"{value} {names[c]}" for value, c in sorted(self.table.items()))


def image_answers(
    lists: WorklistOracle, query: IntArray, round: int, picture: Picture | None, what: str, how: str
) -> tuple[Annotation, ...]:
    """The answers of a round; until each image of its query has one, images go out and AwaitingLabels is raised.

    what  the answers are
    how   to make them from the images in the round's folder `IMAGES`, and to hand them in
    """
    answers, missing = lists.latest_answers(query, round)
    if not missing:
        return answers
    for i in missing:
        file = lists.run.round_path(round) / IMAGES / file_name(i)
        if picture is not None and not file.is_file():
            write_atomic(file, _png(picture(i)))
    raise AwaitingLabels(
        f"round {round} waits for {len(missing)} of {len(query)} {what}, the first is {file_name(missing[0])}: {how}"
    )


def answerable_images(lists: WorklistOracle, waits_for: str) -> tuple[int, dict[str, int]]:
    """The round that waits for answers, and name of the image without suffix -> sample, of all that may be answered."""
    round, ids = lists.open_query(waits_for)
    position = lists.manifest.position
    return round, {Path(file_name(position[i])).stem: position[i] for i in ids}


def image_size(run: RunDir, index: int) -> tuple[int, int]:
    """Height and width of the image that was given out of a sample; ValueError where no round has it any more."""
    files = sorted(run.path.glob(f"rounds/*/{IMAGES}/{file_name(index)}"))
    if not files:
        raise ValueError(f"the image {file_name(index)} that was given out is gone: hybrid-al run writes it again")
    return probe(io.BytesIO(files[-1].read_bytes()))[:2]


def refuse(where: Path, expected: str, problems: Sequence[str], what: str) -> None:
    """InputError with a line for each of the first `MOST_PROBLEMS` problems; nothing where there is none."""
    if problems:
        more = [f"  ... and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
        came = "\n".join([f"{len(problems)} {what}:", *problems[:MOST_PROBLEMS], *more])
        raise InputError(where, f"{expected}; nothing was taken", came)


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    return to_png(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
