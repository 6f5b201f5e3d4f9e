"""Every registered strategy keeps the contract."""

from __future__ import annotations

import pytest

from hybrid_al.query import STRATEGIES
from hybrid_al.testing import check_strategy


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategy(name: str) -> None:
    check_strategy(STRATEGIES[name]())
