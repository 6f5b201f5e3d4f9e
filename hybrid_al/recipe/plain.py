"""YAML of unknown origin, within limits: how long, how deep and how often repeated by aliases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from ..errors import InputError, reading

MOST_TEXT, MOST_NODES, DEEPEST, LONGEST = 1 << 20, 100_000, 40, 4096
"""Characters of a YAML text, its values once aliases are written out, its depth, and characters of one value."""


class _Loader(yaml.SafeLoader):
    """Reads `1e-5` as the number that YAML 1.2 and Python say it is; YAML 1.1 wants a point in it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(where: str, text: str) -> Any:
    """The values of a YAML text; one line on what is no YAML or goes beyond the limits."""
    if len(text) > MOST_TEXT:
        raise InputError(where, f"YAML of at most {MOST_TEXT} characters", str(len(text)))
    try:
        with reading(where, "YAML"):
            loader = _Loader(text)
            try:
                node = loader.get_single_node()
                _count(where, node, {}, 1)
                return None if node is None else loader.construct_document(node)
            finally:
                loader.dispose()
    except InputError as error:
        error.came = error.came.partition(": ")[2] if isinstance(error.__cause__, yaml.YAMLError) else error.came
        raise InputError(error.where, error.expected, error.came) from None


def _count(where: str, node: yaml.Node | None, counts: dict[int, int], depth: int) -> int:
    """How many values a node stands for; InputError beyond the limits, also for one that holds itself."""
    if node is None:
        return 0
    if depth > DEEPEST:
        raise InputError(where, f"YAML of at most {DEEPEST} levels", "more, or an alias within itself")
    if id(node) not in counts:
        count = 1
        if isinstance(node, yaml.SequenceNode):
            count += sum(_count(where, inner, counts, depth + 1) for inner in node.value)
        elif isinstance(node, yaml.MappingNode):
            count += sum(_count(where, inner, counts, depth + 1) for pair in node.value for inner in pair)
        counts[id(node)] = count
    if counts[id(node)] > MOST_NODES:
        raise InputError(where, f"YAML of at most {MOST_NODES} values", "more, by aliases of aliases")
    return counts[id(node)]


def check_texts(where: object, value: object, key: str = "") -> None:
    """Refuse texts that no file or name can have: with a zero byte, or longer than `LONGEST`."""
    if isinstance(value, dict):
        for name, inner in value.items():
            check_texts(where, inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            check_texts(where, inner, key)
    elif isinstance(value, str) and ("\0" in value or len(value) > LONGEST):
        came = "one with a zero byte" if "\0" in value else f"one of {len(value)}"
        raise InputError(f"{where}: {key}", f"a text of at most {LONGEST} characters", came)


PLACES = ("root", "images", "masks", "weights", "costs", "classes", "labels", "columns")
"""Keys whose texts name no code."""


def outside(plain: object) -> list[str]:
    """The components `package.module:name` from outside that a recipe names, whose code runs; each once, sorted."""
    return sorted({text for text in _texts(plain) if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text)})


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from map(str, value)
        for key, inner in value.items():
            if key not in PLACES:
                yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value
