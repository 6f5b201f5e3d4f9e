"""The strategy that docs/adding.md shows is a working one, and honours the contract."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from hybrid_al.query.base import QueryStrategy
from hybrid_al.testing import check_strategy

PAGE = Path(__file__).parents[2] / "docs" / "adding.md"


def test_the_strategy_of_the_page() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = (block for block in blocks if "class LeastTypical" in block)
    names: dict[str, object] = {"__name__": __name__}
    exec(compile(example, str(PAGE), "exec"), names)
    strategy: Callable[[], QueryStrategy] = names["LeastTypical"]  # type: ignore[assignment]
    check_strategy(strategy())
