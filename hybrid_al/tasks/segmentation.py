"""From a recipe of segmentation to objects: for masks what `classification.py` does for classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from ..core.registry import component
from ..core.rundir import RunDir
from ..core.types import GRADIENTS, Annotation, BoolArray, IntArray
from ..data.base import Dataset, Masks
from ..data.readers.images import fitted, to_uint8
from ..data.stores.masks import MaskStore
from ..errors import InputError, UnknownName
from ..metrics.holdout import MaskHoldout, network_spacing
from ..oracles.base import Oracle
from ..oracles.inbox import mask_worklist
from ..oracles.masks import MaskWorklist
from ..oracles.regions import RegionWorklist
from ..oracles.simulated import ANSWERS, SimulatedMasks, SimulatedRegions
from ..oracles.worklist import WorklistOracle
from ..query.base import QueryStrategy, Scoring
from ..query.spending import Spending
from ..query.strategies import STRATEGIES
from ..recipe import Recipe, SegmentationSection
from ..regions.base import Parts
from .classification import check_classes, rows_of
from .mask_units import check_skimage, check_unit, parts_of, unit_said
from .tryout import try_strategy

if TYPE_CHECKING:
    import torch

    from ..data.stores.images import ImageStore
    from ..learners.network import Foundation
    from ..learners.segment import SegmentLearner
    from ..models.encoder import Encoder
    from ..models.segmenter import Segmenter
    from ..scores.pixels import Reduction
    from ..semi.dense.base import DenseObjective
    from ..train import Schedule


BASELINES = ("random", "foreground_random")
STRATA = False
TOP_UP_LIMIT = 50_000
ORACLE_KEYS = ("costs", "answer")
BUDGETS = ("labels", "pixels", "foreground", "boundary", "clicks")
MASK = "mask"  # the answer of an oracle that is not weakened
WHERE = "masks (csv and nifti: columns.mask, folder: masks, phantom: masks=true)"
NOT_OF_PIXELS: Mapping[str, object] = {
    "record.witness": "objective",
    "record.within": "all",
    "prior": 0,
}
"""Settings of a training that segmentation has not yet or that speak of a sample's one class: what they must be."""


def check(recipe: Recipe, strategies: Sequence[tuple[str, str, QueryStrategy]]) -> None:
    """Refuse what segmentation has not; `strategies` are (key, name, strategy). No data is read."""
    from ..learners.finetune import Finetune
    from ..models.segmenter import NETWORKS

    component_of("segmentation.reduction", recipe.segmentation)
    if recipe.segmentation.network.name not in NETWORKS:
        component(dict.fromkeys(NETWORKS, object), "segmentation.network", recipe.segmentation.network.name, {})
    if recipe.learner.name != "finetune":
        raise InputError("learner", "finetune, which trains the whole network, in segmentation", recipe.learner.name)
    component({"finetune": Finetune}, "learner", recipe.learner.name, recipe.learner.params)
    if recipe.calibration.queries:
        raise InputError("calibration.queries", "false, in segmentation: scores are made before", "true")
    check_unit(recipe)
    _check_answer(recipe)
    _check_record(recipe.train.params)
    for key, name, strategy in strategies:
        _check_strategy(key, name, strategy, parted=recipe.segmentation.unit.name != "image")


def _check_answer(recipe: Recipe) -> None:
    answer = recipe.oracle.params.get("answer", MASK)
    if answer not in ANSWERS:
        raise UnknownName("oracle.answer", str(answer), ANSWERS)
    if recipe.segmentation.unit.name != "image" and answer != MASK:
        raise InputError("oracle.answer", f"{MASK}, where parts of images are asked about", str(answer))
    if answer == "scribbles" and recipe.oracle.name == "simulated":
        check_skimage("oracle.answer")


def _check_record(params: Mapping[str, object]) -> None:
    """Refuse settings of a training that segmentation has not."""
    record = params.get("record", {})
    said = {**params, **({f"record.{k}": v for k, v in record.items()} if isinstance(record, Mapping) else {})}
    for key, only in NOT_OF_PIXELS.items():
        if said.get(key, only) != only:
            raise InputError(f"train.{key}", f"{only}, in segmentation", str(said[key]))


def component_of(where: str, section: SegmentationSection) -> Reduction:
    """The reduction of a recipe."""
    from ..scores.pixels import REDUCTIONS

    return component(REDUCTIONS, where, section.reduction.name, section.reduction.params)


def _check_strategy(key: str, name: str, strategy: QueryStrategy, *, parted: bool) -> None:
    from ..scores.pixels import PIXEL_SCORES
    from ..scores.regions import PART_SCORES

    answer = Annotation(0, "mask", "", "", 0)
    vectors = {"contexts"} if parted else {"contexts", GRADIENTS}
    known = [score for score in (*PIXEL_SCORES, *PART_SCORES) if score not in vectors]
    try_strategy(key, name, strategy, task="segmentation", scores=known, vectors=vectors, views=False, answer=answer)


def objectives(recipe: Recipe) -> tuple[dict[str, type[DenseObjective]], Schedule]:
    """The objectives that there are, by name, and the schedule that a recipe starts from."""
    from ..learners.segment import SCHEDULE
    from ..semi.dense import DENSE_OBJECTIVES

    return DENSE_OBJECTIVES, SCHEDULE


def masks_of(dataset: Dataset) -> Masks:
    """What is known of the masks of a dataset, which must have a place for them."""
    if dataset.masks is None:
        raise InputError("data", WHERE, "none")
    return dataset.masks


def check_data(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse data without masks, and an encoder that does not fit the network; nothing is decoded.

    Where people answer no mask need be there yet.
    """
    if not masks_of(dataset).known.any() and recipe.oracle.name != "worklist":
        raise InputError("data", WHERE, "none")
    _blank_network(recipe, dataset)


def _blank_network(recipe: Recipe, dataset: Dataset) -> Segmenter:
    """The network with random weights everywhere, before stage 0 was run."""
    from ..models.encoder import build_encoder

    encoder = build_encoder(
        recipe.encoder.name,
        channels=recipe.data.channels or dataset.channels,
        image_size=recipe.data.image_size,
        seed=0,
        options=recipe.encoder.options,
        input_size=recipe.encoder.input_size,
    )
    return network(recipe, encoder, len(dataset.classes), seed=0)


def network(recipe: Recipe, encoder: Encoder, classes: int, *, seed: int) -> Segmenter:
    """The untrained network of a round around a copy of the encoder."""
    from ..models.segmenter import Setting, build_segmenter

    chosen = recipe.segmentation.network
    return build_segmenter(
        chosen.name,
        encoder,
        encoder_name=recipe.encoder.name,
        classes=classes,
        image_size=recipe.data.image_size,
        seed=seed,
        dropout=float(cast(float, recipe.learner.params.get("dropout", 0.2))),
        settings=cast(dict[str, Setting], chosen.params),
        options=recipe.encoder.options,
    )


def mask_store(recipe: Recipe, dataset: Dataset, cache: Path) -> MaskStore:
    """The label maps of all samples that have one; every class is in them, where there are any."""
    masks = masks_of(dataset)
    rows = np.flatnonzero(masks.known)
    store = MaskStore.build(
        rows,
        masks.read,
        [masks.keys[i] for i in rows.tolist()],
        [f"mask of {dataset.manifest.ids[i]}" for i in rows.tolist()],
        size=recipe.data.image_size,
        cache=cache,
    )
    if len(store):
        store.check_classes(dataset.classes)
    return store


def learner(
    recipe: Recipe,
    dataset: Dataset,
    base: Foundation,
    objective: Any,
    schedule: Schedule,
    run: RunDir,
    parted: Parts | None,
) -> tuple[SegmentLearner, Scoring]:
    """The learner over masks, which scores samples by their pixels; `base.encoder` is copied, never changed."""
    from ..data.views.pixels import pixel_views
    from ..learners.inputs import MaskInputs
    from ..learners.segment import SegmentLearner

    asks = component(STRATEGIES, "query", recipe.query.name, recipe.query.params)
    recorded = None if parted is None else parted.recordable
    inputs = MaskInputs(base.store, pixel_views(base.views), masks_of(dataset).sizes, base.device, recorded)
    made = SegmentLearner(
        lambda seed: network(recipe, base.encoder, base.classes, seed=seed).to(base.device),
        inputs,
        objective,
        schedule,
        component_of("segmentation.reduction", recipe.segmentation),
        classes=base.classes,
        pool=base.pool,
        n=len(base.store),
        answers=run.path,
        cache=base.cache,
        top_up_limit=TOP_UP_LIMIT if "consistency" in asks.needs else 0,  # else nobody reads the record
        parts=parted,
        names=dataset.classes,
    )
    return made, lambda _, regions: partial(made.score, regions=regions)


def regions(
    recipe: Recipe, dataset: Dataset, store: ImageStore, cache: Path, run: RunDir, device: torch.device
) -> Parts | None:
    """The parts of the pool's images, as the network sees them, where they are what is asked about."""
    return parts_of(recipe, dataset.manifest, masks_of(dataset).sizes, store, cache, run, device)


def spending(recipe: Recipe, dataset: Dataset, parted: Parts | None) -> Spending | None:
    """How picks are paid for where budgets are not of labels."""
    if recipe.loop.unit == "labels":
        return None
    sizes: IntArray | None = None
    if parted is not None:
        sizes = parted.at(0).pixels  # the loop puts those of each round in their place
    elif recipe.oracle.params.get("answer", MASK) == MASK:
        own = masks_of(dataset).sizes
        boxes = [fitted(height, width, recipe.data.image_size) for height, width in own.tolist()]
        sizes = np.asarray([box.height * box.width for box in boxes], dtype=np.int64)
    return Spending(recipe.loop.unit, recipe.loop.budgets, sizes)


def truth(
    recipe: Recipe, dataset: Dataset, run: RunDir, cache: Path, parted: Parts | None
) -> tuple[Oracle, MaskHoldout]:
    """Who answers with the masks of the pool, or parts of them, and who measures val and test."""
    check_classes(dataset.classes)
    store, masks = mask_store(recipe, dataset, cache), masks_of(dataset)
    if recipe.oracle.name == "worklist":
        people = mask_worklist(run, WorklistOracle(run, dataset.manifest, dataset.classes), partial(_picture, dataset))
        if parted is not None:
            assert isinstance(people, MaskWorklist)  # see `_check_answer`
            return RegionWorklist(people, parted, masks.sizes, recipe.data.image_size), _holdout(dataset, store)
        return people, _holdout(dataset, store)
    answerable = _answerable(dataset)
    if parted is not None:
        return SimulatedRegions(answerable, store.batch, parted, run), _holdout(dataset, store)
    answer = str(recipe.oracle.params.get("answer", MASK))
    read = masks.read if answer == MASK else lambda i: store.batch(np.asarray([i], dtype=np.int64))[0]
    return SimulatedMasks(answerable, read, run, ANSWERS[answer]), _holdout(dataset, store)


def _picture(dataset: Dataset, index: int) -> npt.NDArray[np.uint8]:
    """An image (H, W, 1 or 3) in its own pixels, as a person sees it: of a stack the slice in the middle."""
    pixels, middle = to_uint8(dataset.read(index)), dataset.stack // 2
    return pixels[:, :, middle : middle + 1] if dataset.stack > 1 else pixels


def known(dataset: Dataset) -> BoolArray:
    """Whether a sample has a mask (N,)."""
    return masks_of(dataset).known


def check_metric(where: str, name: str, dataset: Dataset) -> None:
    """Refuse what is not the Dice of a split with masks."""
    measured = name.partition("/")[2].partition("/")[0]
    if measured != "dice" or not known(dataset)[rows_of(name, dataset)].any():
        raise InputError(where, "dice of a split with masks, as test/dice", name)


def _answerable(dataset: Dataset) -> BoolArray:
    """Samples of the pool that have a mask (N,); one must."""
    masks, known = masks_of(dataset), np.zeros(len(dataset.manifest), dtype=np.bool_)
    pool = dataset.manifest.indices("pool")
    known[pool] = masks.known[pool]
    if not known.any():
        raise InputError("oracle", "masks for the pool (simulated)", "none in the data")
    return known


def _holdout(dataset: Dataset, store: MaskStore) -> MaskHoldout:
    masks, size = masks_of(dataset), store.maps.shape[1]
    spacing = network_spacing(masks.spacing, masks.sizes, size)
    return MaskHoldout(dataset.manifest, dataset.classes, masks.known, store.batch, spacing)


def summary(recipe: Recipe, dataset: Dataset, cache: Path) -> list[str]:
    """What `check` says: the network, the padding inside of it, the masks, the shares of the classes; one line each."""
    from ..models.segmenter import padded_size

    store, masks, made = mask_store(recipe, dataset, cache), masks_of(dataset), _blank_network(recipe, dataset)
    chosen, size = recipe.segmentation, recipe.data.image_size
    weights = sum(p.numel() for p in made.parameters()) / 1e6
    lines = [f"  network {chosen.network.name}, {weights:.1f} M weights; score of an image: {chosen.reduction.name}"]
    if chosen.unit.name != "image":
        lines.append(f"  asks about {unit_said(recipe)}")
    padded = padded_size(made, size)
    if padded != size:
        inside = f"padded to {padded} px inside the network (stride {made.stride}), its answers cut back"
        lines.append(f"  images of {size} px are {inside}")
    total = int(store.pixels[: len(dataset.classes)].sum())
    shares = [f"{name} {store.pixels[c] / total:.1%}" for c, name in enumerate(dataset.classes) if total]
    said = f"  {int(masks.known.sum())} of {len(dataset.manifest)} samples have a mask"
    return [*lines, f"{said}; pixels: {', '.join(shares)}" if shares else said]
