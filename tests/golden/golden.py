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
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from hybrid_al.recipe import load
from tests.helpers.played import play as play_recipe

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[2] / "shared" / "data"
STEPS = ("train.steps=8", "train.min_steps=8", "train.batch=8")
SHORT = (*STEPS, "pretrain.epochs=1", "pretrain.batch=64", "loop.budgets=[5,5,5]")

RUNS: dict[str, tuple[str, ...]] = {
    "cells": (*STEPS, "pretrain.epochs=2", "data.n_pool=400"),
    "segment": (*STEPS, "pretrain.epochs=2", "data.n_pool=120", "data.n_val=20", "data.n_test=40"),
    "chest_xray-frozen": (*SHORT, "learner=frozen"),
    "chest_xray-finetune": SHORT,
    "blood_smear-frozen": (*SHORT, "learner=frozen"),
    "blood_smear-finetune": SHORT,
    "nuclei-finetune": SHORT,
}
"""Name -> overrides of the recipe that stands before the dash."""
REAL = {
    "chest_xray": "pneumoniamnist/pneumoniamnist.npz",
    "blood_smear": "malaria_cells_gray/malaria.npz",
    "nuclei": "dsb2018_nuclei/index.csv",
}
"""Recipe -> its data."""
PART = 12
"""One sample of so many is taken of real data: picks, metrics and records are compared on a part as on the whole."""


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
    recipe = name.partition("-")[0]
    run = play_recipe(folder / "run", load(recipe, [*RUNS[name], *data(recipe, folder)])).run
    return [
        {
            "query": run.query_ids(row.index),
            # how fast it was is no result
            "metrics": {k: repr(float(v)) for k, v in sorted(row.metrics.items()) if not _is_speed(k)},
            "consistency": _digest(run.round_path(row.index) / "consistency.npz"),
        }
        for row in run.rounds()
    ]


def data(recipe: str, folder: Path) -> list[str]:
    """Overrides that name a part of real data, which is written into a folder; none where images are drawn."""
    if recipe not in REAL:
        return []
    whole = DATA / REAL[recipe]
    part = folder / whole.name
    if whole.suffix == ".npz":
        with np.load(whole, allow_pickle=False) as archive:
            np.savez(part, **{name: archive[name][::PART] for name in archive.files})
        return [f"data.root={part}"]
    head, *rows = whole.read_text(encoding="utf-8").splitlines()
    part.write_text("\n".join([head, *rows[::PART], ""]), encoding="utf-8")
    return [f"data.root={part}", f"data.images={whole.parent}"]


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
        print(f"{name}: {time.process_time():.0f} s so far")


if __name__ == "__main__":
    main(sys.argv[1:])
