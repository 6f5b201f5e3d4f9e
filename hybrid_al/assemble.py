"""From a recipe to objects, with `components`: the only modules that know both YAML and classes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from .components import (
    check_components,
    check_stage0,
    encoders,
    make_encoder,
    reading_of,
    setting_of,
    source,
    task_of,
    trackers_of,
    training,
    views_of,
)
from .core.embeddings import PLAIN, USED, Embeddings
from .core.hidden import HASHED, Hider, salt_file
from .core.learner import Learner
from .core.rundir import RunDir
from .core.types import FloatArray, Need
from .data import domains
from .data.bags import Bags, with_bags
from .data.base import Dataset
from .data.copies import near_notes
from .data.folders import hidden
from .data.growth import grow
from .data.index import FileIndex
from .errors import InputError
from .experiment import Experiment, OpenTask
from .metrics.calibration import CalibrationSettings
from .query.stopping import Stopping
from .recipe import EmbeddingsSection, Recipe
from .tasks.bags import BagTask
from .tasks.base import Materials, Setting, Task
from .track.base import Trackers, open_mirrors
from .track.jsonl import JsonlTracker

if TYPE_CHECKING:
    import torch

    from .data.stores.images import ImageStore
    from .data.tissue import Tissue
    from .data.views.policies import Views
    from .models.encoder import Encoder

PLACES = ("root", "images", "masks", "table")
LISTED = ("folder", "dicom", "slides")
"""Sources that take whatever lies in their folder."""
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

        views = views_of(self.recipe)
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


def open_project(
    recipe: Recipe, *, run_dir: Path | None = None, device: str = "cpu", stage0_alone: bool = False
) -> Project:
    """Check every component by name and parameters, then the data: whatever can be known of a loop before it is played.

    Images are not decoded yet (see `check_images`). `stage0_alone`: the recipe says nothing of the loop, which is not
    looked at.
    """
    where = device_of(device)
    (check_stage0 if stage0_alone else check_components)(recipe)
    path = run_dir or Path("runs") / f"{recipe.name}-s{recipe.seed}"
    if not RunDir(path).exists():
        check_place(recipe, path, "--run-dir")
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


def check_place(recipe: Recipe, path: Path, option: str) -> None:
    """Refuse to write among the images of a source that lists its folder: the next call would find other data there.

    What is hidden from it, or left out by `data.ignore`, is no such place. A path that is no UTF-8 is refused too.
    """
    params = recipe.data.params
    root, given = Path(str(params.get("root"))).resolve(), params.get("ignore")
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(path, f"a path in UTF-8 ({option})", "one with other bytes") from error
    if recipe.data.source not in LISTED or not path.resolve().is_relative_to(root):
        return
    ignore = tuple(map(str, given)) if isinstance(given, list) else ()
    if not any(hidden(part, ignore) for part in path.resolve().relative_to(root).parts):
        expected = f"a place outside the images of {root} ({option}), or in a folder that data.ignore leaves out"
        raise InputError(path, expected, "one among them")


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
    settings = recipe.data.model_dump(mode="json", exclude={"workers"})
    index = FileIndex(folder / f"{_digest({'data': settings})[:24]}.json", recipe.data.workers)
    try:
        dataset = dataclasses.replace(source(recipe).load(index), workers=index.workers)
    except InputError as error:
        if error.where.startswith("data.root") and RunDir(run).exists():  # the data lay there when the run began
            way = f"of data that lies elsewhere now: hybrid-al run {shlex.quote(str(run))} data.root=PATH"
            raise InputError(error.where, f"{error.expected}; {way}", error.came) from error
        raise
    finally:
        index.save()
    if dataset.bags or recipe.data.bag is not None:
        dataset = with_bags(dataset, recipe.data.bag)
    if hider is None:
        return dataset
    return dataclasses.replace(dataset, manifest=hider.hide(dataset.manifest), names=dataset.manifest)


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
        torch.zeros(1, device=name).item()  # which meta has not
    except (RuntimeError, AssertionError) as error:
        raise InputError("device", "a device of this machine", f"{name} ({str(error).splitlines()[0]})") from None
    return torch.device(name)


def experiment(project: Project) -> Experiment:
    """The loop's values and protocols; stage 0 must have been run."""
    recipe, dataset, setting, materials = project.recipe, project.dataset, project.setting, project.materials()
    task, oracle = project.task.open(setting, materials)
    encoder = _encoder(project, materials.store)
    learner, embeddings = _learner(project, setting, materials, task, encoder)
    needs = frozenset[Need]().union(*(strategy.needs for *_, strategy in setting.strategies))
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
        tissue=_tissue(project).shares if "tissue" in needs else None,
        computed=_computed(project, needs, encoder),
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


def _check_weights(recipe: Recipe) -> None:
    """Refuse weights files that do not exist."""
    from .models.pretrained import PRETRAINED

    for where, spec in encoders(recipe).items():
        if spec.weights not in (None, PRETRAINED) and not Path(str(spec.weights)).is_file():
            expected = f"null, {PRETRAINED} or a weights file"
            raise InputError(f"{where}.weights", expected, f"{Path(str(spec.weights)).absolute()}: no such file")


def _encoder(project: Project, store: ImageStore) -> Encoder:
    """The encoder of stage 0."""
    weights, spec = str(project.stage0 / "encoder.safetensors"), project.recipe.encoder
    encoder = make_encoder(spec, channels=store.channels, image_size=store.size, seed=0, weights=weights)
    return encoder.to(project.device)


def _learner(
    project: Project, setting: Setting, materials: Materials, task: OpenTask, encoder: Encoder
) -> tuple[Learner, Embeddings]:
    from .learners.network import Foundation
    from .models.checkpoint import digest_of

    recipe, dataset, store = project.recipe, project.dataset, materials.store
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


def _tissue(project: Project) -> Tissue:
    """How much of each image is tissue."""
    from .data.tissue import WHITE, Background, tissue

    dataset = project.dataset
    sizes = None if dataset.masks is None else dataset.masks.sizes
    background: Background | None = "white" if project.recipe.modality in WHITE else None
    pool = dataset.manifest.indices("pool")
    return tissue(project.store(), pool, sizes=sizes, background=background, cache=project.cache)


def _computed(project: Project, needs: frozenset[Need], encoder: Encoder) -> dict[Need, Mapping[str, FloatArray]]:
    """Arrays of every sample by need and name that are computed from the images, for strategies with these needs."""
    store, pool = project.store(), project.dataset.manifest.indices("pool")
    computed: dict[Need, Mapping[str, FloatArray]] = {}
    if "proxy" in needs:
        from .learners.proxy import proxy_values

        computed["proxy"] = proxy_values(store, pool, _tissue(project), project.device, cache=project.cache)
    if "patterns" in needs:
        from .learners.patterns import image_patterns

        computed["patterns"] = {"patterns": image_patterns(encoder, store, pool, project.device, cache=project.cache)}
    return computed


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
