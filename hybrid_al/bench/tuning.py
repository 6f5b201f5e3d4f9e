"""The same tuning for every arm of a bench, on other seeds and by val, before the arms are compared."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..components import setting_of, training
from ..errors import InputError
from ..metrics.domains import parted
from ..recipe import changed
from . import results, runner
from .grid import SCHEDULE_KEYS, Grid, parse_seeds
from .results import Arm
from .runner import Paths, Say
from .tables import Table
from .text import plural
from .verdict import lower_is_better

PLACES = ("train.", "learner.", "views.strong")  # what a strategy is, and stage 0, are no matter of tuning
FIRST_SEED = 100  # those below are of comparisons


def trials(grid: Grid) -> Grid | None:
    """The grid of the tuning: for each variant, one for each combination of values; None without any.

    Munjal et al., Towards Robust and Reproducible Active Learning using Neural Networks (CVPR 2022), section 4: many
    reported gains over random vanish where all arms are regularised and tuned alike. The linear baseline, which has a
    training of its own, takes no part.
    """
    tune = grid.bench.tune
    if not tune.keys:
        return None
    for key in tune.keys:
        place, _, name = key.partition(".")
        if not key.startswith(PLACES) or (place == "train" and name not in SCHEDULE_KEYS):
            expected = "keys of learner or views.strong, or of the schedule in train, which all objectives share"
            raise InputError("bench.tune.keys", expected, key)
    seeds = parse_seeds(tune.seeds)
    if str(tune.seeds).isdigit():
        seeds = tuple(FIRST_SEED + seed for seed in seeds)
    if both := sorted(set(seeds) & set(grid.seeds)):
        raise InputError("bench.tune.seeds", "other seeds than those that are compared", str(both[0]))
    deciding, plain = grid.bench.metrics[0], parted(grid.bench.metrics[0])[1]
    metric = tune.metric or "/".join([deciding.removesuffix(plain) + "val", *plain.split("/")[1:]])
    if parted(metric)[1].startswith("test/"):
        raise InputError("bench.tune.metric", "a metric of val", metric)
    variants = {
        _name(variant, i): changed(recipe, values, f"bench.tune.keys: {values}")
        for variant, recipe in grid.variants.items()
        for i, values in enumerate(_settings(grid))
    }
    bench = grid.bench.model_copy(update={"metrics": (metric,)})
    recipe = grid.bench_recipe.model_copy(update={"bench": bench})
    return replace(grid, bench_recipe=recipe, variants=variants, seeds=seeds, linear=frozenset())


def tuned(grid: Grid, paths: Paths, *, jobs: int, device: str, time_limit: float | None, say: Say) -> Grid | None:
    """The grid, each arm with the values of its best trial; the same grid where nothing is tuned.

    Plays what is missing of the trials, into `tuning` beside the results; None where the time was too short for all.
    """
    grid_of_trials = trials(grid)
    if grid_of_trials is None:
        return grid
    folder, settings, metric = Paths(paths.out / "tuning", paths.work), _settings(grid), grid_of_trials.bench.metrics[0]
    if _areas(grid, grid_of_trials, folder) is None:
        runner.open_variants(grid, paths, device)
        say(f"tuning: {plural(len(settings), 'setting')} of every arm, by {metric}")
    runner.run(grid_of_trials, folder, jobs=jobs, device=device, time_limit=time_limit, say=say)
    areas = _areas(grid, grid_of_trials, folder)
    if areas is None:
        say("tuning is not done, so no arm is compared yet; the same command goes on")
        return None
    sign = -1 if lower_is_better(metric) else 1
    best = {key: int(np.argmax([sign * area for area in values])) for key, values in areas.items()}
    return replace(grid, tuned={key: settings[i] for key, i in best.items()})


def tuning_table(grid: Grid, paths: Paths) -> Table | None:
    """What each arm chose, and the highest and the lowest area of its trials; None where nothing is tuned."""
    grid_of_trials = trials(grid)
    areas = grid_of_trials and _areas(grid, grid_of_trials, Paths(paths.out / "tuning", paths.work))
    if grid_of_trials is None or not areas:
        return None
    tune, metric = grid.bench.tune, grid_of_trials.bench.metrics[0]
    keys = ", ".join(f"{key} of {', '.join(str(v) for v in values)}" for key, values in tune.keys.items())
    note = (
        f"Every arm but the linear baseline chose among the same {len(_settings(grid))} settings ({keys}) by the mean "
        f"AUBC of {metric} over {plural(len(grid_of_trials.seeds), 'other seed')}. What is not tuned is the same for "
        f"all of them, views and seeds too: {'; '.join(_regularisation(grid, name) for name in grid.variants)}."
    )
    rows = [
        (
            variant,
            grid.label(variant, arm),
            ", ".join(f"{key}={value}" for key, value in values.items()),
            f"{max(areas[variant, arm]):.3f}",
            f"{min(areas[variant, arm]):.3f}",
        )
        for (variant, arm), values in grid.tuned.items()
    ]
    return Table("Tuning", note, ("variant", "arm", "chosen", "highest AUBC", "lowest AUBC"), tuple(rows))


def _regularisation(grid: Grid, name: str) -> str:
    """What keeps all arms of a variant from fitting their few labels too well, in words."""
    _, schedule = training(grid.variants[name])
    learner = setting_of(grid.variants[name]).learner[1]
    values = {
        "learner.dropout": ("a dropout of", getattr(learner, "dropout", None)),
        "train.weight_decay": ("a weight decay of", schedule.weight_decay),
        "train.ema_decay": ("a mean of weights that keeps", schedule.ema_decay),
    }
    words = [f"{text} {v:g}" for key, (text, v) in values.items() if v is not None and key not in grid.bench.tune.keys]
    return f"in {name} {', '.join(words) or 'all of the regularisation is tuned'}"


def _settings(grid: Grid) -> list[dict[str, Any]]:
    keys = grid.bench.tune.keys
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*keys.values())]


def _name(variant: str, i: int) -> str:
    return f"{variant}-{i}"


def _arms(grid: Grid) -> Iterator[tuple[str, Arm]]:
    """The arms that are tuned."""
    for variant in grid.variants:
        yield from ((variant, arm) for arm in replace(grid, linear=frozenset()).arms(variant))


def _areas(grid: Grid, grid_of_trials: Grid, paths: Paths) -> Mapping[tuple[str, Arm], list[float]] | None:
    """Mean AUBC of each arm by setting; of one round, its metric. None where a trial is missing."""
    cells = {name: results.read(paths.csv(name)) for name in grid_of_trials.variants}
    if any(cell not in cells[name].cells for name in cells for cell in grid_of_trials.cells(name)):
        return None
    metric, count = grid_of_trials.bench.metrics[0], len(_settings(grid))

    def area(variant: str, i: int, arm: Arm) -> float:
        curves = cells[_name(variant, i)].curves(metric, [arm])
        one_round = len(curves.labels) == 1
        return float((curves.of(arm)[:, 0] if one_round else curves.areas()[0]).mean())

    return {(variant, arm): [area(variant, i, arm) for i in range(count)] for variant, arm in _arms(grid)}
