"""The answers of segmentation: the masks that came with the data, what is made of them, and what people give."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core.rundir import RunDir
from ..core.types import IGNORE, BoolArray
from ..data.base import Dataset, Masks
from ..data.display import picture
from ..data.masks import value_table
from ..data.stores.masks import MaskStore
from ..errors import InputError
from ..metrics.holdout import MaskHoldout, network_spacing
from ..oracles import inbox
from ..oracles.base import Oracle
from ..oracles.masks import MaskWorklist
from ..oracles.regions import RegionWorklist
from ..oracles.simulated import ANSWERS, SimulatedMasks, SimulatedRegions
from ..regions.base import Parts
from .base import Materials, Setting

MASK = "mask"  # the answer of an oracle that is not weakened
DOMINANT = "dominant"  # the class of most pixels of a region, by one click
MASK_SOURCES = "masks (csv and nifti: columns.mask, folder and dicom: masks, phantom: masks=true)"


@dataclass(frozen=True)
class MaskAnswers:
    """The task as oracles see it."""

    setting: Setting
    materials: Materials
    parts: Parts | None

    @property
    def run(self) -> RunDir:
        """See `Answers.run`."""
        return self.materials.run

    @cached_property
    def store(self) -> MaskStore:
        """The label maps that came with the data."""
        return mask_store(self.setting, self.materials.dataset, self.materials.cache)

    @property
    def holdout(self) -> MaskHoldout:
        """What measures val and test."""
        dataset = self.materials.dataset
        masks, truth = masks_of(dataset), self.store.batch
        spacing = network_spacing(masks.spacing, masks.sizes, self.setting.image_size)
        return MaskHoldout(dataset.manifest, dataset.classes, masks.labeled, truth, spacing, self.materials.parts)

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """See `Answers.picture`."""
        return picture(self.materials.dataset, index)

    def simulated(self) -> Oracle:
        """See `Answers.simulated`: masks of the pool, weaker answers made from them, or masks of regions."""
        store, answer = self.store, answer_of(self.setting)
        if self.parts is not None:
            return SimulatedRegions(self._answerable, store.batch, self.parts, self.run, click=answer == DOMINANT)
        if answer == MASK:
            return self.whole()
        read = lambda i: store.batch(np.asarray([i], dtype=np.int64))[0]  # noqa: E731
        return SimulatedMasks(self._answerable, read, self.run, ANSWERS[answer])

    def whole(self) -> Oracle:
        """Whole masks of the pool, also where regions are asked about."""
        return SimulatedMasks(self._answerable, masks_of(self.materials.dataset).read, self.run)

    @property
    def _answerable(self) -> BoolArray:
        """Whether a sample is of the pool and has a mask (N,)."""
        answerable = np.zeros(len(self.materials.dataset.manifest), dtype=np.bool_)
        answerable[self.materials.pool] = masks_of(self.materials.dataset).labeled[self.materials.pool]
        return answerable

    def people(self) -> Oracle:
        """See `Answers.people`."""
        dataset = self.materials.dataset
        people = inbox_of(self.setting, dataset).open(self.run, partial(picture, dataset))
        if self.parts is None:
            return people
        assert isinstance(people, MaskWorklist)  # see `mask_checks`
        return RegionWorklist(people, self.parts, masks_of(dataset).sizes, self.setting.image_size)


def masks_of(dataset: Dataset) -> Masks:
    """The masks of a dataset, which must have a place for them."""
    if dataset.masks is None:
        raise InputError("data", f"{MASK_SOURCES}; where none is drawn yet, an empty column or folder", "none")
    return dataset.masks


def mask_store(setting: Setting, dataset: Dataset, cache: Path) -> MaskStore:
    """The label maps of all samples that have one; a class that no map has is an error."""
    masks = masks_of(dataset)
    rows = np.flatnonzero(masks.labeled)
    store = MaskStore.build(
        rows,
        masks.read,
        [masks.keys[i] for i in rows.tolist()],
        [f"mask of {dataset.manifest.ids[i]}" for i in rows.tolist()],
        size=setting.image_size,
        cache=cache,
        workers=dataset.workers,
    )
    if len(store):
        store.check_classes(dataset.classes)
    return store


def answer_of(setting: Setting) -> str:
    """The kind of an answer; masks where the recipe names none."""
    return MASK if setting.answer is None else setting.answer


def inbox_of(setting: Setting, dataset: Dataset) -> inbox.Masks | inbox.Boxes:
    """What takes in the answers of people."""
    if (answer := answer_of(setting)) == "boxes":
        return inbox.Boxes(setting.image_size)
    values, classes = setting.mask_values, dataset.classes
    table = value_table(values, classes)
    files = "points" if answer == DOMINANT else answer
    return inbox.Masks(files, setting.image_size, {IGNORE: IGNORE, **table}, IGNORE in table)
