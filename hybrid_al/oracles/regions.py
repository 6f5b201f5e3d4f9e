"""Answers about parts of images by people: what is asked goes out as images, and only that is read of their masks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ..core.labels import LabelStore
from ..core.rundir import write_atomic
from ..core.types import IGNORE, Annotation, BoolArray, IntArray, LabelMap
from ..data.answers import file_name, read_answer, to_png, write_answer
from ..data.masks import resize_mask
from ..data.pixels import fitted
from ..errors import AwaitingLabels
from ..regions.base import Parts
from .masks import MaskWorklist

ASKED = "asked"
KNOWN = "known"


@dataclass(frozen=True)
class RegionWorklist:
    """A person who draws parts of masks, through folders.

    Beside an image in the round's folder `images` lies one of its name and size in `asked`, white where it is asked
    about. Its mask has the image's size as ever; what it says elsewhere is not read. What is known of the image by
    then is kept in the size of the network, in the round's folder `known`, which the annotation names.

    people  gives images out and takes masks in
    sizes   (N, 2) height and width of the images in their own pixels
    size    of the network
    """

    people: MaskWorklist
    parts: Parts
    sizes: IntArray
    size: int

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; the query is of units, an annotation of a sample with the parts that were asked.

        A mask of a sample of an earlier round corrects what was asked of it by then.
        """
        run = self.people.run
        regions, labels = self.parts.at(round), run.labels(len(self.sizes))
        asked = regions.by_sample(query)
        where = {i: regions.mask(i, parts) for i, parts in asked.items()}
        for i, pixels in where.items():
            file = run.round_path(round) / ASKED / file_name(i)
            if not file.is_file():
                write_atomic(file, to_png(255 * self._own(i, pixels).astype(np.uint8)))
        try:
            given = self.people.annotate(np.asarray(list(asked), dtype=np.int64), round)
        except AwaitingLabels as error:
            folder = run.round_path(round) / ASKED
            raise AwaitingLabels(f"{error}; only what is white in its image in {folder} is read of a mask") from None
        before = self.parts.query_masks(labels)
        return tuple(
            self._known(a, where[a.index], asked[a.index], labels)
            if a.index in asked
            else self._known(a, np.any(before(a.index), axis=0), (), labels)
            for a in given
        )

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`: nothing."""
        return {}

    def _known(self, answer: Annotation, where: BoolArray, parts: tuple[int, ...], labels: LabelStore) -> Annotation:
        """The annotation with all that is known of its sample by now: `where` the answer counts, else as before."""
        run, last = self.people.run, labels.current.get(answer.index)
        shown: LabelMap = np.full(where.shape, IGNORE, dtype=np.uint8)
        if last is not None and last.kind == "mask":
            shown = read_answer(run.path / str(last.target))
        drawn: LabelMap = np.full(where.shape, IGNORE, dtype=np.uint8)
        if answer.kind == "mask":
            drawn = resize_mask(read_answer(run.path / str(answer.target)), self.size)
        shown = np.where(where, drawn, shown)
        cost = float(len(parts))
        if (shown == IGNORE).all():
            return replace(answer, kind="skip", target=None, region=parts, cost=cost)
        target = write_answer(run, answer.round, answer.index, shown, folder=KNOWN)
        return replace(answer, kind="mask", target=target, region=parts, cost=cost)

    def _own(self, index: int, where: BoolArray) -> BoolArray:
        """Pixels of the network's size in the image's own (H, W): those that they cover, and those that are read."""
        height, width = self.sizes[index].tolist()
        box = fitted(height, width, self.size)
        within = where[box.rows, box.columns]
        row = (np.arange(height) * box.height // height)[:, None]
        column = np.arange(width) * box.width // width
        found: BoolArray = within[row, column]
        number = Image.fromarray(np.arange(height * width, dtype=np.int32).reshape(height, width))
        read = np.asarray(number.resize((box.width, box.height), Image.Resampling.NEAREST))
        found.flat[read[within]] = True
        return found
