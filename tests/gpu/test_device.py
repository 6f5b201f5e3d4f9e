"""What is computed on a GPU is what the CPU computes; skipped where there is none.

HYBRID_AL_DEVICE=cpu plays the same tests on the CPU, to see that they themselves are right.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hybrid_al.core.types import Round
from hybrid_al.kernels.distances import k_center, typicality
from hybrid_al.kernels.kmeans import k_means
from hybrid_al.query.strategies import STRATEGIES
from hybrid_al.query.synthetic import make_state
from tests.helpers.played import play

DEVICE = os.environ.get("HYBRID_AL_DEVICE", "cuda" if torch.cuda.is_available() else "")
pytestmark = pytest.mark.skipif(not DEVICE, reason="no GPU here (HYBRID_AL_DEVICE=cpu plays these on the CPU)")

TINY: dict[str, Any] = {
    "name": "tiny",
    "encoder": {"name": "test_resnet"},
    "pretrain": {"name": "simclr", "epochs": 1, "batch": 16},
    "train": {"name": "mean_teacher", "steps": 6, "min_steps": 6, "batch": 4},
    "loop": {"budgets": [6, 4]},
    "track": {"wandb": {"mode": "off"}},
}
IMAGES = {"source": "phantom", "n_pool": 40, "n_val": 0, "n_test": 20, "size": 32, "image_size": 32}
MASKS = {**IMAGES, "masks": True, "classes": 2}
UNET = {"name": "segmentation", "network": {"name": "unet", "decoder_channels": [8, 8, 8, 8, 8]}}


def rounds_of(path: Path, device: str, **changes: Any) -> tuple[Round, ...]:
    """The rounds of a run on a device, from stage 0 on."""
    return tuple(play(path, {**TINY, **changes}, device).run.rounds())


RUNS: dict[str, dict[str, Any]] = {
    "finetune": {"data": IMAGES},
    "frozen": {"data": IMAGES, "learner": "frozen", "query": "badge"},
    "committee": {"data": IMAGES, "query": "bald", "train": {**TINY["train"], "members": 2}},
    "masks": {"data": MASKS, "task": UNET},
    "boxes": {
        "data": MASKS,
        "task": UNET,
        "oracle": {"name": "simulated", "answer": "boxes"},
    },
    "windows that follow the model": {
        "data": MASKS,
        "task": {**UNET, "region": {"name": "ripu", "side": 8, "most": 4}},
        "query": "ripu",
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_on_the_device_is_a_run(tmp_path: Path, name: str) -> None:
    """The same labels in number, the same metrics by name, all of them finite, and none far from the CPU's."""
    ours, theirs = (rounds_of(tmp_path / d, device, **RUNS[name]) for d, device in (("device", DEVICE), ("cpu", "cpu")))
    assert [r.labeled for r in ours] == [r.labeled for r in theirs] and len(ours) == 2
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.metrics.keys() == other.metrics.keys()
        shares = [k for k in mine.metrics if k.endswith(("/auroc", "/balanced_accuracy", "/dice", "/ece"))]
        assert shares and all(np.isfinite(mine.metrics[k]) and 0 <= mine.metrics[k] <= 1 for k in shares)
    cold, again = (set(rounds[0].query) for rounds in (ours, theirs))  # before any model, on near equal embeddings
    assert len(cold & again) >= len(cold) // 2


def test_kernels_on_the_device_are_those_of_a_slow_reference() -> None:
    """They take the GPU by themselves where there is one."""
    rows = np.random.default_rng(0).normal(size=(600, 24)).astype(np.float32)
    full = ((rows[:, None].astype(np.float64) - rows[None]) ** 2).sum(axis=2)
    picks, _ = k_center(rows, np.empty(0, dtype=np.int64), 12, first=3)
    taken = [3]
    while len(taken) < 12:
        taken.append(int(full[taken].min(axis=0).argmax()))
    assert picks.tolist() == taken
    near = np.sqrt(np.sort(full, axis=1)[:, 1:21])
    np.testing.assert_allclose(typicality(rows, 20), 1 / near.mean(axis=1), rtol=1e-4)
    centroids, cluster = k_means(rows, 8, np.random.default_rng(1))
    away = ((rows[:, None] - centroids[None]) ** 2).sum(axis=2)
    assert (away[np.arange(600), cluster] <= away.min(axis=1) + 1e-4).all()


@pytest.mark.parametrize("name", ["kcenter", "typiclust", "probcover", "facility_location", "badge"])
def test_strategies_ask_for_what_they_ask_for_on_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = make_state(300, dim=16, classes=4)
    ours = STRATEGIES[name]().select(state, 10, np.random.default_rng(5)).indices
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    theirs = STRATEGIES[name]().select(state, 10, np.random.default_rng(5)).indices
    assert len(set(ours.tolist()) & set(theirs.tolist())) >= 9  # ties may fall otherwise in the last bits
