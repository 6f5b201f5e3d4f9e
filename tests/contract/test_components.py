"""All that a recipe chooses by name: built in one way, from outside too; what is wrong with it is one clear line."""

from __future__ import annotations

import configparser
import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from hybrid_al.core.registry import component
from hybrid_al.errors import InputError, UnknownName
from hybrid_al.learners import LEARNERS
from hybrid_al.query.batches import BATCHES
from hybrid_al.query.strategies import STRATEGIES
from hybrid_al.regions.fixed import PARTITIONS
from hybrid_al.regions.proposals import BOXES
from hybrid_al.scores.pixels import REDUCTIONS
from hybrid_al.semi import OBJECTIVES
from hybrid_al.semi.dense import DENSE_OBJECTIVES
from hybrid_al.train import Schedule
from pretrain import METHODS
from tests.fuzz.mutations import EDGES
from tests.helpers.outside import HERE

REGISTRIES: dict[str, Mapping[str, type[Any]]] = {
    "query": STRATEGIES,
    "query.batch": BATCHES,
    "task.reduction": REDUCTIONS,
    "task.region": {**PARTITIONS, **BOXES},
    "pretrain": METHODS,
    "train": {**OBJECTIVES, "schedule": Schedule},
    "train (segmentation)": DENSE_OBJECTIVES,
    "learner": LEARNERS,
}
OUTSIDE: dict[str, tuple[str, dict[str, object]]] = {
    "query": ("Strategy", {"start": 0.5}),
    "query.batch": ("BatchMaker", {"upward": True}),
    "task.reduction": ("Reduction", {}),
    "task.region": ("Corner", {"side": 3}),
    "pretrain": ("Method", {"epochs": 2}),
    "train": ("Objective", {}),
    "train (segmentation)": ("DenseObjective", {}),
    "learner": ("LearnerSettings", {"depth": 3}),
}
MEMBERS = [(where, name) for where, registry in REGISTRIES.items() for name in registry]
members = pytest.mark.parametrize(("where", "name"), MEMBERS)


def error_of(build: Callable[[], object], place: str) -> InputError:
    with pytest.raises(InputError) as caught:
        build()
    assert "\n" not in str(caught.value) and "pydantic" not in str(caught.value)
    assert caught.value.where.startswith(place), f"{caught.value.where}, not {place}"
    return caught.value


@members
def test_built_by_name_it_is_what_is_built_by_hand(where: str, name: str) -> None:
    kind: Any = REGISTRIES[where][name]
    instance = component(REGISTRIES[where], where, name, {})
    assert instance == kind() and type(instance) is kind
    assert kind.__dataclass_params__.frozen and dataclasses.replace(instance) == instance
    defaults = {f.name: getattr(instance, f.name) for f in dataclasses.fields(kind)}
    assert component(REGISTRIES[where], where, name, defaults) == instance


@members
def test_an_unknown_key_is_named_with_those_there_are(where: str, name: str) -> None:
    error = error_of(lambda: component(REGISTRIES[where], where, name, {"nokey": 1}), f"{where} ({name})")
    assert isinstance(error, UnknownName) and all(
        f.name in str(error) for f in dataclasses.fields(REGISTRIES[where][name])
    )


@members
def test_what_is_no_value_is_refused_by_hand_and_by_recipe(where: str, name: str) -> None:
    kind: Any = REGISTRIES[where][name]
    for field in dataclasses.fields(kind):
        for wrong in (math.nan, math.inf, -math.inf, "much", object()):
            error_of(partial(kind, **{field.name: wrong}), f"{kind.__name__}.{field.name}")
            error_of(partial(component, REGISTRIES[where], where, name, {field.name: wrong}), f"{where}.{field.name}")


@members
def test_a_number_out_of_its_range_is_refused_with_the_range(where: str, name: str) -> None:
    """Of every number: none may be negative, or so large that nothing could compute with it."""
    kind: Any = REGISTRIES[where][name]
    hints, instance = get_type_hints(kind), kind()
    for field in (f.name for f in dataclasses.fields(kind)):
        if not {int, float} & {hints[field], *_members(hints[field])}:
            assert isinstance(getattr(instance, field), bool) or not isinstance(getattr(instance, field), int | float)
            continue
        for wrong in (-1, 10**400):
            error = error_of(partial(kind, **{field: wrong}), f"{kind.__name__}.{field}")
            assert any(word in str(error) for word in ("or more", "above 0", "to", "at most"))
            error_of(partial(component, REGISTRIES[where], where, name, {field: wrong}), f"{where}.{field}")


def _members(hint: object) -> tuple[object, ...]:
    """What a union is of."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else ()


@pytest.mark.parametrize("where", REGISTRIES)
def test_each_takes_a_class_from_outside(where: str) -> None:
    name, settings = OUTSIDE[where]
    instance: Any = component(REGISTRIES[where], where, f"{HERE}:{name}", settings)
    assert type(instance).__name__ == name and settings.items() <= dataclasses.asdict(instance).items()


@pytest.mark.parametrize("where", REGISTRIES)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.at_all:Mine", "an importable package.module:name"),
        (f"{HERE}:Nothing", "an importable package.module:name"),
        (f"{HERE}:encoder", "a dataclass"),
        (":Mine", "an importable package.module:name"),
        ("nothing", "one of"),
        ("", "one of"),
    ],
)
def test_names_of_nothing_are_refused(where: str, name: str, words: str) -> None:
    assert words in str(error_of(lambda: component(REGISTRIES[where], where, name, {}), f"{where}.name"))


@pytest.mark.parametrize(
    "where", ["query", "query.batch", "task.reduction", "pretrain", "train (segmentation)", "learner"]
)
def test_a_class_from_outside_that_lacks_what_all_have_is_refused(where: str) -> None:
    error = error_of(lambda: component(REGISTRIES[where], where, f"{HERE}:Hollow", {}), f"{where}.name")
    assert "expected a class that has " in str(error)


@pytest.mark.parametrize("name", ["..:x", ".rel:x", ":x", "json:"])
def test_names_that_cannot_be_imported_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"expected an importable package.module:name"):
        component(REGISTRIES["query"], "query", name, {})


def test_the_import_rules_name_every_method_of_stage_0() -> None:
    """The modules beside them are shared, so the rule is a list."""
    rules = configparser.ConfigParser()
    rules.read(Path(__file__).parents[2] / "setup.cfg", encoding="utf-8")
    modules = rules["importlinter:contract:methods"]["modules"].split()
    assert sorted(modules) == sorted({kind.__module__ for kind in METHODS.values()})


@members
def test_each_edge_of_each_setting_is_one_line_or_a_component_of_finite_numbers(where: str, name: str) -> None:
    kind: Any = REGISTRIES[where][name]
    for field in dataclasses.fields(kind):
        for value in EDGES:
            try:
                instance = component(REGISTRIES[where], where, name, {field.name: value})
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) < 2000
                continue
            left = getattr(instance, field.name)
            assert not isinstance(left, float) or math.isfinite(left), (field.name, value)


def test_things_that_take_memory_or_a_pass_each_are_few() -> None:
    for where, name, field in (("train", "schedule", "members"), ("train", "schedule", "accumulate")):
        error = error_of(partial(component, REGISTRIES[where], where, name, {field: 10**9}), f"{where}.{field}")
        assert "of 1 to 1000" in str(error)
    error_of(partial(component, METHODS, "pretrain", "mae", {"depth": 10**9}), "pretrain.depth")
