"""What strategies hold beyond the pool: ceilings at 60,000 rows x 64, where a matrix of all pairs would be 14 GB."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# one process for all; after a warm-up on few rows, the peak of resident memory beyond what was held before the call
SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from hybrid_al.core.embeddings import Embeddings
from hybrid_al.core.labels import LabelStore
from hybrid_al.query.strategies import STRATEGIES
from hybrid_al.query.base import QueryState
from hybrid_al.core.types import PredictionBatch

def memory(field):
    line = next(l for l in open("/proc/self/status") if l.startswith(field))
    return int(line.split()[1]) / 1024

n, rng = 60_000, np.random.default_rng(0)
vectors = rng.standard_normal((50, 64), dtype=np.float32)[rng.integers(50, size=n)]
vectors += rng.standard_normal((n, 64), dtype=np.float32)
probs = rng.dirichlet(np.ones(10), size=(n, 1)).astype(np.float32)

def predict(indices, samples, views):
    for rows in np.array_split(indices, 1 + len(indices) // 4096):
        yield PredictionBatch(rows, probs[rows], vectors[rows])

def select(name, n, own):
    every = np.arange(n)
    state = QueryState(0, LabelStore(n), every, every, Embeddings(vectors[:n], "", ""), predict)
    STRATEGIES[name](**own).select(state, 40, np.random.default_rng(0))

peaks = []
for name, own in json.loads(sys.argv[1]):
    select(name, 3000, own)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    select(name, n, own)
    peaks.append(memory("VmHWM") - before)
print(json.dumps(peaks))
"""

POOL = 60_000 * 64 * 4 / 2**20  # MiB; every strategy takes a copy of the pool
CEILINGS: list[tuple[str, dict[str, object], float]] = [  # MiB beyond it
    ("kcenter", {}, 25),
    ("badge", {}, 40),
    ("kmeans", {}, 25),
    ("typiclust", {}, 200),  # blocks of pairs in a large cluster
    ("probcover", {"delta": 0.3, "rows": 6000}, 150),  # edges that are kept
    ("probcover", {"delta": 0.3, "rows": 12_000}, 115),  # edges that are not
    ("probcover", {"delta": 0.5, "rows": 1000, "neighbours": 16}, 150),
    ("facility_location", {"rows": 1000}, 60),
    ("facility_location", {"rows": 1000, "neighbours": 16}, 150),
]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_strategy_holds_pairs() -> None:
    # freed memory goes back at once: what malloc keeps for later differs from run to run
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    env |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # each has buffers of its own
    arguments = json.dumps([(name, mib) for name, mib, _ in CEILINGS])
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, arguments], capture_output=True, text=True, check=True, env=env
    )
    measures = json.loads(process.stdout)
    peaks = [(name, mib, round(peak - POOL)) for (name, mib, _), peak in zip(CEILINGS, measures, strict=True)]
    assert len(measures) == len(CEILINGS)
    assert all(peak < ceiling for (*_, peak), (*_, ceiling) in zip(peaks, CEILINGS, strict=True)), peaks
