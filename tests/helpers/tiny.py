"""Tiny recipes of every task over drawn cells: what contract tests over registries start with."""

from __future__ import annotations

from typing import Any

from hybrid_al.tasks import TASKS

SIZE = 16
_DATA = {"source": "phantom", "n_pool": 12, "n_val": 4, "n_test": 6, "size": SIZE, "image_size": SIZE, "classes": 2}
_OF_TASK: dict[str, dict[str, Any]] = {
    "classification": {"data": _DATA},
    "bags": {"data": {**_DATA, "bag": {"pattern": ".*"}}, "learner": "attention"},
    "multilabel": {"data": {**_DATA, "multilabel": True, "classes": 3}},
    "segmentation": {
        "data": {**_DATA, "masks": True},
        "task": {"name": "segmentation", "network": {"name": "unet", "decoder_channels": [8, 8, 8, 8, 8]}},
    },
}


def target_of(task: str) -> str:
    """What the drawn data of a task has for labels: those of several tasks may be the same."""
    data = _OF_TASK[task]["data"]
    if data.get("bag"):
        return "bags"
    return "masks" if data.get("masks") else "labels" if data.get("multilabel") else "classes"


def recipe_of(task: str, **changes: Any) -> dict[str, Any]:
    """The recipe of a registered task; a task that has none here is an error, so that no contract passes it by."""
    assert task in TASKS and task in _OF_TASK, f"no tiny recipe of task {task}: add one to _OF_TASK in {__file__}"
    return {
        "name": "tiny",
        "task": task,
        "encoder": {"name": "test_resnet"},
        "pretrain": "none",
        "cold_start": "random",
        "query": "random",
        "train": {"name": "mean_teacher", "steps": 4, "batch": 4},
        "loop": {"budgets": [4, 2]},
        "track": {},
        **_OF_TASK[task],
        **changes,
    }
