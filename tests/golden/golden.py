"""Golden runs: small runs of shipped recipes whose picks, metrics and consistency are kept to the bit.

`OMP_NUM_THREADS=1 python -m tests.golden.golden` writes them anew; a commit that does so says by how much digits moved.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

from hybrid_al.recipe import load
from tests.helpers.played import play as play_recipe

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[2] / "shared" / "data"
SHORT = ("pretrain.epochs=1", "train.steps=20", "loop.budgets=[5,5,10]")

RUNS: dict[str, tuple[str, ...]] = {
    "cells": ("pretrain.epochs=2", "train.steps=60"),
    "segment": ("pretrain.epochs=2", "train.steps=30"),
    "chest_xray-frozen": (*SHORT, "learner=frozen", f"data.root={DATA}/pneumoniamnist/pneumoniamnist.npz"),
    "chest_xray-finetune": (*SHORT, f"data.root={DATA}/pneumoniamnist/pneumoniamnist.npz"),
    "blood_smear-frozen": (*SHORT, "learner=frozen", f"data.root={DATA}/malaria_cells_gray/malaria.npz"),
    "blood_smear-finetune": (*SHORT, f"data.root={DATA}/malaria_cells_gray/malaria.npz"),
    "nuclei-finetune": (*SHORT, f"data.root={DATA}/dsb2018_nuclei"),
}
"""Name -> overrides of the recipe that stands before the dash."""


def machine() -> dict[str, str]:
    """What decides the last bits of a sum."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return {
        "cpu": cpu.partition(":")[2].strip() or platform.processor(),
        "openblas": os.environ.get("OPENBLAS_CORETYPE", ""),
        **{name: version(name) for name in ("numpy", "torch", "scikit-learn", "faiss-cpu")},
    }


def play(name: str, folder: Path) -> list[dict[str, object]]:
    """What each round of a golden run picked, measured and recorded; played in an empty folder."""
    run = play_recipe(folder / "run", load(name.partition("-")[0], RUNS[name])).run
    return [
        {
            "query": run.query_ids(row.index),
            # how fast it was is no result
            "metrics": {k: repr(float(v)) for k, v in sorted(row.metrics.items()) if not _is_speed(k)},
            "consistency": _digest(run.round_path(row.index) / "consistency.npz"),
        }
        for row in run.rounds()
    ]


def _is_speed(metric: str) -> bool:
    return metric.endswith(("per_second", "seconds", "data_share"))


def _digest(file: Path) -> dict[str, str]:
    with np.load(file, allow_pickle=False) as archive:
        return {name: hashlib.sha256(archive[name].tobytes()).hexdigest()[:16] for name in sorted(archive.files)}


def main(names: list[str]) -> None:
    """Write the golden files of some runs, or of all."""
    assert os.environ.get("OMP_NUM_THREADS") == "1", "results are those of one thread: OMP_NUM_THREADS=1"
    for name in names or list(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            rounds = play(name, Path(folder))
        text = json.dumps({"machine": machine(), "rounds": rounds}, indent=1)
        (HERE / f"{name}.json").write_text(text + "\n")
        print(name)


if __name__ == "__main__":
    main(sys.argv[1:])
