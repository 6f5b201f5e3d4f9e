"""What samples are not, and what is noisy, in whole runs of the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.played import play
from tests.helpers.tiny import recipe_of


@pytest.mark.slow
def test_a_network_with_batch_norm_learns_from_one_no(tmp_path: Path) -> None:
    """One sample alone is no batch for a batch norm; noisy candidates and labels are left out beside."""
    query = {"name": "hybrid", "score": {"entropy": 1.0}, "batch": {"name": "curriculum"}}
    train = {"name": "pseudo_label", "steps": 2, "min_steps": 2, "batch": 4, "drop_noisy": True, "mistakes": 1.0}
    played = play(tmp_path / "run", recipe_of("classification", query=query, train=train, loop={"budgets": [4, 3, 3]}))
    assert [r.labeled for r in played.run.rounds()] == [4, 7, 10]
