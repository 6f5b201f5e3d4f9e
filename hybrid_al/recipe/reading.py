"""A recipe from its file or mapping, with overrides and the variants of a bench."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import InputError
from .files import mapping_of
from .messages import first_error
from .plain import check_texts, read_yaml
from .sections import NAME, Recipe


def load(recipe: Path | str | Mapping[str, object], overrides: Sequence[str] | Mapping[str, object] = ()) -> Recipe:
    """Read a recipe: a YAML file, the name of a shipped one, a run directory (its last call), or a mapping.

    Overrides are texts `key.path=value`, parsed as YAML, or a mapping of key.path to value.
    """
    where, plain = mapping_of(recipe) if isinstance(recipe, Path | str) else ("recipe", copy.deepcopy(dict(recipe)))
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            _set(plain, f"override {key}", key, value)
        return parse(plain, where)
    for override in overrides:
        _override(plain, override)
    return parse(plain, where)


def load_variants(file: Path | str, overrides: Sequence[str] = ()) -> dict[str, Recipe]:
    """The recipes of a bench by the name of their variant; one of the recipe's own name where it lists none.

    A variant starts from the recipe that it names, or from this one; the keys of this one replace those of the
    other as a whole, the variant's own keys come next, the overrides last.
    """
    recipe = load(file, overrides)
    where, plain = mapping_of(file)
    recipes = {}
    for name, changes in (recipe.bench.variants or {recipe.name: {}}).items():
        place = f"{where}: bench.variants.{name}"
        if not re.fullmatch(NAME, name):
            raise InputError(place, f"a name like {NAME}", repr(name))
        base = mapping_of(str(changes["recipe"]))[1] if "recipe" in changes else {}
        merged = copy.deepcopy({**base, **{key: _named(key, base.get(key), value) for key, value in plain.items()}})
        for key, value in changes.items():
            if key != "recipe":
                _set(merged, place, key, value)
        for override in overrides:
            _override(merged, override)
        recipes[name] = parse(merged, place)
    return recipes


def parse(plain: Mapping[str, Any], where: object = "recipe") -> Recipe:
    """Validate plain values; the first error is reported with its key, and the nearest key where it is unknown."""
    check_texts(where, plain)
    try:
        return Recipe.model_validate(plain)
    except ValidationError as error:
        raise first_error(error, where) from None


def changed(recipe: Recipe, changes: Mapping[str, Any], where: object) -> Recipe:
    """The recipe with other values of dotted keys."""
    if not changes:
        return recipe
    plain = recipe.plain()
    for key, value in changes.items():
        _set(plain, str(where), key, value)
    return parse(plain, where)


def _override(plain: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    if not equals or not path:
        raise InputError(f"override {override!r}", "key.path=value", "no key or no =")
    where = f"override {override!r}"
    _set(plain, where, path, read_yaml(where, value))


def _set(plain: dict[str, Any], where: str, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        below = plain.setdefault(key, {})
        if isinstance(below, str):  # `query: entropy` is short for {name: entropy}
            below = plain[key] = {"name": below}
        if not isinstance(below, dict):
            raise InputError(where, f"keys below {key}", repr(below))
        plain = below
    plain[last] = value if parents else _named(last, plain.get(last), value)


def _named(key: str, before: object, value: Any) -> Any:
    """A value of a key of a recipe; settings without a name are of the component that stood there."""
    name = before.get("name") if isinstance(before, Mapping) else before
    return {"name": name, **value} if name and isinstance(value, Mapping) and key in Recipe.default_names() else value
