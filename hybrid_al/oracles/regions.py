"""Masks or classes of regions by people: images of the regions go out too, and masks are read only there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ..core.files import write_atomic
from ..core.labels import LabelStore
from ..core.types import IGNORE, Annotation, BoolArray, IntArray, LabelMap
from ..data.answers import file_name, read_answer, to_png, write_answer
from ..data.masks import resize_mask
from ..data.pixels import image_box
from ..errors import AwaitingLabels
from ..regions.base import Parts
from .masks import ASKED, MaskWorklist
from .weak import dominant

KNOWN = "known"


@dataclass(frozen=True)
class RegionWorklist:
    """A person who draws masks of regions, or says the class of each by a mark in it, through folders.

    For each image in the round's folder `images` there is one of the same name and size in `asked`, white where it is
    asked about. The mask that comes in has the size of the image, and only its pixels there are read. All labels of
    the image by then are stored in the size of the network, in the round's folder `known`; the annotation names that
    file.

    people  gives out images and takes in masks, or points: then a region has the class of most of the marks in it
    sizes   (N, 2) height and width of the images in their own pixels
    size    of the network
    """

    people: MaskWorklist
    parts: Parts
    sizes: IntArray
    size: int

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; a query is of regions, an annotation of a sample with the parts asked about.

        A mask of a sample of an earlier round corrects all of its parts that were asked about by then.
        """
        run = self.people.run
        regions, labels = self.parts.at(round), run.labels(len(self.sizes))
        parts_of = regions.by_sample(query)
        masks = {i: [regions.mask(i, (part,)) for part in parts] for i, parts in parts_of.items()}
        for i, in_image in masks.items():
            file = run.round_path(round) / ASKED / file_name(i)
            if not file.is_file():
                write_atomic(file, to_png(255 * self._image_pixels(i, np.any(in_image, axis=0)).astype(np.uint8)))
        try:
            answers = self.people.annotate(np.asarray(list(parts_of), dtype=np.int64), round)
        except AwaitingLabels as error:
            folder = run.round_path(round) / ASKED
            marks = "; each white region gets the class of the marks in it" if self._clicks else ""
            note = f"only what is white in its image in {folder} is read of a mask{marks}"
            raise AwaitingLabels(f"{error}\n{note}") from None
        masks_before = self.parts.query_masks(labels)
        return tuple(
            self._merge(a, masks[a.index], parts_of[a.index], labels)
            if a.index in parts_of
            else self._merge(a, masks_before(a.index), (), labels)
            for a in answers
        )

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`: nothing."""
        return {}

    @property
    def _clicks(self) -> bool:
        return self.people.lists.wording.kind == "point"

    def _merge(
        self, answer: Annotation, masks: list[BoolArray], parts: tuple[int, ...], labels: LabelStore
    ) -> Annotation:
        """The annotation with all labels of its sample: those of the answer in `masks`, elsewhere those from before."""
        run, earlier = self.people.run, labels.current.get(answer.index)
        label_map: LabelMap = np.full((self.size, self.size), IGNORE, dtype=np.uint8)
        answer_map = label_map
        if earlier is not None and earlier.kind != "skip":
            label_map = read_answer(run.path / str(earlier.target))
        if answer.kind != "skip":
            answer_map = resize_mask(read_answer(run.path / str(answer.target)), self.size)
            if self._clicks:
                answer_map = dominant(answer_map, masks)
        label_map = np.where(np.any(masks, axis=0), answer_map, label_map)
        cost = float(len(parts))
        if (label_map == IGNORE).all():
            return replace(answer, kind="skip", target=None, region=parts, cost=cost)
        target = write_answer(run, answer.round, answer.index, label_map, folder=KNOWN)
        return replace(answer, kind=self.people.lists.wording.kind, target=target, region=parts, cost=cost)

    def _image_pixels(self, index: int, mask: BoolArray) -> BoolArray:
        """A mask in the network's size as one in the image's own (H, W).

        It has the pixels that the network's pixels cover, and those that the resized answer is read from.
        """
        height, width = self.sizes[index].tolist()
        box = image_box(height, width, self.size)
        picture = mask[box.rows, box.columns]
        row = (np.arange(height) * box.height // height)[:, None]
        column = np.arange(width) * box.width // width
        pixels: BoolArray = picture[row, column]
        number = Image.fromarray(np.arange(height * width, dtype=np.int32).reshape(height, width))
        sources = np.asarray(number.resize((box.width, box.height), Image.Resampling.NEAREST))
        pixels.flat[sources[picture]] = True
        return pixels
