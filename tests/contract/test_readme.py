"""The strategy that the README shows is a working one, and honours the contract."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from hybrid_al.core.types import Need, Query
from hybrid_al.kernels.distances import typicality
from hybrid_al.query.base import QueryState, QueryStrategy, check_budget
from hybrid_al.query.batches.base import best_first
from hybrid_al.testing import check_strategy

README = Path(__file__).parents[2] / "README.md"
IN_SCOPE = (dataclass, Query, QueryState, check_budget, best_first, typicality)


def test_the_strategy_of_the_readme() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = (block for block in blocks if "class LeastTypical" in block)
    names: dict[str, object] = {"ClassVar": ClassVar, "Need": Need, "np": np, "__name__": __name__}
    names |= {thing.__name__: thing for thing in IN_SCOPE}
    exec(compile(example, str(README), "exec"), names)
    strategy: Callable[[], QueryStrategy] = names["LeastTypical"]  # type: ignore[assignment]
    check_strategy(strategy())
