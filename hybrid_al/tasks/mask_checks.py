"""What segmentation refuses before any data: settings that do not go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.registry import parse_spec
from ..core.types import CLASS_FEATURES, FEATURES, GRADIENTS, Annotation
from ..errors import InputError, UnknownName
from ..oracles.simulated import ANSWERS
from ..query.base import QueryStrategy
from . import mask_regions
from .base import Setting
from .mask_answers import DOMINANT, MASK, answer_of
from .tryout import try_strategy

if TYPE_CHECKING:
    from .segmentation import Segmentation

DEEP, DSAL = "deep_supervision", "dsal"  # the objective and the strategy of side heads
QUALITY = "quality"  # the strategy that reads the head of that name
NOT_OF_PIXELS: Mapping[str, object] = {
    "easy": 1.0,
    "record.witness": "objective",
    "record.within": "all",
    "prior": 0,
}
"""Training settings that segmentation lacks or that assume one class a sample, with the value they must have."""


def check(task: Segmentation, setting: Setting) -> None:
    """Refuse settings of the task, and of what it goes with, that segmentation cannot have; see `Task.check`."""
    from ..learners.finetune import Finetune
    from ..models.segmenter import check_network

    (network, _), (learner, settings) = parse_spec(task.network), setting.learner
    task.reducer  # noqa: B018  (an unknown one is refused)
    check_network(network)
    if not isinstance(settings, Finetune):
        raise InputError("learner", "finetune, which trains the whole network, in segmentation", learner)
    if setting.calibrates:
        raise InputError("calibration.queries", "false, in segmentation: scores are made before", "true")
    mask_regions.check(task.region, task.reduction, setting.image_size)
    _check_answer(task, setting)
    _check_sides(task, setting)
    _check_quality(task, setting)
    _check_record(setting.train)
    if setting.train.get("by") == "region" and not task.regional:
        raise InputError("train.by", "pixel, where a query asks about whole images (task.region)", "region")
    for key, name, strategy in setting.strategies:
        _check_strategy(key, name, strategy, regional=task.regional)


def _check_answer(task: Segmentation, setting: Setting) -> None:
    answer = answer_of(setting)
    if answer not in (*ANSWERS, DOMINANT):
        raise UnknownName("oracle.answer", answer, (*ANSWERS, DOMINANT))
    if task.regional and answer not in (MASK, DOMINANT):
        raise InputError("oracle.answer", f"{MASK} or {DOMINANT}, where regions of images are asked about", answer)
    if answer == DOMINANT and not task.regional:
        raise InputError("task.region", f"regions of images, where an answer is their class ({DOMINANT})", "image")
    if task.sieve and answer != DOMINANT:
        raise InputError("task.sieve", f"false, where oracle.answer is not {DOMINANT}", "true")
    if setting.sources and answer != MASK:
        expected = "masks as answers, as the source has them"
        raise InputError("domains.source", expected, f"{answer} (oracle.answer)")
    if setting.sources:
        mask_regions.check_source(task.region)
    if answer == "scribbles" and setting.simulated:
        mask_regions.check_skimage("oracle.answer")


def _check_sides(task: Segmentation, setting: Setting) -> None:
    """Refuse side heads that nothing trains, and what reads side heads that are not there."""
    trains = setting.objective == DEEP
    if task.side_heads and not trains:
        raise InputError("train", f"{DEEP}, which trains the side heads (task.side_heads)", setting.objective)
    reader = next((key for key, name, _ in setting.strategies if name == DSAL), "train" if trains else "")
    if reader and not task.side_heads:
        raise InputError("task.side_heads", f"1 or more, for {DSAL if reader != 'train' else DEEP} ({reader})", "0")


def _check_quality(task: Segmentation, setting: Setting) -> None:
    """Refuse a head of quality that is not there, that has several networks, or that is asked about regions."""
    reader = next((key for key, name, _ in setting.strategies if name == QUALITY), "")
    if reader and not task.quality_head:
        raise InputError("task.quality_head", f"a weight above 0, for {QUALITY} ({reader})", "0")
    if reader and task.regional:
        raise InputError("task.region", f"whole images, for {QUALITY} ({reader})", parse_spec(task.region)[0])
    kind: Any = task.objectives(setting)[0].get(setting.objective)
    if task.quality_head and kind is not None and kind().networks > 1:
        raise InputError("train", "an objective of one network (task.quality_head)", setting.objective)


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
