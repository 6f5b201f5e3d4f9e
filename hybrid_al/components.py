"""What a recipe names, built and checked without a look at the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from .core import limits
from .core.hidden import HASHED
from .core.registry import component
from .data.bags import column_of
from .data.base import Source
from .data.sources import SOURCES
from .errors import InputError, UnknownName
from .oracles import ORACLES, Worklist
from .oracles.readers import Reading
from .query.base import COLD
from .query.strategies import STRATEGIES
from .recipe import Component, EncoderSection, Recipe
from .tasks import TASKS
from .tasks.bags import BagTask
from .tasks.base import Setting, Task
from .track import TRACKERS
from .track.base import TrackerSettings

if TYPE_CHECKING:
    from .data.views.policies import Views
    from .models.encoder import Encoder


def source(recipe: Recipe) -> Source:
    """The source of a recipe, its settings checked, nothing read yet."""
    limits.use(limits.Limits(recipe.data.max_pixels, recipe.data.max_voxels))
    params = recipe.data.params
    if column := column_of(recipe.data.bag, recipe.data.source):
        columns = params.get("columns")
        params |= {"columns": {**(columns if isinstance(columns, dict) else {}), "bag": column}}
    return component(SOURCES, "data", recipe.data.source, params, key=".source")


def reading_of(setting: Setting) -> Reading | None:
    """How several readers share the run; None where anybody answers."""
    oracle = setting.oracle[1]
    return oracle.reading if isinstance(oracle, Worklist) else None


def _check_readers(setting: Setting, task: Task) -> None:
    """Refuse readers of what cannot be brought together."""
    reading = reading_of(setting)
    if reading is None or not reading.overlap:
        return
    if setting.answer not in (None, "mask") or task.regional:
        kind = "regions" if task.regional else setting.answer
        raise InputError(
            "oracle.overlap", f"0 where answers are {kind}, which are not compared", f"{reading.overlap:g}"
        )
    if reading.target == "soft" and task.drawable:
        raise InputError("oracle.target", "majority, consensus or adjudicated where answers are masks", "soft")


def task_of(recipe: Recipe) -> Task:
    """The task of a recipe, its settings checked."""
    return component(TASKS, "task", recipe.task.name, recipe.task.params)


def setting_of(recipe: Recipe) -> Setting:
    """What a recipe chose beside the task; unknown names, keys and values are errors."""
    from .learners import LEARNERS

    def blank(channels: int) -> Encoder:
        return make_encoder(recipe.encoder, channels=channels, image_size=recipe.data.image_size, seed=0, weights=None)

    values = cast(Mapping[Any, Any], recipe.data.params.get("mask_values") or {})
    strategies = ("cold_start", recipe.cold_start), ("query", recipe.query)
    return Setting(
        learner=(recipe.learner.name, component(LEARNERS, "learner", recipe.learner.name, recipe.learner.params)),
        objective=recipe.train.name,
        train=recipe.train.params,
        strategies=tuple((key, spec.name, _strategy(key, spec)) for key, spec in strategies),
        oracle=(recipe.oracle.name, component(ORACLES, "oracle", recipe.oracle.name, recipe.oracle.params)),
        image_size=recipe.data.image_size,
        channels=recipe.data.channels,
        encoder=(recipe.encoder.name, recipe.encoder.options),
        blank=blank,
        budgets=recipe.loop.budgets,
        unit=recipe.loop.unit,
        enforces=recipe.loop.stop.enforce,
        calibrates=recipe.calibration.queries,
        mask_values={int(value): str(name) for value, name in values.items()},
        sources=recipe.domains.source,
    )


def trackers_of(recipe: Recipe) -> dict[str, TrackerSettings]:
    """The trackers of a recipe by name, their settings checked."""
    tracks = recipe.track.items()
    return {name: component(TRACKERS, f"track.{name}", name, settings, key="") for name, settings in tracks}


def views_of(recipe: Recipe) -> Views:
    """The views of the modality, or those of the recipe in their place."""
    from .data.views.modalities import VIEWS

    if recipe.modality not in VIEWS:
        raise UnknownName("recipe: modality", recipe.modality, VIEWS)
    views, given = VIEWS[recipe.modality], recipe.views.pipelines
    if not given:
        return views
    from .data.views.albumentations import Pipeline

    pipelines = {kind: Pipeline.of(plain, f"recipe: views.{kind}") for kind, plain in given.items()}
    views = dataclasses.replace(views, **pipelines)
    return dataclasses.replace(views, strong_pixels=None) if "strong" in given else views


def _strategy(where: str, spec: Component) -> Any:
    return component(STRATEGIES, where, spec.name, spec.params)


def check_components(recipe: Recipe) -> None:
    """Build every component of a recipe once: unknown names, keys and values are errors before any data is read."""
    check_stage0(recipe)
    trackers_of(recipe)
    task, setting = task_of(recipe), setting_of(recipe)
    _check_readers(setting, task)
    cold, query = (strategy for *_, strategy in setting.strategies)
    if beyond := cold.needs - COLD:
        raise InputError("cold_start", "a strategy that needs embeddings alone", f"one that needs {sorted(beyond)[0]}")
    if "stage0" in cold.needs | query.needs and recipe.pretrain.name == "none":
        name = "cold_start" if "stage0" in cold.needs else "query"
        raise InputError(name, "a pretraining (pretrain) whose records it can read", "pretrain: none")
    _check_training(recipe, setting)
    _check_bags(recipe, task, setting)
    task.check(setting)
    for key in ("mistakes", "drop_noisy"):
        if recipe.train.params.get(key) and (not task.strata or isinstance(task, BagTask)):
            expected = f"nothing in {recipe.task.name}: classification alone has it"
            raise InputError(f"train.{key}", expected, str(recipe.train.params[key]))
    if recipe.data.grow and setting.sources:
        raise InputError("data.grow", "false, where labels of a source are given (domains.source)", "true")
    if "domains" in cold.needs | query.needs and not setting.sources:
        key, name = ("cold_start", recipe.cold_start.name) if "domains" in cold.needs else ("query", recipe.query.name)
        raise InputError(key, "domains whose labels are given (domains.source), for a query of a target", name)
    if recipe.loop.unit not in task.units:
        raise InputError("loop.unit", f"{', '.join(task.units)} in {recipe.task.name}", recipe.loop.unit)
    if recipe.report.random_runs and not setting.simulated:
        raise InputError("report.random_runs", "0, for nobody is asked about random picks too", recipe.oracle.name)
    if "clicks" in query.needs and "clicks" not in task.units:
        raise InputError("query", f"a strategy for answers that are not drawn ({recipe.task.name})", recipe.query.name)
    if "costs" in cold.needs | query.needs and setting.oracle[1].costs is None:
        raise InputError("query", "what an answer costs (oracle.costs: a CSV of id and cost)", "none")


def _check_training(recipe: Recipe, setting: Setting) -> None:
    """Refuse a training whose features nothing can move, one of domains without domains, one whose source is not read.

    Where no label of the source is read from the first labels of the target on, the weights that it gave must stay.
    """
    objective, schedule = training(recipe)
    learner, moves = setting.learner[1], getattr(objective, "trains_features", False)
    moved = not learner.frozen or (moves and getattr(learner, "adapter", 0) > 0)
    if moves and not moved:
        expected = "learner: finetune, or frozen with an adapter, as this objective trains the features"
        raise InputError("train", expected, recipe.learner.name)
    if getattr(objective, "of_domains", False) and not setting.sources:
        expected = "domains whose labels are given (data.domain and domains.source), for a training of two domains"
        raise InputError("train", expected, recipe.train.name)
    if schedule.target_share != 1 or not setting.sources:
        return
    if schedule.start != "last":
        raise InputError("train.start", "last, where no label of the source is read (target_share: 1)", schedule.start)
    if setting.budgets[0] > 0:
        expected = "0 first, so that round 0 learns from the source that later rounds do not read (target_share: 1)"
        raise InputError("loop.budgets", expected, str(setting.budgets[0]))
    if not moved:
        expected = "finetune, or frozen with an objective that trains the features, as its head is solved anew"
        raise InputError("learner", expected, recipe.learner.name)


def _check_bags(recipe: Recipe, task: Task, setting: Setting) -> None:
    """Refuse a learner of bags in another task, and what bags do not have."""
    if not isinstance(task, BagTask):
        if getattr(setting.learner[1], "of_bags", False):
            expected = f"another one in {recipe.task.name}: bags alone (task: bags)"
            raise InputError("learner", expected, recipe.learner.name)
    elif recipe.data.grow:
        raise InputError("data.grow", "false, where a query asks about bags", "true")
    elif recipe.data.ids == HASHED:
        raise InputError("data.ids", "plain, where bags have names (data.bag)", HASHED)


def check_stage0(recipe: Recipe) -> None:
    """Build those that stage 0 needs; see `check_components`."""
    source(recipe)
    views_of(recipe)
    for where, spec in encoders(recipe).items():
        _check_name(where, spec)


def training(recipe: Recipe) -> tuple[Any, Any]:
    """Objective and schedule of the `train` section, which holds the keys of both."""
    from .core.consistency import Recording
    from .train import Schedule

    objectives, base = task_of(recipe).objectives(setting_of(recipe))
    schedule_keys = {f.name for f in dataclasses.fields(Schedule)}
    params = recipe.train.params
    settings = {k: v for k, v in params.items() if k not in schedule_keys}
    kind = objectives.get(recipe.train.name)
    if kind is not None:
        keys = {f.name for f in dataclasses.fields(cast(Any, kind))} | schedule_keys
        for key in settings:
            if key not in keys:
                raise UnknownName(f"train ({recipe.train.name})", key, keys)
    objective = component(objectives, "train", recipe.train.name, settings)
    changes: dict[str, Any] = {k: v for k, v in params.items() if k in schedule_keys}
    record = changes.get("record", {})
    if not isinstance(record, dict):
        raise InputError("train.record", "a mapping of keys", repr(record))
    changes["record"] = component({"record": Recording}, "train.record", "record", record)
    schedule = component({"schedule": Schedule}, "train", "schedule", {**dataclasses.asdict(base), **changes})
    return objective, schedule


def make_encoder(spec: EncoderSection, *, channels: int, image_size: int, seed: int, weights: str | None) -> Encoder:
    """The encoder of a recipe, or of one of its embedding sets, with `weights` in the place of its own."""
    from .models.encoder import build_encoder

    return build_encoder(
        spec.name,
        channels=channels,
        image_size=image_size,
        seed=seed,
        weights=weights,
        options=spec.options,
        input_size=spec.input_size,
        pool=spec.pool,
    )


def encoders(recipe: Recipe) -> dict[str, EncoderSection]:
    """The encoders of a recipe by their key in it."""
    return {"encoder": recipe.encoder} | {f"embeddings.sets.{k}": v for k, v in recipe.embeddings.sets.items()}


def _check_name(where: str, spec: EncoderSection) -> None:
    from .models.encoder import check_name

    check_name(spec.name, where)
