"""Tiny runs of segmentation on drawn masks: the recipe, its project, a whole run, and what its networks answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hybrid_al.assemble import Project, open_project
from hybrid_al.learners.segment import SegmentLearner
from hybrid_al.recipe import parse
from tests.helpers.played import play as play_recipe

N_POOL, N_VAL, N_TEST = 16, 4, 5
TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {
        "source": "phantom",
        "masks": True,
        "n_pool": N_POOL,
        "n_val": N_VAL,
        "n_test": N_TEST,
        "classes": 2,
        "size": 16,
        "image_size": 16,
    },
    "encoder": {"name": "test_resnet"},
    "task": {
        "name": "segmentation",
        "network": {"name": "unet", "decoder_channels": [8, 8, 8, 8, 8]},
        "reduction": "boundary",
    },
    "pretrain": "none",
    "cold_start": "random",
    "train": {"name": "mean_teacher", "steps": 3, "batch": 4},
    "loop": {"budgets": [3, 2]},
    "track": {"wandb": {"mode": "off"}},
}


def make_project(path: Path, **changes: Any) -> Project:
    return open_project(parse({**TINY, **changes}), run_dir=path)


def play(path: Path, **changes: Any) -> Project:
    return play_recipe(path, {**TINY, **changes})


def answers(learner: SegmentLearner, model: Path) -> Any:
    learner.load(model)
    return np.concatenate([batch.probs for batch in learner.predict(np.arange(6), samples=9)])


WINDOWS = {**TINY["task"], "reduction": "mean", "region": {"name": "windows", "side": 8}}
SUPERPIXELS = {**WINDOWS, "region": {"name": "superpixels", "count": 4}}
