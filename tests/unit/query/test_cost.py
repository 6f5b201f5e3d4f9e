"""What a query costs the machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import FloatArray, IntArray, PredictionBatch
from hybrid_al.query import cost
from hybrid_al.query.base import QueryState
from hybrid_al.query.cost import Meter


def test_passes_are_those_of_every_sample_and_view() -> None:
    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        yield PredictionBatch(indices, np.full((len(indices), samples * views, 2), 0.5))

    def score(name: str, indices: IntArray, samples: int, views: int) -> FloatArray:
        return np.zeros(len(indices))

    everything = np.arange(10)
    meter = Meter()
    with meter.running():
        state = meter.watch(QueryState(0, LabelStore(10), everything[:6], everything, predictor=predict, scorer=score))
        list(state.predictions(samples=5))
        list(state.predictions(views=2))
        state.score(np.mean, samples=3)
    assert meter.cost["passes"] == 6 * 5 + 6 * 2 + 6 * 3
    assert meter.cost["seconds"] > 0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a process")
def test_memory_is_what_was_held_at_the_peak() -> None:
    """In a process of its own: of one that holds much, the system may take pages back meanwhile."""
    code = """
import numpy as np
from hybrid_al.query.cost import Meter
meter = Meter()
with meter.running():
    np.ones(64 * 2**17).sum()  # 64 MiB
print(meter.cost["memory"])
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 60 < float(process.stdout) < 100


def test_a_system_that_does_not_tell_its_peak_leaves_it_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cost, "PROCESS", tmp_path / "none")
    meter = Meter()
    with meter.running():
        pass
    assert set(meter.cost) == {"seconds", "passes"}
