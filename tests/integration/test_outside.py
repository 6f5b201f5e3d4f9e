"""Whole runs whose every component but the data, the oracle and the learner comes from outside of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.outside import HERE
from tests.helpers.played import play

PHANTOM = {"source": "phantom", "n_pool": 16, "n_val": 4, "n_test": 6, "size": 16, "image_size": 16, "classes": 2}
COMMON: dict[str, Any] = {
    "name": "outside",
    "cold_start": {"name": f"{HERE}:Strategy", "start": 0.5},
    "query": {"name": "hybrid", "batch": {"name": f"{HERE}:BatchMaker", "upward": True}},
    "loop": {"budgets": [4, 2]},
    "track": {},
}
CLASSES: dict[str, Any] = {
    "data": PHANTOM,
    "encoder": {"name": f"{HERE}:encoder", "options": {"width": 6}},
    "pretrain": f"{HERE}:Method",
    "query": {**COMMON["query"], "score": {f"{HERE}:term": 1.0, "entropy": 0.5}},
    "train": {"name": f"{HERE}:Objective", "steps": 3, "min_steps": 1, "batch": 4},
}
NETWORK = {"name": f"{HERE}:network", "decoder_channels": [8, 8, 8, 8, 8]}
MASKS: dict[str, Any] = {
    "data": {**PHANTOM, "masks": True},
    "encoder": {"name": "test_resnet"},
    "pretrain": "none",
    "query": {**COMMON["query"], "score": {"entropy": 1.0}},
    "train": {"name": f"{HERE}:DenseObjective", "steps": 3, "min_steps": 1, "batch": 4},
}


def segmentation(**settings: str) -> dict[str, Any]:
    return {**MASKS, "task": {"name": "segmentation", "network": NETWORK, **settings}}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {**CLASSES, "learner": "finetune"},
        {**CLASSES, "learner": "frozen"},
        segmentation(reduction=f"{HERE}:Reduction"),
        segmentation(region=f"{HERE}:Halves"),
        segmentation(region=f"{HERE}:Corner"),
    ],
    ids=["finetune", "frozen", "masks", "units", "boxes"],
)
def test_a_run_of_components_from_outside(changes: dict[str, Any], tmp_path: Path) -> None:
    project = play(tmp_path / "run", {**COMMON, **changes})
    assert [len(row.query) for row in project.run.rounds()] == [4, 2]
