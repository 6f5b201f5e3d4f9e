"""Segmentation: a sample has a mask, a class for each of its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from ..core.learner import Learner
from ..core.registry import Amount, Spec, component, parse_spec
from ..core.registry import Whole as WholeNumber
from ..core.types import IGNORE, BoolArray, FloatArray, IntArray
from ..data.base import Dataset, Masks
from ..data.domains import asked
from ..data.masks import blank
from ..data.pixels import image_box
from ..errors import InputError
from ..experiment import MANY, OpenTask, check_budgets
from ..metrics.pixel_calibration import FEW, sample_pixels
from ..oracles import inbox
from ..oracles.base import Oracle
from ..oracles.effort import clicks_of
from ..oracles.masks import wording
from ..oracles.wording import refuse_reserved
from ..query.base import Predictor, Scorer
from ..query.spending import CostBudgets, LabelBudgets, Spending
from ..query.stopping import IMAGES, stop_set
from ..regions.base import Regions, Whole
from . import mask_checks, mask_examples, mask_regions
from .base import LABELS, Materials, Setting, check_classes, split_of
from .mask_answers import MASK, MASK_SOURCES, MaskAnswers, answer_of, inbox_of, mask_store, masks_of

if TYPE_CHECKING:
    from ..learners.network import Foundation
    from ..models.encoder import Encoder
    from ..models.segmenter import Segmenter
    from ..scores.pixels import Reduction
    from ..semi.dense.base import DenseObjective
    from ..train import Schedule

TOP_UP_LIMIT = 50_000


@dataclass(frozen=True)
class Segmentation:
    """A sample has a class for each pixel.

    network    the decoder around the encoder, with settings of segmentation-models-pytorch (`decoder_channels`, ...)
    reduction  how scores of pixels become that of an image, in queries and in the consistency record; the mean over all
               pixels is the survey's
    region     what a query asks about: the image (or slice), windows or superpixels of it, boxes that the last model
               proposes (ripu, peaks), or superpixels that it merges (adaptive)
    sieve      whether training leaves out the pixels of a region that do not look like the one class that it was given
               (`oracle.answer: dominant`), by the last model
    side_heads   how many earlier blocks of the decoder have a head of their own, for `train: deep_supervision` and
               `query: dsal`
    quality_head  weight of a head that learns the Dice of the network's own masks, for `query: quality`; 0: none
    """

    network: Spec = "unet"
    reduction: Spec = "mean"
    region: Spec = mask_regions.IMAGE
    sieve: bool = False
    side_heads: WholeNumber = 0
    quality_head: Amount = 0.0

    baselines: ClassVar[tuple[str, ...]] = ("random", "foreground_random")
    strata: ClassVar[bool] = False
    drawable: ClassVar[bool] = True
    units: ClassVar[tuple[str, ...]] = (LABELS, "pixels", "foreground", "boundary", "clicks")

    @property
    def regional(self) -> bool:
        """See `Task.regional`."""
        return parse_spec(self.region)[0] != mask_regions.IMAGE

    # -- before any data ----------------------------------------------------------------------------------------------

    def check(self, setting: Setting) -> None:
        """See `Task.check`."""
        mask_checks.check(self, setting)

    def objectives(self, setting: Setting) -> tuple[Mapping[str, type[DenseObjective]], Schedule]:
        """See `Task.objectives`."""
        from ..learners.segment import SCHEDULE
        from ..semi.dense import DENSE_OBJECTIVES

        return DENSE_OBJECTIVES, SCHEDULE

    @property
    def reducer(self) -> Reduction:
        """How scores of pixels become that of an image."""
        from ..scores.pixels import REDUCTIONS

        return component(REDUCTIONS, "task.reduction", *parse_spec(self.reduction))

    # -- with data, nothing decoded -----------------------------------------------------------------------------------

    def check_data(self, setting: Setting, dataset: Dataset) -> None:
        """See `Task.check_data`: masks where the oracle is simulated, and an encoder that fits the network."""
        masks, pool = masks_of(dataset), asked(dataset.manifest, setting.sources)
        if setting.simulated and not masks.labeled.any():
            raise InputError("data", MASK_SOURCES, "none")
        if setting.answer == "boxes" and not setting.simulated:
            refuse_reserved(dataset.classes[1:], wording("boxes"))
        check_classes(dataset.classes)
        if setting.simulated and not masks.labeled[pool].any():
            raise InputError("oracle", "masks for the pool (simulated)", "none in the data; use oracle.name=worklist")
        if not self.regional:
            check_budgets(Whole(pool), _spending(setting))
        self._blank(setting, dataset)

    def check_images(self, setting: Setting, materials: Materials) -> None:
        """See `Task.check_images`: masks that lack a class, budgets beyond the regions of the pool."""
        mask_store(setting, materials.dataset, materials.cache)
        if parts := mask_regions.parts_of(self.region, materials, masks_of(materials.dataset).sizes):
            check_budgets(parts, _spending(setting))

    def check_metric(self, where: str, name: str, dataset: Dataset) -> None:
        """See `Task.check_metric`: Dice."""
        metric = name.partition("/")[2].partition("/")[0]
        if metric != "dice" or not self.answered(dataset)[split_of(name, dataset.manifest)].any():
            raise InputError(where, "dice of a split with masks, as test/dice", name)

    def answered(self, dataset: Dataset) -> BoolArray:
        """See `Task.answered`."""
        return masks_of(dataset).labeled

    def inbox(self, setting: Setting, dataset: Dataset) -> dict[str, object]:
        """See `Task.inbox`."""
        return inbox.spec_of(inbox_of(setting, dataset))

    def _blank(self, setting: Setting, dataset: Dataset) -> Segmenter:
        """The network with random weights, before stage 0."""
        return self.build(setting, setting.blank(setting.channels_of(dataset)), len(dataset.classes), seed=0)

    def build(self, setting: Setting, encoder: Encoder, classes: int, *, seed: int) -> Segmenter:
        """The untrained network of a round around a copy of the encoder."""
        from ..models.segmenter import Setting as Option
        from ..models.segmenter import build_segmenter

        (network, settings), (name, options) = parse_spec(self.network), setting.encoder
        return build_segmenter(
            network,
            encoder,
            encoder_name=name,
            classes=classes,
            image_size=setting.image_size,
            seed=seed,
            dropout=setting.learner[1].dropout,
            side_heads=self.side_heads,
            quality_head=self.quality_head > 0,
            settings=cast(dict[str, Option], settings),
            options=options,
        )

    def summary(self, setting: Setting, dataset: Dataset, cache: Path) -> list[str]:
        """See `Task.summary`: the network and its padding, the masks, the shares of the classes."""
        from ..models.segmenter import padded_size

        store, network, size = mask_store(setting, dataset, cache), self._blank(setting, dataset), setting.image_size
        weights = sum(p.numel() for p in network.parameters()) / 1e6
        score = parse_spec(self.reduction)[0]
        lines = [f"  network {parse_spec(self.network)[0]}, {weights:.1f} M weights; score of an image: {score}"]
        if self.regional:
            lines.append(f"  asks about {mask_regions.in_words(self.region, size)}")
        inner_size = padded_size(network, size)
        if inner_size != size:
            note = f"padded to {inner_size} px inside the network (stride {network.stride}), its answers cut back"
            lines.append(f"  images of {size} px are {note}")
        total = int(store.pixels[: len(dataset.classes)].sum())
        shares = [f"{name} {store.pixels[c] / total:.1%}" for c, name in enumerate(dataset.classes) if total]
        masks, unknown = masks_of(dataset), int(store.pixels[IGNORE])
        count = f"  {int(masks.labeled.sum())} of {len(dataset.manifest)} samples have a mask"
        if masks.values:
            lines.append(f"  values of masks: {masks.values}")
        if not total:
            return [*lines, count]
        rest = f"; {unknown / (total + unknown):.1%} not known" if unknown else ""
        return [*lines, f"{count}; pixels: {', '.join(shares)}{rest}"]

    def rehearse(self, setting: Setting, dataset: Dataset, objective: Any, schedule: Schedule, steps: int) -> None:
        """See `Task.rehearse`."""
        from ..learners.rehearsal import rehearse_masks
        from ..models.segmenter import network_or_committee

        encoder, classes = setting.blank(setting.channels_of(dataset)), len(dataset.classes)
        network = network_or_committee(
            lambda s: self.build(setting, encoder, classes, seed=s), objective.networks, seed=0
        )
        rehearse_masks(network, setting.shape_of(dataset), objective, schedule, steps=steps)

    # -- with decoded data --------------------------------------------------------------------------------------------

    def open(self, setting: Setting, materials: Materials) -> tuple[OpenTask, Oracle]:
        """See `Task.open`."""
        dataset, size = materials.dataset, setting.image_size
        masks = masks_of(dataset)
        parts = mask_regions.parts_of(self.region, materials, masks.sizes)
        answers = MaskAnswers(setting, materials, parts)
        oracle = setting.oracle[1].open(answers)
        holdout = answers.holdout

        def pixel_answers(learner: Learner, pool: IntArray, seed: int) -> FloatArray:
            batches = learner.predict(stop_set(pool, seed, IMAGES))
            return np.concatenate([sample_pixels(b, blank(masks.sizes[b.indices], size))[0] for b in batches])

        task = OpenTask(
            holdout,
            _whole_images(setting, materials.asked, masks) if parts is None else parts,
            _spending(setting),
            scoring=_scorer,
            clicks=partial(clicks_of, materials.run, size),
            answers=pixel_answers,
            many=MANY * FEW,  # the pixels of an image are no labels of their own
            one_class=False,
            given=materials.given(answers.whole),
            examples=partial(mask_examples.examples, holdout, dataset.classes),
        )
        return task, oracle

    def learner(
        self,
        setting: Setting,
        materials: Materials,
        base: Foundation,
        objective: Any,
        schedule: Schedule,
        task: OpenTask,
    ) -> Learner:
        """See `Task.learner`."""
        from ..data.views.pixels import pixel_views
        from ..learners.inputs import MaskInputs
        from ..learners.quality import quality_loss
        from ..learners.segment import SegmentLearner

        parts = None if isinstance(task.regions, Whole) else task.regions
        recordable = None if parts is None else parts.record_regions
        sizes, dataset = masks_of(materials.dataset).sizes, materials.dataset
        reads_record = any("consistency" in strategy.needs for key, _, strategy in setting.strategies if key == "query")
        return SegmentLearner(
            lambda seed: self.build(setting, base.encoder, base.classes, seed=seed).to(base.device),
            MaskInputs(base.store, pixel_views(base.views), sizes, base.device, recordable),
            objective,
            schedule,
            self.reducer,
            classes=base.classes,
            pool=base.pool,
            source=base.source,
            n=len(base.store),
            answers=materials.run.path,
            cache=base.cache,
            top_up_limit=TOP_UP_LIMIT if reads_record else 0,
            parts=parts,
            names=dataset.classes,
            sieve=self.sieve,
            penalty=quality_loss(self.quality_head) if self.quality_head else None,
        )


def _spending(setting: Setting) -> Spending:
    if setting.unit == LABELS:
        return LabelBudgets(setting.budgets)
    return CostBudgets(setting.unit, setting.budgets, sized=answer_of(setting) == MASK)


def _whole_images(setting: Setting, pool: IntArray, masks: Masks) -> Whole:
    """Whole images as regions, with the pixels of each one's mask where budgets count what answers cost."""
    if setting.unit == LABELS or answer_of(setting) != MASK:
        return Whole(pool)
    boxes = [image_box(height, width, setting.image_size) for height, width in masks.sizes.tolist()]
    return Whole(pool, np.asarray([box.height * box.width for box in boxes], dtype=np.int64))


def _scorer(learner: Learner, predictor: Predictor, regions: Regions | Whole) -> Scorer:
    from ..learners.segment import SegmentLearner

    assert isinstance(learner, SegmentLearner)
    return partial(learner.score, regions=None if isinstance(regions, Whole) else regions)
