"""Segmentation: a sample has a mask, a class for each of its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import numpy.typing as npt

from ..core.learner import Learner
from ..core.registry import Amount, Spec, component, parse_spec
from ..core.registry import Whole as WholeNumber
from ..core.rundir import RunDir
from ..core.types import CLASS_FEATURES, FEATURES, GRADIENTS, IGNORE, Annotation, BoolArray, FloatArray, IntArray
from ..data.base import Dataset, Masks
from ..data.display import picture
from ..data.domains import asked
from ..data.masks import blank, value_table
from ..data.pixels import image_box
from ..data.stores.masks import MaskStore
from ..errors import InputError, UnknownName
from ..experiment import MANY, OpenTask, check_budgets
from ..metrics.holdout import MaskHoldout, network_spacing
from ..metrics.pixel_calibration import FEW, sample_pixels
from ..oracles import inbox
from ..oracles.base import Oracle
from ..oracles.effort import clicks_of
from ..oracles.masks import MaskWorklist, wording
from ..oracles.regions import RegionWorklist
from ..oracles.simulated import ANSWERS, SimulatedMasks, SimulatedRegions
from ..oracles.wording import refuse_reserved
from ..query.base import Predictor, QueryStrategy, Scorer
from ..query.spending import CostBudgets, LabelBudgets, Spending
from ..query.stopping import IMAGES, stop_set
from ..regions.base import Parts, Regions, Whole
from . import mask_examples, mask_regions
from .base import LABELS, Materials, Setting, check_classes, split_of
from .tryout import try_strategy

if TYPE_CHECKING:
    from ..learners.network import Foundation
    from ..models.encoder import Encoder
    from ..models.segmenter import Segmenter
    from ..scores.pixels import Reduction
    from ..semi.dense.base import DenseObjective
    from ..train import Schedule

TOP_UP_LIMIT = 50_000
MASK = "mask"  # the answer of an oracle that is not weakened
DEEP, DSAL = "deep_supervision", "dsal"  # the objective and the strategy of side heads
QUALITY = "quality"  # the strategy that reads the head of that name
DOMINANT = "dominant"  # the class of most pixels of a region, by one click
MASK_SOURCES = "masks (csv and nifti: columns.mask, folder and dicom: masks, phantom: masks=true)"
NOT_OF_PIXELS: Mapping[str, object] = {
    "easy": 1.0,
    "record.witness": "objective",
    "record.within": "all",
    "prior": 0,
}
"""Training settings that segmentation lacks or that assume one class a sample, with the value they must have."""


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
        from ..learners.finetune import Finetune
        from ..models.segmenter import check_network

        (network, _), (learner, settings) = parse_spec(self.network), setting.learner
        self.reducer  # noqa: B018  (an unknown one is refused)
        check_network(network)
        if not isinstance(settings, Finetune):
            raise InputError("learner", "finetune, which trains the whole network, in segmentation", learner)
        if setting.calibrates:
            raise InputError("calibration.queries", "false, in segmentation: scores are made before", "true")
        mask_regions.check(self.region, self.reduction, setting.image_size)
        self._check_answer(setting)
        self._check_sides(setting)
        self._check_quality(setting)
        _check_record(setting.train)
        if setting.train.get("by") == "region" and not self.regional:
            raise InputError("train.by", "pixel, where a query asks about whole images (task.region)", "region")
        for key, name, strategy in setting.strategies:
            _check_strategy(key, name, strategy, regional=self.regional)

    def _check_answer(self, setting: Setting) -> None:
        answer = answer_of(setting)
        if answer not in (*ANSWERS, DOMINANT):
            raise UnknownName("oracle.answer", answer, (*ANSWERS, DOMINANT))
        if self.regional and answer not in (MASK, DOMINANT):
            raise InputError("oracle.answer", f"{MASK} or {DOMINANT}, where regions of images are asked about", answer)
        if answer == DOMINANT and not self.regional:
            raise InputError("task.region", f"regions of images, where an answer is their class ({DOMINANT})", "image")
        if self.sieve and answer != DOMINANT:
            raise InputError("task.sieve", f"false, where oracle.answer is not {DOMINANT}", "true")
        if setting.sources and answer != MASK:
            expected = "masks as answers, as the source has them"
            raise InputError("domains.source", expected, f"{answer} (oracle.answer)")
        if setting.sources:
            mask_regions.check_source(self.region)
        if answer == "scribbles" and setting.simulated:
            mask_regions.check_skimage("oracle.answer")

    def _check_sides(self, setting: Setting) -> None:
        """Refuse side heads that nothing trains, and what reads side heads that are not there."""
        trains = setting.objective == DEEP
        if self.side_heads and not trains:
            raise InputError("train", f"{DEEP}, which trains the side heads (task.side_heads)", setting.objective)
        reader = next((key for key, name, _ in setting.strategies if name == DSAL), "train" if trains else "")
        if reader and not self.side_heads:
            raise InputError("task.side_heads", f"1 or more, for {DSAL if reader != 'train' else DEEP} ({reader})", "0")

    def _check_quality(self, setting: Setting) -> None:
        """Refuse a head of quality that is not there, that has several networks, or that is asked about regions."""
        reader = next((key for key, name, _ in setting.strategies if name == QUALITY), "")
        if reader and not self.quality_head:
            raise InputError("task.quality_head", f"a weight above 0, for {QUALITY} ({reader})", "0")
        if reader and self.regional:
            raise InputError("task.region", f"whole images, for {QUALITY} ({reader})", parse_spec(self.region)[0])
        kind: Any = self.objectives(setting)[0].get(setting.objective)
        if self.quality_head and kind is not None and kind().networks > 1:
            raise InputError("train", "an objective of one network (task.quality_head)", setting.objective)

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
        return inbox.spec_of(_inbox(setting, dataset))

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
        answers = _Answers(setting, materials, parts)
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


@dataclass(frozen=True)
class _Answers:
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
        people = _inbox(self.setting, dataset).open(self.run, partial(picture, dataset))
        if self.parts is None:
            return people
        assert isinstance(people, MaskWorklist)  # see `Segmentation._check_answer`
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


def _inbox(setting: Setting, dataset: Dataset) -> inbox.Masks | inbox.Boxes:
    if (answer := answer_of(setting)) == "boxes":
        return inbox.Boxes(setting.image_size)
    values, classes = setting.mask_values, dataset.classes
    table = value_table(values, classes)
    files = "points" if answer == DOMINANT else answer
    return inbox.Masks(files, setting.image_size, {IGNORE: IGNORE, **table}, IGNORE in table)


def _check_record(params: Mapping[str, object]) -> None:
    """Refuse training settings of `NOT_OF_PIXELS`."""
    record = params.get("record", {})
    all_params = {**params, **({f"record.{k}": v for k, v in record.items()} if isinstance(record, Mapping) else {})}
    for key, only in NOT_OF_PIXELS.items():
        if all_params.get(key, only) != only:
            raise InputError(f"train.{key}", f"{only}, in segmentation", str(all_params[key]))


def _check_strategy(key: str, name: str, strategy: QueryStrategy, *, regional: bool) -> None:
    from ..scores.edges import IMAGE_SCORES
    from ..scores.pixels import PIXEL_SCORES
    from ..scores.regions import PART_SCORES

    answer = Annotation(0, "mask", "", "", 0)
    if regional and getattr(strategy, "by", "") == "classes":
        raise InputError(f"{key}.by", "embeddings, where regions of images are asked about", "classes")
    vectors = {"contexts", "shares", FEATURES, *(() if regional else (GRADIENTS, CLASS_FEATURES))}
    scores = [*PIXEL_SCORES, *PART_SCORES, *IMAGE_SCORES, "predicted_error"]
    scores = [score for score in scores if score not in vectors]
    try_strategy(key, name, strategy, task="segmentation", scores=scores, vectors=vectors, views=False, answer=answer)


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
