"""What a query costs the machine: seconds, passes of the model, memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..core.types import FloatArray, IntArray, PredictionBatch
from .base import QueryState

PROCESS = Path("/proc/self")


@dataclass
class Meter:
    """Counts while a strategy chooses; what it found is in `cost`.

    passes  samples that went through the model, each as often as it did
    """

    passes: int = 0
    cost: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Note seconds, and on Linux the MiB at the peak beyond those held before."""
        began, before = time.perf_counter(), _from_here()
        yield
        self.cost = {"seconds": time.perf_counter() - began, "passes": float(self.passes)}
        if before is not None and (peak := _mib("VmHWM")) is not None:
            self.cost["memory"] = max(peak - before, 0.0)

    def watch(self, state: QueryState) -> QueryState:
        """The same state, whose passes are counted."""
        predictor, scorer = state.predictor, state.scorer

        def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
            assert predictor is not None
            self.passes += len(indices) * samples * views
            return predictor(indices, samples, views)

        def score(name: str, indices: IntArray, samples: int, views: int) -> FloatArray:
            assert scorer is not None
            self.passes += len(indices) * samples * views
            return scorer(name, indices, samples, views)

        return replace(
            state, predictor=None if predictor is None else predict, scorer=None if scorer is None else score
        )


def _from_here() -> float | None:
    """The MiB that the process holds; its peak begins anew. None where the system does not tell."""
    try:
        (PROCESS / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    return _mib("VmRSS")


def _mib(field: str) -> float | None:
    try:
        lines = (PROCESS / "status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), None)
