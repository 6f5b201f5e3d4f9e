"""Kills and signals in stages of more than one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.kills import kill

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stage", ["stage 0, two processes", "bench, two jobs"])
def test_what_was_killed_and_stopped_ends_as_if_nobody_had_touched_it(stage: str, tmp_path: Path) -> None:
    """Two kills and a signal at random moments; `python -m tests.fuzz.kills` plays all stages, and more of them."""
    tally = kill(stage, tmp_path / "stage", kills=2, signals=1, seed=3)
    assert not tally.faults and tally.kills == 2 and tally.signals == 1 and tally.wholes
