"""Run a grid: what is missing, in worker processes, into one CSV a variant; killed at any moment, it goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import stage0
from ..assemble import Project, check_images, open_project
from ..components import check_components, setting_of, task_of
from ..core.registry import component, parse_spec
from ..core.rundir import RunDir
from ..core.seals import read_json, sealed
from ..core.temporary import IDLE, clear_left_overs
from ..data.domains import asked
from ..errors import HybridALError, InputError
from ..query.batches import BATCHES
from ..query.strategies import STRATEGIES
from ..recipe import Component, Recipe
from . import provenance, results
from .cell import Loop, Stage0, discarding, work
from .estimate import Need, estimate
from .grid import Grid
from .pool import run_all, shared_workers
from .results import Arm, Cell, Results

Say = Callable[[str], None]


class CellsFailed(HybridALError):
    """Some cells of a bench could not be played; the others are in its tables."""

    exit_code = 1


@dataclass(frozen=True)
class Paths:
    """Where a bench lives.

    out   results: a CSV and a JSON a variant, the tables, the page
    work  stage 0, caches, and loops in progress
    """

    out: Path
    work: Path

    def csv(self, variant: str) -> Path:
        """The cells of a variant."""
        return self.out / f"{variant}.csv"

    def facts(self, variant: str) -> Path:
        """What the cells of a variant were made from."""
        return self.out / f"{variant}.json"


@dataclass(frozen=True)
class Variant:
    """A variant with its data: what all of its cells need."""

    name: str
    project: Project
    code: str

    @property
    def pool(self) -> int:
        """Images that may be labeled."""
        return len(asked(self.project.dataset.manifest, self.project.recipe.domains.source))


def run(grid: Grid, paths: Paths, *, jobs: int, device: str = "cpu", time_limit: float | None = None, say: Say) -> None:
    """Play every cell that is missing.

    time_limit in seconds ends between cells. Where nothing is missing, no data is looked at. Errors: see
    `open_variants` and `provenance.check`; a disk too small; `CellsFailed` once all others are done.
    """
    with RunDir(paths.out).lock():
        clear_left_overs(paths.work, idle=IDLE)
        cells_of = {name: results.read(paths.csv(name)) for name in grid.variants}
        if all(cell in cells_of[name].cells for name in grid.variants for cell in grid.cells(name)):
            for name in grid.variants:
                provenance.check(paths.facts(name), settings(grid, name))
            return
        say(f"arms: {', '.join(grid.asked)}; beside them, unless their key is false: {grid.added or 'none'}")
        variants = open_variants(grid, paths, device)
        for variant in variants:
            _settle(grid, variant, paths, cells_of[variant.name])
        stages = {(v.name, seed): stage0_of(grid, v, seed, paths, device) for v in variants for seed in grid.seeds}
        loops = list(_missing_loops(grid, variants, stages, cells_of, paths))
        need = estimate(loops, {v.name: v.project for v in variants}, cells_of, jobs)
        _promise(need, len(loops), paths, time_limit, say)
        with shared_workers() as workers:
            failures = _play(loops, grid, paths, jobs, time_limit, say, workers)
        for name in grid.variants:
            _order(grid, name, paths, results.read(paths.csv(name)))
    if failures:
        raise CellsFailed(
            "\n".join([f"{len(failures)} cells failed; the same command tries them again:", *failures[:10]])
        )


def open_variants(grid: Grid, paths: Paths, device: str) -> list[Variant]:
    """Check every arm of every variant and look at its data, before anything runs.

    Errors: unknown names and keys, budgets beyond a pool, a pool with unlabeled images, no test labels.
    """
    for name, recipe in grid.variants.items():
        stage0.check(recipe)
        for arm in grid.arms(name):
            check_components(grid.recipe(name, (arm, grid.seeds[0]), 1))
        if not setting_of(recipe).simulated:
            raise InputError(f"bench: {name}: oracle", "simulated: a bench needs all answers", recipe.oracle.name)
        if recipe.loop.unit != "labels":
            raise InputError(f"bench: {name}: loop.unit", "labels: curves are laid over each other", recipe.loop.unit)
    return [_open(grid, name, recipe, paths, device) for name, recipe in grid.variants.items()]


def _open(grid: Grid, name: str, recipe: Recipe, paths: Paths, device: str) -> Variant:
    try:
        project = open_project(recipe, run_dir=paths.work / "stage0" / "none", device=device)  # nothing is made there
        check_images(project)
        stage0.check_project(project)
    except InputError as error:
        raise error.at(f"bench: {name}: {error.where}") from None
    manifest = project.dataset.manifest
    pool = asked(manifest, recipe.domains.source)
    task = task_of(recipe)
    unknown = int((~task.answered(project.dataset)[pool]).sum())
    if unknown:
        expected = "a pool whose images all have their labels"
        raise InputError(f"bench: {name}", expected, f"{unknown} of {len(pool)} without")
    task.check_metric(f"bench: {name}: metrics", grid.bench.metrics[0], project.dataset)
    return Variant(name, project, _stage0_code(recipe))


def _stage0_code(recipe: Recipe) -> str:
    return provenance.code_digest(stage0.code(recipe))


def stage0_of(grid: Grid, variant: Variant, seed: int, paths: Paths, device: str) -> Stage0:
    """The stage 0 of a seed, in a folder named by what it is made from."""
    base = grid.variants[variant.name]
    recipe = Recipe(
        name="stage0",
        modality=base.modality,
        views=base.views.model_copy(update={"strong": None}),  # stage 0 has no strong views
        task=base.task,
        seed=grid.encoder(variant.name, seed),
        data=base.data,
        encoder=base.encoder,
        embeddings=base.embeddings,
        pretrain=base.pretrain,
    )
    origin = [recipe.identity(), variant.project.dataset.manifest.fingerprint, variant.code]
    digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:16]
    return Stage0(variant.name, recipe, paths.work / "stage0" / digest, device)


def settings(grid: Grid, variant: str) -> dict[str, object]:
    """What the recipe says that all cells of a variant share."""
    recipe = grid.variants[variant]
    identity = recipe.identity()
    return {
        "budgets": list(recipe.loop.budgets),
        "encoders": grid.bench.encoders,
        "metrics": list(grid.bench.metrics),
        "recipe": {k: v for k, v in identity.items() if k not in ("name", "seed", "cold_start", "query", "train")},
    }


def facts_of(grid: Grid, variant: Variant) -> dict[str, object]:
    """What all cells of a variant share: its settings, its data, and the versions of what plays them."""
    return {
        **settings(grid, variant.name),
        "classes": list(variant.project.dataset.classes),
        "data": variant.project.dataset.manifest.fingerprint,
        "stage 0 code": variant.code,
        "libraries": provenance.versions(),
    }


def _settle(grid: Grid, variant: Variant, paths: Paths, cells: Results) -> None:
    """Refuse to add to cells of another version; note the version; drop what was cut off."""
    arms = {grid.label(variant.name, arm): origin_of(grid, variant, arm) for arm in grid.arms(variant.name)}
    complete = {grid.label(variant.name, arm) for arm, _ in cells.cells}
    provenance.claim(paths.facts(variant.name), facts_of(grid, variant), arms, complete)
    _order(grid, variant.name, paths, cells)


def _order(grid: Grid, variant: str, paths: Paths, cells: Results) -> None:
    results.write(paths.csv(variant), cells, {cell: i for i, cell in enumerate(grid.cells(variant))})


def origin_of(grid: Grid, variant: Variant, arm: Arm) -> dict[str, object]:
    """The components of an arm, and the code they run."""
    recipe = grid.recipe(variant.name, (arm, grid.seeds[0]), variant.pool)
    task, setting = task_of(recipe), setting_of(recipe)
    pair = grid.pair(variant.name, arm)
    parts = [pair.cold_start, pair.query] if pair else [recipe.cold_start]
    roots = [module for part in parts for module in modules_of(part)]
    roots += [_module_of(task.objectives(setting)[0], recipe.train.name), *provenance.LOOP]
    roots += [type(part).__module__ for part in (task, setting.learner[1])]
    sections = {"strategy": parts, "objective": [recipe.train]}
    if recipe.learner != grid.variants[variant.name].learner:  # which is a fact of all other arms
        sections["learner"] = [recipe.learner]
    origin: dict[str, object] = {key: [c.model_dump(mode="json") for c in cs] for key, cs in sections.items()}
    if values := grid.tuned.get((variant.name, arm)):
        origin["tuned"] = dict(values)
    return {**origin, "code": provenance.code_digest(sorted(set(roots)))}


def modules_of(spec: Component) -> list[str]:
    """The modules of a strategy, and of all that it names: another strategy, batch makers, terms from outside."""
    if spec.name not in STRATEGIES and ":" not in spec.name:
        return [_module_of(STRATEGIES, spec.name)]
    strategy = component(STRATEGIES, "strategy", spec.name, spec.params)
    return [_module_of(STRATEGIES, spec.name), *_inner(strategy)]


def _inner(instance: object) -> Iterator[str]:
    """The modules of the components that a component names in its settings."""
    registries: tuple[tuple[str, Mapping[str, type[Any]]], ...] = (("strategy", STRATEGIES), ("batch", BATCHES))
    for key, registry in registries:
        if (spec := getattr(instance, key, None)) is not None:
            name, params = parse_spec(spec)
            yield _module_of(registry, name)
            yield from _inner(component(registry, key, name, params))
    yield from (term.partition(":")[0] for term in getattr(instance, "score", ()) if ":" in term)


def _module_of(registry: Mapping[str, type[Any]], name: str) -> str:
    if ":" in name:
        return name.partition(":")[0]
    return registry[name].__module__ if name in registry else "hybrid_al.bench.stratified"


def _missing_loops(
    grid: Grid,
    variants: list[Variant],
    stages: Mapping[tuple[str, int], Stage0],
    cells_of: Mapping[str, Results],
    paths: Paths,
) -> Iterator[Loop]:
    """The cells that no CSV has yet, seed by seed, so that all arms and variants grow together."""
    origins = {(v.name, arm): origin_of(grid, v, arm) for v in variants for arm in grid.arms(v.name)}
    for seed in grid.seeds:
        for variant in variants:
            for arm in grid.arms(variant.name):
                cell = (arm, seed)
                if cell in cells_of[variant.name].cells:
                    continue
                name = grid.label(variant.name, arm)
                who = [str(paths.out.resolve()), variant.name, name, seed, origins[variant.name, arm], variant.code]
                yield loop_of(grid, variant, cell, stages[variant.name, seed], paths, who)


def loop_of(grid: Grid, variant: Variant, cell: Cell, stage: Stage0, paths: Paths, who: list[object]) -> Loop:
    """The loop of a cell, in a folder named by `who` asks for it."""
    digest = hashlib.sha256(json.dumps(who, sort_keys=True).encode()).hexdigest()[:16]
    recipe, cheats = grid.recipe(variant.name, cell, variant.pool), grid.cheats(cell[0])
    return Loop(variant.name, cell, recipe, cheats, stage, paths.work / "loops" / digest, grid.bench.metrics)


def _promise(need: Need, cells: int, paths: Paths, time_limit: float | None, say: Say) -> None:
    """Say what the missing cells will take; refuse what the disk cannot hold."""
    paths.work.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(paths.work).free
    if need.disk > free:
        raise InputError(paths.work, f"{need.disk / 2**20:.0f} MiB free for the bench", f"{free / 2**20:.0f} MiB")
    if cells:
        say(f"{cells} cells to play: about {span(need.seconds)}, {need.disk / 2**20:.0f} MiB of disk")
    if time_limit is not None and need.seconds > time_limit:
        say(f"the time limit of {span(time_limit)} will end it before; the same command goes on from there")


def _play(
    loops: list[Loop], grid: Grid, paths: Paths, jobs: int, time_limit: float | None, say: Say, workers: list[Any]
) -> list[str]:
    """Play the loops, stage 0 before them; one line for each that failed."""
    began = time.monotonic()
    stages = {t.stage0.folder: t.stage0 for t in loops if not t.stage0.exists}
    in_time: Callable[[], bool] = lambda: time_limit is None or time.monotonic() - began < time_limit  # noqa: E731
    failures: list[str] = []
    for stage in run_all(work, list(stages.values()), jobs, go_on=in_time, workers=workers):
        where = f"stage 0 of {stage.task.variant}, encoder {stage.task.recipe.seed}"
        if stage.failure is not None:
            failures.append(f"  {where}: {stage.failure}")
        say(f"{where}: {stage.failure or 'done'}")
    broken = {t.folder for t in stages.values() if not t.exists}
    able = [t for t in loops if t.stage0.folder not in broken]
    for task in {(t.variant, t.stage0.recipe.seed): t for t in able}.values():
        provenance.claim_encoder(paths.facts(task.variant), task.stage0.recipe.seed, encoder_of(task.stage0.folder))
    count, start = 0, time.monotonic()
    for outcome in run_all(work, able, jobs, go_on=in_time, workers=workers):
        task, (arm, seed) = outcome.task, outcome.task.cell
        name = grid.label(task.variant, arm)
        count += 1
        if outcome.result is None:
            failures.append(f"  {task.variant}: {name}, seed {seed}: {outcome.failure}")
            say(failures[-1].strip())
            continue
        with discarding(task):
            results.append(paths.csv(task.variant), task.cell, outcome.result)
        seconds_left = (time.monotonic() - start) / count * (len(able) - count)
        value = [r.value for r in outcome.result if r.metric == grid.bench.metrics[0]]
        say(
            f"{task.variant}: {name}, seed {seed}: {value[-1] if value else float('nan'):.3f} "
            f"({count} of {len(able)}, about {span(seconds_left)} left)"
        )
    if not in_time():
        say(f"time limit: {len(loops) - count} cells are left; the same command goes on")
    return failures


def encoder_of(folder: Path) -> dict[str, object]:
    """What a stage 0 left: the digest of its encoder, and its probes."""
    embeddings = read_json(folder / "stage0" / "embeddings" / "plain.json")
    return {"digest": embeddings["encoder"], **read_json(sealed(folder / "stage0" / "probe.json"))}


def span(seconds: float) -> str:
    """A time to read: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
