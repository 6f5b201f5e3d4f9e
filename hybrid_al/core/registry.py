"""Components by name: how a registry and the keys of a recipe become an object, and the ranges of its settings."""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..errors import InputError, UnknownName

T = TypeVar("T")
Spec = Mapping[str, object] | str
"""A component as a recipe has it: `{name: typiclust, ...}`, or just `typiclust`."""


def parse_spec(spec: Spec) -> tuple[str, dict[str, object]]:
    """Name and parameters of a component."""
    settings: dict[str, object] = {"name": spec} if isinstance(spec, str) else dict(spec)
    return str(settings.pop("name", "")), settings


LARGEST = 1_000_000_000  # more than any pool, batch or training has of anything
Count = Annotated[int, Field(ge=1, le=LARGEST)]
"""A whole number of 1 or more."""
Whole = Annotated[int, Field(ge=0, le=LARGEST)]
"""A whole number of 0 or more."""
Positive = Annotated[float, Field(gt=0, le=LARGEST)]
"""A number above 0."""
Amount = Annotated[float, Field(ge=0, le=LARGEST)]
"""A number of 0 or more."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A number of 0 to 1."""
Decay = Annotated[float, Field(ge=0, lt=1)]
"""A number of 0 or more and below 1: a share that stays at each step, or that is left out."""
Part = Annotated[float, Field(gt=0, le=1)]
"""A number above 0 and up to 1."""
Few = Annotated[int, Field(ge=1, le=1000)]
"""A whole number of 1 to 1000: of things each of which takes memory or a pass of its own."""
Passes = Annotated[int, Field(ge=2, le=1000)]
"""A whole number of 2 to 1000: of passes, views or folds that are compared with each other."""
Several = Annotated[int, Field(ge=2, le=LARGEST)]
"""A whole number of 2 or more: of things that are compared with each other."""
Width = Annotated[float, Field(ge=1e-6, le=1e6)]
"""The width of a kernel, whose square divides squared distances."""

STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


def member(registry: Mapping[str, T], where: str, name: str) -> T:
    """`registry[name]`, or the object `package.module:name` from outside; an unknown name is an error."""
    if ":" in name:
        return cast(T, _import_object(where, name))
    if name not in registry:
        raise UnknownName(where, name, registry)
    return registry[name]


def component(
    registry: Mapping[str, type[T]], where: str, name: str, params: Mapping[str, object], *, key: str = ".name"
) -> T:
    """Build `registry[name](**params)`, or `package.module:Class` from outside; unknown names and keys are errors.

    An InputError of the class itself, which names the class, names `where` in its place. `key`: what errors about the
    name add to `where`.
    """
    kind: object = member(registry, where + key, name)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise InputError(where + key, "a dataclass", name)
    if lacking := sorted(_shared(tuple(registry.values())) - set(dir(kind))):
        raise InputError(where + key, f"a class that has {', '.join(lacking)}, as those of the registry", name)
    fields = [f.name for f in dataclasses.fields(kind) if f.init]
    for param in params:
        if param not in fields:
            raise UnknownName(f"{where} ({name})", str(param), fields)
    try:
        return cast(T, _adapter(cast(Any, kind)).validate_python(dict(params)))
    except ValidationError as error:
        raise _refusal(where, _hints(cast(Any, kind)), error) from None
    except InputError as error:
        class_name, dot, field_name = error.where.partition(".")
        raise (error.at(f"{where}.{field_name}") if dot and class_name == kind.__name__ else error) from None


def from_spec(registry: Mapping[str, type[T]], where: str, spec: Spec) -> T:
    """The component of a name, or of `{name: kmeans, shortlist: 5}`."""
    return component(registry, where, *parse_spec(spec))


def hyperparameters(kind: type[T]) -> type[T]:
    """Decorator under `@dataclass(frozen=True)`: every new instance has its fields checked against their annotations.

    So a component built in Python meets the same errors as one from a recipe. Nothing is converted: `5.0` and `"5"` are
    no whole numbers. InputError: the first field of another type or out of its range; nan and infinity always are.
    A `__post_init__` of the class runs after that, for rules between fields.
    """
    post_init: Callable[[T], None] | None = getattr(kind, "__post_init__", None)
    if "__dataclass_fields__" in kind.__dict__:
        raise TypeError(f"{kind.__name__}: @hyperparameters goes under @dataclass")

    def __post_init__(self: T) -> None:
        _check(self)
        if post_init is not None:
            post_init(self)

    setattr(kind, "__post_init__", __post_init__)  # noqa: B010 (a type in general has none)
    return kind


def _check(instance: object) -> None:
    kind: Any = type(instance)
    for name, adapter in _adapters(kind).items():
        try:
            adapter.validate_python(getattr(instance, name), strict=True)
        except ValidationError as error:
            raise _refusal(kind.__name__, _hints(kind), error, name) from None


@cache
def _shared(kinds: tuple[type, ...]) -> frozenset[str]:
    """The methods and properties that all classes of a registry have, and so one from outside must; no settings."""
    if not kinds:
        return frozenset()
    names = frozenset.intersection(
        *(frozenset(n for n in dir(kind) if n == "__call__" or n[0] != "_") for kind in kinds)
    )
    settings = {field.name for kind in kinds for field in dataclasses.fields(cast(Any, kind))}
    return names - settings - {"about"}


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return dict(get_type_hints(kind, include_extras=True))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _adapters(kind: Any) -> dict[str, TypeAdapter[Any]]:
    hints = {f.name: _hints(kind)[f.name] for f in dataclasses.fields(kind)}
    # a dataclass has its own rules, which pydantic lets no one change
    return {k: TypeAdapter(v, config=None if dataclasses.is_dataclass(v) else STRICT) for k, v in hints.items()}


def _import_object(where: str, name: str) -> object:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise InputError(where, "an importable package.module:name", f"{name} ({error})") from error


def _refusal(where: str, hints: Mapping[str, object], error: ValidationError, *prefix: str) -> InputError:
    """The first error of pydantic as an InputError of one line."""
    first = error.errors(include_url=False)[0]
    path, came = (*prefix, *first["loc"]), "nothing" if first["type"] == "missing" else repr(first["input"])[:80]
    if not path:
        return InputError(where, "a mapping of keys", came)
    hint, depth = hints[str(path[0])], 1
    while depth < len(path) and (inner := item_hint(hint)) is not None:
        hint, depth = inner, depth + 1
    place = ".".join([where, *map(str, path[:depth])])
    if get_origin(hint) is Literal:
        return UnknownName(place, str(first["input"]), map(str, get_args(hint)))
    expected = in_words(hint)
    if first["type"] in ("value_error", "assertion_error"):
        expected = first["msg"].partition(", ")[2]
    if isinstance(first["input"], float) and not math.isfinite(first["input"]):
        expected = expected.replace("a number", "a finite number")
    elif first["type"] == "less_than_equal" and first["ctx"]["le"] == LARGEST:
        expected = f"at most {LARGEST}"
    return InputError(place, expected, came)


def item_hint(hint: object) -> object | None:
    """Type hint of the items of a mapping or a sequence; None for other types."""
    origin, args = get_origin(hint), get_args(hint)
    is_container = isinstance(origin, type) and issubclass(origin, Mapping | Sequence)
    return (args[0] if args[-1] is ... else args[-1]) if is_container and args else None


def in_words(hint: object) -> str:
    """A type and its range in words: "a whole number of 1 or more"."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return " ".join(filter(None, (in_words(args[0]), _range(args[1:]))))
    if origin is Union or origin is UnionType:
        return " or ".join(map(in_words, args))
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return f"a list of {', '.join(in_words(a) for a in args if a is not ...)}"
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        named = "name" in hint.model_fields and hint.model_config.get("extra") == "allow"
        return "a name, or a mapping with a name" if named else "a mapping of keys"
    names: dict[Any, str] = {
        Mapping: "a mapping of keys",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        NoneType: "null",
    }
    names |= {Path: "a path", dict: "a mapping of keys", list: "a list"}
    return names.get(origin or hint) or f"a {getattr(hint, '__name__', hint)}"


def _range(notes: Sequence[object]) -> str:
    bounds = {
        name: value
        for note in notes
        for bound in getattr(note, "metadata", [note])
        for name in ("ge", "gt", "le", "lt")
        if (value := getattr(bound, name, None)) is not None and value != LARGEST
    }
    if "ge" in bounds and "le" in bounds:
        return f"of {bounds['ge']} to {bounds['le']}"
    words = {"ge": "of {} or more", "gt": "above {}", "le": "up to {}", "lt": "below {}"}
    return " and ".join(words[name].format(value) for name, value in bounds.items())
