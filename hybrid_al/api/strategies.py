"""A strategy as a caller names it: by its name, with its parameters, or as an object of their own."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.registry import component
from ..core.types import Need
from ..errors import InputError
from ..query.base import QueryStrategy
from ..query.strategies import STRATEGIES

StrategyLike = str | Mapping[str, object] | QueryStrategy
"""A name of the registry or `package.module:Class`; `{"name": ..., parameter: value}` as in a recipe; or an object."""


def strategy_of(where: str, choice: StrategyLike) -> tuple[str, QueryStrategy]:
    """Name and strategy; `where` is the argument that an error names.

    Errors: an unknown name or parameter (the nearest is named), a mapping without a name, an object that selects
    nothing.
    """
    if isinstance(choice, str):
        return choice, _check(where, component(STRATEGIES, where, choice, {}))
    if isinstance(choice, Mapping):
        name = choice.get("name")
        if not isinstance(name, str):
            raise InputError(f"{where}.name", "the name of a strategy", repr(name))
        params = {key: value for key, value in choice.items() if key != "name"}
        return name, _check(where, component(STRATEGIES, where, name, params))
    return type(choice).__name__, _check(where, choice)


def strategy_within(where: str, choice: StrategyLike, feeds: frozenset[Need]) -> tuple[str, QueryStrategy]:
    """`strategy_of`, refused where the strategy needs more than `feeds`."""
    name, strategy = strategy_of(where, choice)
    for need in sorted(strategy.needs - feeds):
        raise InputError(
            where, f"a strategy that needs {', '.join(sorted(feeds))} at most", f"{name}, that needs {need}"
        )
    return name, strategy


def _check(where: str, strategy: QueryStrategy) -> QueryStrategy:
    for attribute in ("needs", "select"):
        if not hasattr(strategy, attribute):
            raise InputError(where, "a strategy, which has needs and select", f"{strategy!r:.60}, without {attribute}")
    return strategy
