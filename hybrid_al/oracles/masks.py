"""Masks by people: the images of a query go out as PNG files, masks of the same names come in.

Points and strokes come in as masks too, in which all other pixels have the value for no label.
"""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core.files import write_atomic
from ..core.manifest import Manifest
from ..core.rundir import RunDir
from ..core.types import IGNORE, Annotation, AnnotationKind, BoolArray, IntArray, LabelMap, Target
from ..data.answers import file_name, read_answer, to_png, write_answer
from ..data.folders import ignored_files
from ..data.masks import EmptyMask, check_known, check_lies_on, in_words, resize_marks, to_classes
from ..data.readers import choose
from ..data.readers.base import Header
from ..data.readers.images import header, read_values
from ..data.samples import reason
from ..errors import AwaitingLabels, InputError
from .base import NONE, SKIP, Notes
from .weak import strokes
from .wording import Wording
from .worklist import Picture, WorklistOracle, next_answers

MASKS = choose()  # the readers that masks of data have
IMAGES = "images"
ASKED = "asked"
MOST_PROBLEMS = 20


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
    named    whether the recipe says what 255 means; else a mask of 0 and 255 alone is refused, as it may be a drawing
             in black and white
    """

    lists: WorklistOracle
    table: Mapping[int, int]
    size: int
    picture: Picture | None = None
    named: bool = False

    @property
    def run(self) -> RunDir:
        """The run that asks."""
        return self.lists.run

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; masks of samples of earlier rounds are corrections."""
        kind = "" if self._whole else f" of {self.lists.wording.kind}s"
        how = (
            f"draw one of the same name and size for each image in {self.run.round_path(round) / IMAGES} "
            f"(values: {in_words(self.table, self.lists.classes)}; a mask all of it not known skips) "
            f"and give the folder of masks to: hybrid-al labels {shlex.quote(str(self.run.path))} FOLDER"
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

        Says on stderr how many pixels are not known, and which files of the folder are no masks.

        InputError: no open query; no folder of masks; and, with a line for each bad file, a name of no image, a file
        that is no mask, another size than that of the image, values that mean no class.
        """
        _, names = answerable_images(self.lists, "masks")
        masks = self._read(folder, names)
        count = self.take_maps(folder, masks, annotator, replace=replace)
        for note in ignored_files(folder, MASKS.suffixes):
            print(note, file=sys.stderr)
        return count

    def take_maps(
        self, where: Path | str, masks: Mapping[int, LabelMap | None], annotator: str, *, replace: bool = False
    ) -> tuple[int, int]:
        """As `take`, of label maps of classes in the images' own pixels by sample, None to skip it."""
        round, _ = self.lists.open_query("masks")
        self.lists.admit(where, annotator, masks)
        unsaid = self.lists.unsaid(round, masks, lambda a: not self._same(a, masks[a.index]), annotator)
        missing = self._store(where, round, {i: masks[i] for i in unsaid}, annotator, replace=replace)
        for note in self._counts(list(masks.values())):
            print(note, file=sys.stderr)
        return len(masks), missing

    def put(
        self, where: object, texts: Mapping[str, str], annotator: str, notes: Notes, *, replace: bool = False
    ) -> None:
        """See `Inbox.put`."""
        round, _ = self.lists.open_query("masks")
        position, count = self.lists.manifest.position, len(self.lists.classes)
        masks = {
            position[sample]: None if text == SKIP else read_answer(self.run.path / text, count)
            for sample, text in texts.items()
        }
        self._store(where, round, masks, annotator, notes, replace=replace)

    def _store(
        self,
        where: object,
        round: int,
        masks: Mapping[int, LabelMap | None],
        annotator: str,
        notes: Notes | None = None,
        *,
        replace: bool,
    ) -> int:
        """Write masks and the CSV of them; how many answers are still missing."""
        differs: Callable[[Annotation], bool] = lambda a: not self._same(a, masks[a.index])  # noqa: E731
        replaces = self.lists.replaces(where, round, masks, differs, annotator, replace=replace)
        texts = {self.lists.manifest.ids[i]: self._keep(round, i, mask) for i, mask in masks.items()}
        return self.lists.store(where, round, texts, annotator, replaces, notes)

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
        files = [f for f in sorted(folder.iterdir()) if f.name.lower().endswith(MASKS.suffixes) and f.name[0] != "."]
        if not files:
            raise InputError(folder, "at least one mask", "no image file")
        masks: dict[int, LabelMap | None] = {}
        problems: list[str] = []
        for file in files:
            try:
                index = names.get(MASKS.stem(file.name))
                if index is None:
                    hint = self.lists.way_out(named(self.lists.manifest, MASKS.stem(file.name)))
                    raise ValueError(f"no image of the open query or of an earlier one has this name{hint}")
                if index in masks:
                    raise ValueError("a second mask of the same image")
                masks[index] = self._mask(file, index)
            except (OSError, ValueError) as error:
                problems.append(f"  {file}: {reason(error)}")
        refuse(folder, "masks of the images that were given out", problems, "that are none")
        return masks

    def _mask(self, file: Path, index: int) -> LabelMap | None:
        """A mask, None where it labels no pixel; ValueError or OSError where the file is no mask of its image."""
        image = image_header(self.lists, index)
        reader = MASKS.of(file)
        check_lies_on(file_name(index), reader.probe(file), image)
        array = reader.values(file)
        try:
            mask = to_classes(array, self.table)
        except EmptyMask:
            return None
        if self._whole and not self.named:
            check_known(array[self._asked(index, array.shape)], self.table, self.lists.classes)
        return mask

    def _asked(self, index: int, shape: tuple[int, ...]) -> BoolArray:
        """Which pixels (H, W) of an image were asked about by now: all of them where no regions are."""
        files = list(self.run.path.glob(f"rounds/*/{ASKED}/{file_name(index)}"))
        return np.any([read_values(file) > 0 for file in files], axis=0) if files else np.ones(shape, dtype=np.bool_)

    def _counts(self, masks: Sequence[LabelMap | None]) -> list[str]:
        """How many pixels of these masks are not known, and how many masks skip their image."""
        labels = [mask for mask in masks if mask is not None]
        unknown, total = sum(int((mask == IGNORE).sum()) for mask in labels), sum(mask.size for mask in labels)
        skips = len(masks) - len(labels)
        notes = [f"{unknown} of {total} pixels ({unknown / total:.1%}) are not known"] if unknown else []
        return [*notes, f"{skips} masks label no pixel, which skips their images"] if skips else notes

    def _keep(self, round: int, index: int, mask: LabelMap | None) -> str:
        """Write a mask with the numbers of the classes; the text for the CSV of the round."""
        if mask is None:
            return SKIP
        marks, folder = mask if self._whole else resize_marks(mask, self.size), next_answers(self.run, round)
        return write_answer(self.run, round, index, marks, folder=folder)


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
    if (readings := lists.readings(round)) is not None:
        raise AwaitingLabels(f"{lists.give_out_to_readers(readings)}; {how}\n{lists.by_page} --reader NAME")
    raise AwaitingLabels(
        f"round {round} waits for {len(missing)} of {len(query)} {what}, the first is {file_name(missing[0])}: {how}\n"
        f"{lists.by_page}"
    )


def answerable_images(lists: WorklistOracle, waits_for: str) -> tuple[int, dict[str, int]]:
    """The round that waits for answers, and name of the image without suffix -> sample, of all that may be answered."""
    round, ids = lists.open_query(waits_for)
    position = lists.manifest.position
    return round, {Path(file_name(position[i])).stem: position[i] for i in ids}


def named(manifest: Manifest, stem: str) -> int | None:
    """The sample whose image has a name, without suffix."""
    index = int(stem) if stem.isdecimal() and len(stem) < 10 else len(manifest)
    return index if index < len(manifest) and Path(file_name(index)).stem == stem else None


def image_size(lists: WorklistOracle, index: int) -> tuple[int, int]:
    """Height and width of the image that was given out of a sample; ValueError where no round has it any more."""
    found = image_header(lists, index)
    return found.height, found.width


def image_header(lists: WorklistOracle, index: int) -> Header:
    """The header of the image that was given out of a sample, or is now (`unasked`); raises as `image_size`."""
    run = lists.run
    files = sorted(run.path.glob(f"rounds/*/{IMAGES}/{file_name(index)}"))
    if not files and lists.unasked is not None:
        files = [run.round_path(len(run.rounds())) / IMAGES / file_name(index)]
        write_atomic(files[0], _png(lists.unasked(index)))
    if not files:
        raise ValueError(f"the image {file_name(index)} that was given out is gone: hybrid-al run writes it again")
    return header(io.BytesIO(files[-1].read_bytes()))


def refuse(where: Path | str, expected: str, problems: Sequence[str], what: str) -> None:
    """InputError with a line for each of the first `MOST_PROBLEMS` problems; nothing where there is none."""
    if problems:
        more = [f"  ... and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
        came = "\n".join([f"{len(problems)} {what}:", *problems[:MOST_PROBLEMS], *more])
        raise InputError(where, f"{expected}; nothing was taken", came)


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    return to_png(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
