"""Components by name: how a registry and the keys of a recipe become an object."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from ..errors import InputError, UnknownName

T = TypeVar("T")
Spec = Mapping[str, object] | str
"""A component as a recipe has it: `{name: typiclust, ...}`, or just `typiclust`."""


def named(spec: Spec) -> tuple[str, dict[str, object]]:
    """Name and parameters of a component."""
    settings: dict[str, object] = {"name": spec} if isinstance(spec, str) else dict(spec)
    return str(settings.pop("name", "")), settings


def component(registry: Mapping[str, type[T]], where: str, name: str, params: Mapping[str, object]) -> T:
    """Build `registry[name](**params)`, or `package.module:Class` from outside; unknown names and keys are errors."""
    kind = _outside(where, name) if ":" in name else registry.get(name)
    if kind is None:
        raise UnknownName(f"{where}.name", name, registry)
    known = [f.name for f in dataclasses.fields(cast(Any, kind)) if f.init]
    for key in params:
        if key not in known:
            raise UnknownName(f"{where} ({name})", key, known)
    try:
        return cast(T, TypeAdapter(kind).validate_python(dict(params)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(k) for k in first["loc"])
        raise InputError(f"{where}.{key}" if key else where, first["msg"], repr(first["input"])[:80]) from None


def _outside(where: str, name: str) -> type[Any]:
    module, _, attribute = name.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{where}.name", "an importable package.module:Class", f"{name} ({error})") from error
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise InputError(f"{where}.name", "a dataclass", name)
    return kind
