"""The grid of a bench: which arms, which seeds, over which variants; every name checked before anything runs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..components import setting_of, task_of
from ..core.registry import component
from ..errors import InputError, UnknownName
from ..query.base import COLD
from ..query.strategies import STRATEGIES
from ..recipe import Arms, Bench, Component, Recipe, changed, load, load_variants
from ..train import Schedule
from .compared import LINEAR
from .results import CHEATING, FULL, OWN, Arm, Cell

SEED = re.compile(r"[0-9]{1,9}")
MOST_SEEDS = 1000
SCHEDULE_KEYS = frozenset(f.name for f in dataclasses.fields(Schedule))


@dataclass(frozen=True)
class Grid:
    """Strategies x objectives x seeds, over variants of a recipe.

    Seeds are paired: a seed means the same encoder, the same start (for the same cold start) and the same random
    numbers in every arm. `bench.full` adds one loop an objective and seed with the whole pool labeled.

    linear  the variants that have the baseline of random picks with the learner `linear`
    asked   the strategies that somebody asked for, by name; the others are added
    tuned   (variant, arm) -> the values of dotted keys that it has instead of the recipe's (`tuning.py`)
    """

    bench_recipe: Recipe
    variants: Mapping[str, Recipe]
    strategies: Mapping[str, Arms]
    objectives: tuple[str, ...]
    seeds: tuple[int, ...]
    linear: frozenset[str] = frozenset()
    asked: tuple[str, ...] = ()
    tuned: Mapping[tuple[str, Arm], Mapping[str, Any]] = field(default_factory=dict)

    @property
    def bench(self) -> Bench:
        """The section of the bench's own recipe, for what is not listed above."""
        return self.bench_recipe.bench

    def arms(self, variant: str) -> list[Arm]:
        """The arms of a variant, the linear baseline first, full supervision last."""
        learner = self.variants[variant].learner.name
        names = [*self.strategies, *([FULL] if self.bench.full else [])]
        linear = [LINEAR] if variant in self.linear else []
        return linear + [Arm(name, objective, learner) for objective in self.objectives for name in names]

    def pair(self, variant: str, arm: Arm) -> Arms | None:
        """Cold start and query of an arm; None for full supervision."""
        if arm.strategy == OWN and OWN not in self.asked:
            return own_pair(self.variants[variant])
        return self.strategies.get(arm.strategy)

    @property
    def added(self) -> str:
        """The arms that nobody asked for, in words, and what leaves them out."""
        own, keys = own_pair(self.bench_recipe), {CHEATING: "stratified", OWN: "recipe"}
        names = {name: keys.get(name, "") for name in self.strategies if name not in self.asked}
        names |= {"random / linear": "linear"} if self.linear else {}
        names |= {FULL: "full"} if self.bench.full else {}
        texts = {OWN: f"{OWN} = {own.cold_start.name}+{own.query.name}"}
        words = [texts.get(name, name) + f" (bench.{key})" * bool(key) for name, key in names.items()]
        return ", ".join(words)

    def label(self, variant: str, arm: Arm) -> str:
        """An arm among those of a variant, whose learner goes without saying."""
        return str(arm) if arm.learner == self.variants[variant].learner.name else f"{arm} / {arm.learner}"

    def cells(self, variant: str) -> list[Cell]:
        """All loops of a variant, seed by seed, so that finished cells can be compared at any time."""
        return [(arm, seed) for seed in self.seeds for arm in self.arms(variant)]

    def recipe(self, variant: str, cell: Cell, pool: int) -> Recipe:
        """The recipe of one loop; where a strategy reads the truth, `random` stands in its place (see `cheats`)."""
        arm, seed = cell
        base = changed(self.variants[variant], self.tuned.get((variant, arm), {}), f"bench: {variant}: {arm}: tuned")
        pair = self.pair(variant, arm) or Arms()
        start, query = (random_for_cheating(c) for c in (pair.cold_start, pair.query))
        budgets = (pool,) if arm.strategy == FULL else base.loop.budgets
        task = base.task
        if arm.strategy == FULL:  # of whole samples
            task = Component(name=task.name, **{k: v for k, v in task.params.items() if k != "region"})
        train = training(base.train, arm.objective)
        if variant in self.linear and arm == LINEAR:  # the same for whatever it is the baseline of
            train = Component(name=train.name, **{k: v for k, v in train.params.items() if k == "balanced"})
        return base.model_copy(
            update={
                "seed": seed,
                "task": task,
                "cold_start": start,
                "query": query,
                "learner": base.learner if arm.learner == base.learner.name else Component(name=arm.learner),
                "train": train,
                "loop": base.loop.model_copy(update={"budgets": budgets}),
            }
        )

    def cheats(self, arm: Arm) -> tuple[bool, bool]:
        """Whether the cold start and the query of an arm read the truth."""
        pair = self.strategies.get(arm.strategy, Arms())
        return pair.cold_start.name == CHEATING, pair.query.name == CHEATING

    def encoder(self, variant: str, seed: int) -> int:
        """The seed of the stage 0 of a loop: within each hundred of seeds, `bench.encoders` of them in turn.

        Weights that nothing trains further are the same for every seed.
        """
        recipe = self.variants[variant]
        if recipe.pretrain.name == "none" and recipe.encoder.weights is not None:
            return 0
        return seed - seed % 100 + seed % min(self.bench.encoders, 100)


def load_grid(
    file: Path | str,
    overrides: Sequence[str] = (),
    *,
    strategies: Sequence[str] = (),
    objectives: Sequence[str] = (),
    seeds: str | None = None,
) -> Grid:
    """The grid of a recipe's `bench` section; the arguments replace its lists."""
    recipe = load(file, overrides)
    bench = recipe.bench
    own_pairs = bench.strategies if isinstance(bench.strategies, Mapping) else dict.fromkeys(bench.strategies)
    names = objectives or bench.objectives or (recipe.train.name,)
    _once("objectives", names)
    registry, _ = task_of(recipe).objectives(setting_of(recipe))
    for name in names:
        if name not in registry and ":" not in name:
            raise UnknownName("bench: objectives", name, registry)
    variants = load_variants(file, overrides)
    for label, variant in variants.items():
        if variant.task.name != recipe.task.name:
            raise InputError(f"bench: variant {label}: task", recipe.task.name, variant.task.name)
    for label, changes in bench.variants.items():
        if changes.keys() & {"train", "train.name"} and (name := variants[label].train.name) not in names:
            raise InputError(f"bench: variant {label}: train", f"an objective of the grid ({', '.join(names)})", name)
    asked = tuple(strategies or own_pairs)
    arms = pairs(asked, own_pairs, baselines(recipe))
    if bench.recipe and OWN not in arms and any(own_pair(v) not in arms.values() for v in variants.values()):
        arms[OWN] = own_pair(recipe)
    cheating = [label for label, pair in arms.items() if CHEATING in (pair.cold_start.name, pair.query.name)]
    if cheating and not task_of(recipe).strata:
        expected = f"no {CHEATING}, as samples of this task have no one class"
        raise InputError("bench: strategies", expected, cheating[0])
    return Grid(
        bench_recipe=_of_target(recipe, variants.values()),
        variants=variants,
        strategies=arms,
        asked=asked,
        objectives=tuple(names),
        seeds=parse_seeds(seeds if seeds is not None else bench.seeds),
        linear=frozenset(name for name, variant in variants.items() if bench.linear and takes_linear(variant)),
    )


def _of_target(recipe: Recipe, variants: Iterable[Recipe]) -> Recipe:
    """The recipe, whose usual metrics are first those of the target where every variant has one."""
    bench = recipe.bench
    if "metrics" in bench.model_fields_set or not all(variant.domains.source for variant in variants):
        return recipe
    metrics = (*(f"target/{metric}" for metric in bench.metrics), *bench.metrics)
    return recipe.model_copy(update={"bench": bench.model_copy(update={"metrics": metrics})})


def own_pair(recipe: Recipe) -> Arms:
    """The recipe's own cold start and query."""
    return Arms(cold_start=recipe.cold_start, query=recipe.query)


def baselines(recipe: Recipe) -> tuple[str, ...]:
    """The strategies that every bench of the recipe has."""
    task = task_of(recipe)
    return (*task.baselines, CHEATING) if recipe.bench.stratified and task.strata else task.baselines


def takes_linear(recipe: Recipe) -> bool:
    """Whether a recipe can have the linear baseline: its task takes that learner, and it has another one itself."""
    if recipe.learner.name == LINEAR.learner:
        return False
    random = Component(name=LINEAR.strategy)
    parts = {"learner": LINEAR.learner, "train": LINEAR.objective}
    sections = {key: Component(name=name) for key, name in parts.items()}
    changed = recipe.model_copy(update={**sections, "cold_start": random, "query": random})
    setting = setting_of(changed)
    try:
        task_of(changed).check(setting)
    except InputError:
        return False
    return True


def pairs(strategies: Sequence[str], own_pairs: Mapping[str, Arms | None], baselines: Sequence[str]) -> dict[str, Arms]:
    """Label -> (cold start, query), the baselines first; the same pair under two labels is an error."""
    _once("strategies", strategies)
    labels = dict.fromkeys([*baselines, *strategies])
    arms = {label: own_pairs.get(label) or parse_pair(label, own_pairs) for label in labels}
    for i, (label, pair) in enumerate(arms.items()):
        if label == FULL:
            raise InputError("bench: strategies", f"another name than {FULL}, which is full supervision", label)
        for twin in list(arms)[:i]:
            if arms[twin] == pair:
                raise InputError("bench: strategies", "each strategy once", f"{twin} and {label}, which are the same")
    return arms


def parse_pair(text: str, own_names: Mapping[str, object] = {}) -> Arms:
    """`A+B`: cold start A, then queries by B. `A` alone starts and queries where it can; else a random start."""
    parts = text.split("+")
    if len(parts) > 2:
        raise InputError("bench: strategies", "A or A+B", text)
    for part in parts:
        if part not in STRATEGIES and part != CHEATING and ":" not in part:
            raise UnknownName("bench: strategies", part, {*STRATEGIES, CHEATING, *own_names} - {text})
    if len(parts) == 2:
        return Arms(cold_start=Component(name=parts[0]), query=Component(name=parts[1]))
    alone = Component(name=text)
    return Arms(cold_start=alone if starts_cold(alone) else Component(name="random"), query=alone)


def starts_cold(spec: Component) -> bool:
    """Whether a strategy can pick before a model exists."""
    if spec.name == CHEATING:
        return True
    return component(STRATEGIES, "bench: strategies", spec.name, spec.params).needs <= COLD


def random_for_cheating(spec: Component) -> Component:
    """The strategy that a recipe can name in the place of one that reads the truth."""
    return Component(name="random") if spec.name == CHEATING else spec


def training(section: Component, objective: str) -> Component:
    """The recipe's `train` section for an objective: its schedule stays, its other keys only for their objective."""
    if section.name == objective:
        return section
    return Component(name=objective, **{k: v for k, v in section.params.items() if k in SCHEDULE_KEYS})


def parse_seeds(spec: int | str) -> tuple[int, ...]:
    """A number of seeds (from 0), or seeds and ranges: `60-79,100`; at most `MOST_SEEDS`."""
    if SEED.fullmatch(str(spec)):
        if not 1 <= int(spec) <= MOST_SEEDS:
            raise InputError("bench: seeds", f"1 to {MOST_SEEDS}", str(spec))
        return tuple(range(int(spec)))
    seeds: list[int] = []
    for part in str(spec).split(","):
        first, dash, last = part.strip().partition("-")
        if not SEED.fullmatch(first) or (dash and not SEED.fullmatch(last)) or (dash and int(last) < int(first)):
            raise InputError("bench: seeds", "a number of seeds, or seeds and ranges as in 60-79,100", str(spec))
        if len(seeds) + int(last or first) - int(first) >= MOST_SEEDS:
            raise InputError("bench: seeds", f"at most {MOST_SEEDS}", str(spec))
        seeds += range(int(first), int(last or first) + 1)
    _once("seeds", seeds)
    return tuple(seeds)


def _once(name: str, values: Iterable[object]) -> None:
    uniques: set[object] = set()
    for value in values:
        if value in uniques:
            raise InputError(f"bench: {name}", "each once", f"{value} twice")
        uniques.add(value)
