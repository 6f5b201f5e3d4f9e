"""What pydantic says of a recipe, as one line of ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from ..core.registry import in_words, item_hint
from ..errors import InputError, UnknownName
from .sections import Recipe


def first_error(error: ValidationError, where: object) -> InputError:
    """The first error, with its key, and the nearest key where it is unknown."""
    first = error.errors(include_url=False)[0]
    keys, came = [str(k) for k in first["loc"] if "[" not in str(k)], first["input"]  # without the members of a union
    if first["type"] == "extra_forbidden":
        keys = [str(k) for k in first["loc"][:-1] if "[" not in str(k)] + [str(first["loc"][-1])]
        section = next(_members(_walk(keys[:-1])[1]))
        names = section.model_fields if isinstance(section, type) and issubclass(section, BaseModel) else ()
        return UnknownName(f"{where}: {'.'.join(keys[:-1]) or 'top level'}", keys[-1], names)
    depth, hint = _walk(keys)
    place, words = f"{where}: {'.'.join(keys[:depth])}".removesuffix(": "), in_words(hint)
    if first["type"] == "missing":
        return InputError(place, words, "nothing")
    if first["type"] == "value_error":
        words = first["msg"].removeprefix("Value error, ")
    elif first["type"] == "string_pattern_mismatch":
        words = "letters, digits, '.', '_' and '-', the first of them a letter or digit"
    elif first["type"] == "too_short":
        words += ", one at least"
    elif words == "text" and isinstance(came, int | float):
        words += " (in quotes)"
    return InputError(place, words, repr(came)[:80])


def _walk(keys: Sequence[str]) -> tuple[int, object]:
    """How many of the keys name fields or items of a recipe, and the type that is expected there."""
    hint: object = Recipe
    for depth, key in enumerate(keys):
        inner = next((inner for member in _members(hint) if (inner := _inner(member, key)) is not None), None)
        if inner is None:
            return depth, hint
        hint = inner
    return len(keys), hint


def _members(hint: object) -> Iterator[object]:
    """A type without its notes, or the members of a union."""
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    yield from get_args(bare) if get_origin(bare) in (Union, UnionType) else (bare,)


def _inner(hint: object, key: str) -> object | None:
    """The type of a field or an item."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return get_type_hints(hint, include_extras=True).get(key)
    return item_hint(hint)
