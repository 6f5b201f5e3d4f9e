"""From a recipe to objects: the only module that knows both YAML and classes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from .core.embeddings import PLAIN, USED, Embeddings
from .core.learner import Learner
from .core.registry import component
from .core.rundir import RunDir
from .core.types import FloatArray, IntArray, LabelMap
from .data.base import Dataset, Source
from .data.index import FileIndex
from .data.sources import SOURCES
from .errors import InputError, UnknownName
from .loop import Experiment
from .metrics.calibration import Calibrating
from .query.base import COLD, Scoring
from .query.stopping import Stopping
from .query.strategies import STRATEGIES
from .recipe import Component, EmbeddingsSection, EncoderSection, Recipe
from .regions.base import Parts
from .tasks.base import task_of
from .track.base import Trackers
from .track.jsonl import JsonlTracker
from .track.wandb import open_wandb

if TYPE_CHECKING:
    import torch

    from .data.stores.images import ImageStore
    from .data.views.policies import Views
    from .models.encoder import Encoder

ORACLES = ("simulated", "worklist")
PACKAGES = ("hybrid-al", "torch", "timm", "lightly")


@dataclass(frozen=True)
class Project:
    """A recipe with its data at hand: what every command starts from.

    base    the run directory whose stage 0 and cache this run stands on, where they are not its own
    stores  the image stores that were opened, which checks every byte; copies of the project share them
    """

    recipe: Recipe
    dataset: Dataset
    run: RunDir
    device: torch.device
    base: Path | None = None
    stores: dict[object, ImageStore] = dataclasses.field(default_factory=dict, repr=False, compare=False)

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

    def views(self) -> Views:
        """The view policies of the modality."""
        views = _views(self.recipe)
        return views if self.dataset.stack == 1 else views.without_colour()

    def claim(self) -> None:
        """Make the run directory this recipe's, or check that it is."""
        resolved, identity = self.recipe.resolved(), self.recipe.identity()
        facts = {
            "name": self.recipe.name,
            "seed": self.recipe.seed,
            "task": self.recipe.task,
            "classes": list(self.dataset.classes),
            "recipe": identity,
            "recipe_digest": _digest(identity),
            "manifest": self.dataset.manifest.fingerprint,
            "versions": {
                "python": platform.python_version(),
                **{p: version(p) for p in PACKAGES},
            },
        }
        self.run.claim(facts, yaml.safe_dump(resolved, sort_keys=False), self.dataset.manifest)

    def trackers(self) -> Trackers:
        """metrics.jsonl, and W&B where the recipe wants it."""
        jsonl = JsonlTracker(self.run.path / "metrics.jsonl")
        wandb = self.recipe.track.wandb
        mirror = open_wandb(
            self.run.path,
            self.recipe.resolved(),
            digest=_digest(self.recipe.identity()),
            mode=wandb.mode,
            log_images=wandb.log_images,
            project=wandb.project,
        )
        return Trackers(jsonl, mirror)


def source(recipe: Recipe) -> Source:
    """The source of a recipe, its settings checked, nothing read yet."""
    return component(SOURCES, "data", recipe.data.source, recipe.data.params)


def open_project(recipe: Recipe, *, run_dir: Path | None = None, device: str = "cpu") -> Project:
    """Check every component by name and parameters, then look at the data. Images are not decoded yet."""
    where = _device(device)
    check_components(recipe)
    path = run_dir or Path("runs") / f"{recipe.name}-s{recipe.seed}"
    if not (path / "stage0" / "probe.json").is_file():
        _check_weights(recipe)
    dataset = _load(recipe, path.parent / ".cache" / "files")
    task_of(recipe).check_data(recipe, dataset)
    leaks = dataset.manifest.leaks()
    if leaks and recipe.data.on_leak == "error":
        raise InputError("data", "no image in two splits", f"{len(leaks)}, the first is {' = '.join(leaks[0])}")
    return Project(recipe, dataset, RunDir(path), where)


def _load(recipe: Recipe, folder: Path) -> Dataset:
    """The dataset; files that did not change since an earlier call are not read again."""
    index = FileIndex(folder / f"{_digest({'data': recipe.data.model_dump(mode='json')})[:24]}.json")
    try:
        return source(recipe).load(index)
    finally:
        index.save()


def _device(name: str) -> torch.device:
    """The named device; `auto` is the GPU where there is one."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError("--device", "a device of this machine", f"{name} ({str(error).splitlines()[0]})") from None
    return torch.device(name)


def experiment(project: Project) -> Experiment:
    """The loop's values and protocols; stage 0 must have been run."""
    recipe, dataset = project.recipe, project.dataset
    task = task_of(recipe)
    parted = task.regions(recipe, dataset, project.store(), project.cache, project.run, project.device)
    oracle, holdout = task.truth(recipe, dataset, project.run, project.cache, parted)
    learner, scorer, embeddings = _learner(project, parted)
    return Experiment(
        manifest=dataset.manifest,
        classes=dataset.classes,
        embeddings=_used(project, embeddings),
        cold_start=(recipe.cold_start.name, _strategy("cold_start", recipe.cold_start)),
        query=(recipe.query.name, _strategy("query", recipe.query)),
        learner=learner,
        oracle=oracle,
        holdout=holdout,
        budgets=recipe.loop.budgets,
        seed=recipe.seed,
        records=project.stage0 / "records.npz",
        costs=_costs(project),
        tissue=_tissue(project),
        thumbnail=project.store().thumbnail if recipe.track.wandb.log_images else None,
        calibrating=_calibrating(project),
        stopping=Stopping(**recipe.loop.stop.model_dump()),
        scorer=scorer,
        regions=parted,
        spending=task.spending(recipe, dataset, parted),
        shown=_shown(project),
    )


def _calibrating(project: Project) -> Calibrating | None:
    spec, dataset = project.recipe.calibration, project.dataset
    if spec.fit == "none":
        return None
    labels = dataset.truth if dataset.labels is None else dataset.labels
    known = labels >= 0 if dataset.masks is None else dataset.masks.known
    if spec.fit == "val" and not known[dataset.manifest.indices("val")].any():
        raise InputError("calibration.fit", "a val split with labels (val), or cross", "none in the data")
    return Calibrating(fit=spec.fit, method=spec.method, folds=spec.folds, queries=spec.queries)


def _views(recipe: Recipe) -> Views:
    from .data.views.policies import VIEWS

    if recipe.modality not in VIEWS:
        raise UnknownName("recipe: modality", recipe.modality, VIEWS)
    return VIEWS[recipe.modality]


def _strategy(where: str, spec: Component) -> Any:
    return component(STRATEGIES, where, spec.name, spec.params)


def check_components(recipe: Recipe) -> None:
    """Build every component of a recipe once: unknown names, keys and values are errors before any data is read."""
    source(recipe)
    _views(recipe)
    for where, spec in encoders(recipe).items():
        _check_name(where, spec)
    cold = _strategy("cold_start", recipe.cold_start)
    beyond = cold.needs - COLD
    if beyond:
        raise InputError("cold_start", "a strategy that needs embeddings alone", f"one that needs {sorted(beyond)[0]}")
    query = _strategy("query", recipe.query)
    if "stage0" in cold.needs | query.needs and recipe.pretrain.name == "none":
        name = "cold_start" if "stage0" in cold.needs else "query"
        raise InputError(name, "a pretraining (pretrain) whose records it can read", "pretrain: none")
    training(recipe)
    named = (("cold_start", recipe.cold_start.name, cold), ("query", recipe.query.name, query))
    task_of(recipe).check(recipe, named)
    if recipe.oracle.name not in ORACLES:
        raise UnknownName("oracle.name", recipe.oracle.name, ORACLES)
    known = task_of(recipe).ORACLE_KEYS
    for key in recipe.oracle.params:
        if key not in known:
            raise UnknownName(f"oracle ({recipe.oracle.name})", key, known)
    if recipe.loop.unit not in (units := task_of(recipe).BUDGETS):
        raise InputError("loop.unit", f"{', '.join(units)} in {recipe.task}", recipe.loop.unit)
    if "costs" in cold.needs | query.needs and "costs" not in recipe.oracle.params:
        raise InputError("query", "what an answer costs (oracle.costs: a CSV of id and cost)", "none")


def training(recipe: Recipe) -> tuple[Any, Any]:
    """Objective and schedule from the one `train` section: its keys are told apart by whose they are."""
    from .core.consistency import Recording
    from .train import Schedule

    objectives, base = task_of(recipe).objectives(recipe)
    schedule_keys = {f.name for f in dataclasses.fields(Schedule)}
    params = recipe.train.params
    own = {k: v for k, v in params.items() if k not in schedule_keys}
    kind = objectives.get(recipe.train.name)
    if kind is not None:
        known = {f.name for f in dataclasses.fields(cast(Any, kind))} | schedule_keys
        for key in own:
            if key not in known:
                raise UnknownName(f"train ({recipe.train.name})", key, known)
    objective = component(objectives, "train", recipe.train.name, own)
    changes: dict[str, Any] = {k: v for k, v in params.items() if k in schedule_keys}
    record = changes.get("record", {})
    if not isinstance(record, dict):
        raise InputError("train.record", "a mapping of keys", repr(record))
    changes["record"] = component({"record": Recording}, "train.record", "record", record)
    schedule = component({"schedule": Schedule}, "train", "schedule", {**dataclasses.asdict(base), **changes})
    return objective, schedule


def make_encoder(spec: EncoderSection, *, channels: int, image_size: int, seed: int, weights: str | None) -> Encoder:
    """The encoder of a recipe, or of one of its embedding sets, with the weights that are said here."""
    from .models.encoder import build_encoder

    return build_encoder(
        spec.name,
        channels=channels,
        image_size=image_size,
        seed=seed,
        weights=weights,
        options=spec.options,
        input_size=spec.input_size,
    )


def encoders(recipe: Recipe) -> dict[str, EncoderSection]:
    """The encoders of a recipe by the key that says them."""
    return {"encoder": recipe.encoder} | {f"embeddings.sets.{k}": v for k, v in recipe.embeddings.sets.items()}


def _check_name(where: str, spec: EncoderSection) -> None:
    from .models.encoder import check_name

    check_name(spec.name, where)


def _check_weights(recipe: Recipe) -> None:
    """Files that stage 0 will start from are there."""
    from .models.pretrained import PRETRAINED

    for where, spec in encoders(recipe).items():
        if spec.weights not in (None, PRETRAINED) and not Path(str(spec.weights)).is_file():
            expected = f"null, {PRETRAINED} or a weights file"
            raise InputError(f"{where}.weights", expected, f"{spec.weights}: no such file")


def _learner(project: Project, parted: Parts | None) -> tuple[Learner, Scoring | None, Embeddings]:
    from .learners.network import Foundation
    from .models.checkpoint import digest_of

    recipe, dataset = project.recipe, project.dataset
    store, saved = project.store(), str(project.stage0 / "encoder.safetensors")
    made = make_encoder(recipe.encoder, channels=store.channels, image_size=store.size, seed=0, weights=saved)
    made = made.to(project.device)
    embeddings = Embeddings.load(
        project.embeddings(PLAIN), manifest=dataset.manifest.fingerprint, encoder=digest_of(made)
    )
    objective, schedule = training(recipe)
    foundation = Foundation(
        encoder=made,
        embeddings=embeddings,
        store=store,
        views=project.views(),
        classes=len(dataset.classes),
        pool=dataset.manifest.indices("pool"),
        device=project.device,
        cache=project.cache,
    )
    learner, scorer = task_of(recipe).learner(recipe, dataset, foundation, objective, schedule, project.run, parted)
    return learner, scorer, embeddings


def _used(project: Project, plain: Embeddings) -> Embeddings:
    """What the strategies read."""
    if project.recipe.embeddings == EmbeddingsSection():
        return plain
    return Embeddings.load(project.embeddings(USED), manifest=project.dataset.manifest.fingerprint)


def _costs(project: Project) -> FloatArray | None:
    from .data.costs import read_costs

    path = project.recipe.oracle.params.get("costs")
    return None if path is None else read_costs(Path(str(path)), project.dataset.manifest)


def _shown(project: Project) -> Callable[[IntArray], LabelMap] | None:
    """Maps of samples, `IGNORE` in padding, where pixels have classes."""
    from .data.readers.masks import blank

    masks, size = project.dataset.masks, project.recipe.data.image_size
    return None if masks is None else lambda rows: blank(masks.sizes[rows], size)


def _tissue(project: Project) -> FloatArray | None:
    """How much of each image is tissue, where a strategy asks."""
    from .data.tissue import WHITE, Background, tissue

    recipe, dataset = project.recipe, project.dataset
    if "tissue" not in _strategy("cold_start", recipe.cold_start).needs | _strategy("query", recipe.query).needs:
        return None
    sizes = None if dataset.masks is None else dataset.masks.sizes
    background: Background | None = "white" if recipe.modality in WHITE else None
    pool = dataset.manifest.indices("pool")
    return tissue(project.store(), pool, sizes=sizes, background=background, cache=project.cache).shares


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
