"""From a recipe to objects: the only module that knows both YAML and classes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import yaml

from .core.embeddings import PLAIN, USED, Embeddings
from .core.hidden import HASHED, Hider, salt_file
from .core.learner import Learner
from .core.registry import component
from .core.rundir import RunDir
from .core.types import FloatArray
from .data import domains
from .data.bags import Bags, column_of, with_bags
from .data.base import Dataset, Source
from .data.copies import near_notes
from .data.growth import grow
from .data.index import FileIndex
from .data.sources import SOURCES
from .errors import InputError, UnknownName
from .experiment import Experiment, OpenTask
from .metrics.calibration import CalibrationSettings
from .oracles import ORACLES, Worklist
from .oracles.readings import Reading
from .query.base import COLD
from .query.stopping import Stopping
from .query.strategies import STRATEGIES
from .recipe import Component, EmbeddingsSection, EncoderSection, Recipe
from .tasks import TASKS
from .tasks.bags import BagTask
from .tasks.base import Materials, Setting, Task
from .track import TRACKERS
from .track.base import Trackers, TrackerSettings, open_mirrors
from .track.jsonl import JsonlTracker

if TYPE_CHECKING:
    import torch

    from .data.stores.images import ImageStore
    from .data.views.policies import Views
    from .models.encoder import Encoder

PLACES = ("root", "images", "masks", "table")
PACKAGES = ("hybrid-al", "torch", "timm", "lightly")


@dataclass(frozen=True)
class Project:
    """A recipe with its data at hand: what every command starts from.

    base    the run directory that holds stage 0 and the cache, where this run has none of its own
    stores  the image stores that were opened, which checks every byte; copies of the project share them
    grown   what is new, gone or changed since the run began (`data.grow`), in words
    """

    recipe: Recipe
    dataset: Dataset
    run: RunDir
    device: torch.device
    base: Path | None = None
    stores: dict[object, ImageStore] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    grown: tuple[str, ...] = ()

    @property
    def stage0(self) -> Path:
        """Where encoder and embeddings are."""
        return (self.base or self.run.path) / "stage0"

    def embeddings(self, name: str) -> Path:
        """Where a set of embeddings is."""
        return self.stage0 / "embeddings" / f"{name}.npy"

    @property
    def cache(self) -> Path:
        """Content-addressed files that runs beside each other share."""
        return (self.base or self.run.path).parent / ".cache"

    def store(self, progress: Callable[[int, int], None] | None = None) -> ImageStore:
        """The decoded images, built and checked on first use."""
        from .data.stores.images import ImageStore

        data, fingerprint = self.recipe.data, self.dataset.manifest.fingerprint
        key = (fingerprint, self.dataset.reader, data.image_size, data.channels, self.cache)
        if key not in self.stores:
            self.stores[key] = ImageStore.build(
                self.dataset, image_size=data.image_size, channels=data.channels, cache=self.cache, progress=progress
            )
        return self.stores[key]

    @property
    def task(self) -> Task:
        """The task of the recipe."""
        return task_of(self.recipe)

    @property
    def setting(self) -> Setting:
        """What the recipe chose beside the task."""
        return setting_of(self.recipe)

    def materials(self) -> Materials:
        """What a task is opened with; decodes the images on first use."""
        sources = self.recipe.domains.source
        return Materials(self.dataset, self.store(), self.cache, self.run, self.device, sources)

    def views(self) -> Views:
        """The view policies of the modality, or pipelines in their place, tried on an image."""
        from .data.views.albumentations import Pipeline
        from .data.views.pixels import pixel_views

        views = _views(self.recipe)
        if self.dataset.stack > 1:
            return views.without_colour()
        for view in (views.pretrain, views.weak, views.strong):
            if isinstance(view, Pipeline):
                view.check_on(self.store().batch(np.zeros(1, dtype=np.int64)))
        if self.task.drawable:
            pixel_views(views)  # refuses a strong view of which nothing is left beside its geometry
        return views

    @property
    def has_stage0(self) -> bool:
        """Whether stage 0 is over."""
        return RunDir(self.base or self.run.path).has_stage0

    def claim(self) -> None:
        """Write recipe and facts to the run directory, or check that it has the same ones; says how its data grew."""
        recipe = yaml.safe_dump(self.recipe.plain(), sort_keys=False, allow_unicode=True)
        self.run.claim(self._facts(), recipe, self.dataset.manifest, grows=self.recipe.data.grow)
        for note in self.grown:
            print(f"{self.run.path}: {note}", file=sys.stderr)

    def check_run(self) -> None:
        """Refuse a run directory that was begun with another recipe or other data."""
        if self.run.exists():
            self.run.check_same(self._facts(), self.dataset.manifest, grows=self.recipe.data.grow)

    def _facts(self) -> dict[str, object]:
        """What `run.json` says of the run."""
        identity = self.recipe.identity()
        return {
            "name": self.recipe.name,
            "seed": self.recipe.seed,
            "task": self.recipe.task.name,
            "classes": list(self.dataset.classes),
            "inbox": self.task.inbox(self.setting, self.dataset),
            "drawable": self.task.drawable,
            **({} if (reading := reading_of(self.setting)) is None else {"reading": dataclasses.asdict(reading)}),
            "recipe": identity,
            "recipe_digest": _digest(identity),
            "threads": threads(),
            "manifest": self.dataset.manifest.fingerprint,
            **({"salt": Hider.load(self.run.path).mark} if self.recipe.data.ids == HASHED else {}),
            "versions": {
                "python": platform.python_version(),
                **{p: version(p) for p in (*PACKAGES, *["albumentations"] * bool(self.recipe.views.pipelines))},
            },
        }

    def trackers(self) -> Trackers:
        """metrics.jsonl, and the trackers of the recipe."""
        jsonl = JsonlTracker(self.run.path / "metrics.jsonl")
        plain, digest = self.recipe.plain(), _digest(self.recipe.identity())
        if self.dataset.names is not None:  # places name people and projects
            plain["data"] = {key: value for key, value in plain["data"].items() if key not in PLACES}
        return Trackers(jsonl, open_mirrors(trackers_of(self.recipe), self.run.path, plain, digest))


def source(recipe: Recipe) -> Source:
    """The source of a recipe, its settings checked, nothing read yet."""
    params = recipe.data.params
    if column := column_of(recipe.data.bag, recipe.data.source):
        columns = params.get("columns")
        params |= {"columns": {**(columns if isinstance(columns, dict) else {}), "bag": column}}
    return component(SOURCES, "data", recipe.data.source, params, key=".source")


def open_project(
    recipe: Recipe, *, run_dir: Path | None = None, device: str = "cpu", stage0_alone: bool = False
) -> Project:
    """Check every component by name and parameters, then the data: whatever can be known of a loop before it is played.

    Images are not decoded yet (see `check_images`). `stage0_alone`: the recipe says nothing of the loop, which is not
    looked at.
    """
    where = device_of(device)
    (_check_stage0 if stage0_alone else check_components)(recipe)
    path = run_dir or Path("runs") / f"{recipe.name}-s{recipe.seed}"
    if not RunDir(path).has_stage0:
        _check_weights(recipe)
    dataset = _load(recipe, path)
    grown: tuple[str, ...] = ()
    recipe = _with_window_of_set(recipe, dataset)
    if recipe.data.grow and (run := RunDir(path)).exists():
        began, drawn, before = run.manifest(), bool(recipe.data.params.get("holdout")), len(dataset.notes)
        dataset = grow(dataset, began, run.asked(began), drawn=drawn)
        grown = dataset.notes[before:]
    leaks = dataset.manifest.leaks()
    if leaks and recipe.data.on_leak == "error":
        raise InputError("data", "no image in two splits", f"{len(leaks)}, the first is {' = '.join(leaks[0])}")
    project = Project(recipe, dataset, RunDir(path), where, grown=grown)
    if not stage0_alone:
        setting = project.setting
        if dataset.bags and not isinstance(project.task, BagTask):
            raise InputError("task", "bags, as the data has bags (data.bag)", recipe.task.name)
        domains.check(dataset, setting.sources, project.task.answered(dataset))
        project.task.check_data(setting, dataset)
        _calibrating(project)
        _costs(setting, dataset)
    return project


def check_images(project: Project) -> None:
    """Refuse what only decoded images show: the last thing that is known of a loop before stage 0."""
    project.task.check_images(project.setting, project.materials())
    manifest = project.dataset.manifest
    if project.recipe.data.on_leak == "error" and (alike := project.store().leaks(manifest)):
        came = f"{len(alike)} with the pixels of one in another file, the first is {' = '.join(alike[0])}"
        raise InputError("data", "no image in two splits", came)
    if project.recipe.data.on_leak == "error" and (
        near := near_notes(project.dataset, project.store().near_identical(manifest))[0]
    ):
        raise InputError("data", "no near-identical images in two splits", near)


def _load(recipe: Recipe, run: Path) -> Dataset:
    """The dataset, with hashed names where the recipe says so; files that did not change are not read again.

    What was found about files names them: where a run hides names, it lies beside the salt.
    """
    hider = Hider.load(run) if recipe.data.ids == HASHED else None
    folder = run.parent / ".cache" / "files" if hider is None else salt_file().parent / "files"
    index = FileIndex(folder / f"{_digest({'data': recipe.data.model_dump(mode='json')})[:24]}.json")
    try:
        dataset = source(recipe).load(index)
    finally:
        index.save()
    if dataset.bags or recipe.data.bag is not None:
        dataset = with_bags(dataset, recipe.data.bag)
    if hider is None:
        return dataset
    return dataclasses.replace(dataset, manifest=hider.hide(dataset.manifest), names=dataset.manifest)


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


def _with_window_of_set(recipe: Recipe, dataset: Dataset) -> Recipe:
    """A recipe that has the numbers of a window that the images of the set gave, so that other images get the same."""
    window = recipe.data.params.get("window")
    if not (isinstance(window, dict) and window.get("of") == "set" and dataset.span):
        return recipe
    numbers = [float(edge) for edge in dataset.span]
    if recipe.data.grow:
        expected = f"a window that new images do not change, such as {numbers}, what those of now give"
        raise InputError("data.window", expected, "of: set, and data.grow")
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"window": numbers})})


def threads() -> int:
    """Threads of a sum, on whose number its rounding depends (OMP_NUM_THREADS)."""
    import torch

    return torch.get_num_threads()


def device_of(name: str) -> torch.device:
    """The named device; `auto` is the GPU where there is one."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError("device", "a device of this machine", f"{name} ({str(error).splitlines()[0]})") from None
    return torch.device(name)


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


def experiment(project: Project) -> Experiment:
    """The loop's values and protocols; stage 0 must have been run."""
    recipe, dataset, setting, materials = project.recipe, project.dataset, project.setting, project.materials()
    task, oracle = project.task.open(setting, materials)
    learner, embeddings = _learner(project, setting, materials, task)
    logs_images = any(tracker.log_images for tracker in trackers_of(recipe).values())
    start, query = ((name, strategy) for _, name, strategy in setting.strategies)
    return Experiment(
        manifest=dataset.manifest,
        classes=dataset.classes,
        embeddings=_strategy_embeddings(project, embeddings),
        cold_start=start,
        query=query,
        learner=learner,
        oracle=oracle,
        task=task,
        seed=recipe.seed,
        records=project.stage0 / "records.npz",
        costs=_costs(setting, dataset),
        tissue=_tissue(project, setting),
        thumbnail=materials.store.thumbnail if logs_images else None,
        calibrating=_calibrating(project),
        stopping=Stopping(**recipe.loop.stop.model_dump()),
        source=dataset.manifest.of_domains(setting.sources) if setting.sources else None,
        grows=recipe.data.grow,
    )


def _calibrating(project: Project) -> CalibrationSettings | None:
    spec, dataset = project.recipe.calibration, project.dataset
    if spec.fit == "none":
        return None
    if spec.fit == "val" and not project.task.answered(dataset)[dataset.manifest.indices("val")].any():
        raise InputError("calibration.fit", "a val split with labels (val), or cross", "none in the data")
    return CalibrationSettings(fit=spec.fit, method=spec.method, folds=spec.folds, queries=spec.queries)


def _views(recipe: Recipe) -> Views:
    from .data.views.policies import VIEWS

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
    _check_stage0(recipe)
    trackers_of(recipe)
    task, setting = task_of(recipe), setting_of(recipe)
    _check_readers(setting, task)
    cold, query = (strategy for *_, strategy in setting.strategies)
    if beyond := cold.needs - COLD:
        raise InputError("cold_start", "a strategy that needs embeddings alone", f"one that needs {sorted(beyond)[0]}")
    if "stage0" in cold.needs | query.needs and recipe.pretrain.name == "none":
        name = "cold_start" if "stage0" in cold.needs else "query"
        raise InputError(name, "a pretraining (pretrain) whose records it can read", "pretrain: none")
    objective, _ = training(recipe)
    if getattr(objective, "trains_features", False) and setting.learner[1].frozen:
        raise InputError("train", "learner: finetune, as this objective trains the features", recipe.learner.name)
    _check_bags(recipe, task, setting)
    task.check(setting)
    if recipe.data.grow and task.regional:
        raise InputError("data.grow", "false, where a query asks about regions of images", "true")
    if recipe.data.grow and setting.sources:
        raise InputError("data.grow", "false, where labels of a source are given (domains.source)", "true")
    if "domains" in cold.needs | query.needs and not setting.sources:
        key, name = ("cold_start", recipe.cold_start.name) if "domains" in cold.needs else ("query", recipe.query.name)
        raise InputError(key, "domains whose labels are given (domains.source), for a query of a target", name)
    if recipe.loop.unit not in task.units:
        raise InputError("loop.unit", f"{', '.join(task.units)} in {recipe.task.name}", recipe.loop.unit)
    if recipe.report.random_runs and not setting.simulated:
        raise InputError("report.random_runs", "0, for nobody is asked about random picks too", recipe.oracle.name)
    if "costs" in cold.needs | query.needs and setting.oracle[1].costs is None:
        raise InputError("query", "what an answer costs (oracle.costs: a CSV of id and cost)", "none")


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


def _check_stage0(recipe: Recipe) -> None:
    """Those that stage 0 needs."""
    source(recipe)
    _views(recipe)
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


def _check_weights(recipe: Recipe) -> None:
    """Refuse weights files that do not exist."""
    from .models.pretrained import PRETRAINED

    for where, spec in encoders(recipe).items():
        if spec.weights not in (None, PRETRAINED) and not Path(str(spec.weights)).is_file():
            expected = f"null, {PRETRAINED} or a weights file"
            raise InputError(f"{where}.weights", expected, f"{Path(str(spec.weights)).absolute()}: no such file")


def _learner(project: Project, setting: Setting, materials: Materials, task: OpenTask) -> tuple[Learner, Embeddings]:
    from .learners.network import Foundation
    from .models.checkpoint import digest_of

    recipe, dataset, store = project.recipe, project.dataset, materials.store
    weights = str(project.stage0 / "encoder.safetensors")
    encoder = make_encoder(recipe.encoder, channels=store.channels, image_size=store.size, seed=0, weights=weights)
    encoder = encoder.to(project.device)
    embeddings = Embeddings.load(
        project.embeddings(PLAIN),
        manifest=dataset.manifest.fingerprint,
        images=store.digest,
        encoder=digest_of(encoder),
    )
    objective, schedule = training(recipe)
    foundation = Foundation(
        encoder=encoder,
        embeddings=embeddings,
        store=store,
        views=project.views(),
        classes=len(dataset.classes),
        pool=materials.pool,
        device=project.device,
        cache=project.cache,
        source=dataset.manifest.of_domains(setting.sources) if setting.sources else None,
    )
    return project.task.learner(setting, materials, foundation, objective, schedule, task), embeddings


def _strategy_embeddings(project: Project, plain: Embeddings) -> Embeddings:
    """The embeddings that strategies read; of bags, their means."""
    if project.recipe.embeddings != EmbeddingsSection():
        plain = Embeddings.load(project.embeddings(USED), manifest=project.dataset.manifest.fingerprint)
    return Bags.of(project.dataset).pooled(plain) if project.dataset.bags else plain


def _costs(setting: Setting, dataset: Dataset) -> FloatArray | None:
    from .data.costs import read_costs

    path = setting.oracle[1].costs
    return None if path is None else read_costs(Path(path).expanduser(), dataset.manifest)


def _tissue(project: Project, setting: Setting) -> FloatArray | None:
    """How much of each image is tissue; None where no strategy needs it."""
    from .data.tissue import WHITE, Background, tissue

    if not any("tissue" in strategy.needs for *_, strategy in setting.strategies):
        return None
    dataset = project.dataset
    sizes = None if dataset.masks is None else dataset.masks.sizes
    background: Background | None = "white" if project.recipe.modality in WHITE else None
    pool = dataset.manifest.indices("pool")
    return tissue(project.store(), pool, sizes=sizes, background=background, cache=project.cache).shares


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
