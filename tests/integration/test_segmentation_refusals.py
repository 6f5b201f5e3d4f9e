"""What segmentation refuses before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_al.data.stores.masks import MaskStore
from hybrid_al.errors import InputError, UnknownName
from tests.helpers.mask_runs import TINY, WINDOWS, make_project


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": "dsal"}, "task.side_heads: expected 1 or more, for dsal"),
        ({"train": "deep_supervision"}, "task.side_heads: expected 1 or more, for deep_supervision"),
        ({"task": {**TINY["task"], "side_heads": 2}}, "train: expected deep_supervision, which trains the side heads"),
        (
            {"task": {"name": "segmentation", "network": "fpn", "side_heads": 1}, "train": "deep_supervision"},
            "task.side_heads: expected a network whose decoder is a row of blocks",
        ),
        (
            {"task": {**TINY["task"], "side_heads": 9}, "train": "deep_supervision"},
            "task.side_heads: expected at most the 4 earlier blocks of unet, got 9",
        ),
        ({"learner": "frozen"}, "learner: expected finetune"),
        (
            {"oracle": {"name": "worklist", "answer": "boxes"}, "task": WINDOWS},
            "oracle.answer: expected mask or dominant, where regions",
        ),
        ({"oracle": {"name": "simulated", "answer": "point"}}, "oracle.answer.*points"),
        (
            {"oracle": {"name": "simulated", "answer": "points"}, "task": WINDOWS},
            "oracle.answer: expected mask",
        ),
        ({"oracle": {"name": "simulated", "answer": "dominant"}}, "task.region: expected regions of images"),
        ({"oracle": {"name": "simulated", "answr": "points"}}, "answer"),
        ({"query": "badge", "task": WINDOWS}, "query \\(badge\\): expected"),
        ({"query": "egl"}, "query \\(egl\\): expected"),
        ({"query": "alfamix"}, "query \\(alfamix\\): expected"),
        ({"query": "batchbald"}, "query \\(batchbald\\): expected"),
        ({"query": "tta_entropy"}, "query \\(tta_entropy\\): expected"),
        (
            {"query": "learning_loss"},
            "query \\(learning_loss\\): expected a strategy for segmentation, got label of sample",
        ),
        ({"train": "flexmatch"}, "train"),
        ({"train": {"name": "supervised", "record": {"witness": "teacher"}}}, "train.record.witness: expected"),
        ({"train": {"name": "supervised", "record": {"within": "class"}}}, "train.record.within: expected"),
        ({"train": {"name": "supervised", "prior": 0.5}}, "train.prior: expected"),
        ({"calibration": {"fit": "val", "queries": True}}, "calibration.queries: expected false"),
        ({"loop": {"budgets": [3, 2], "unit": "pixel"}}, "loop.unit: expected .*pixels"),
        ({"task": {"name": "segmentation", "network": "unetz"}}, "unet"),
        ({"task": {"name": "segmentation", "reduction": "boundry"}}, "boundary"),
        ({"task": {"name": "segmentation", "region": {"name": "window"}}}, "windows"),
        (
            {"task": {"name": "segmentation", "region": {"name": "windows", "side": 17}}},
            "region.side: expected at most the 16 pixels",
        ),
        ({"task": {**WINDOWS, "reduction": "boundary"}}, "task.reduction: expected mean"),
        ({"encoder": {"name": "test_vit"}}, "task.network: expected a network that can take test_vit"),
        ({"data": {"source": "phantom", "size": 16, "image_size": 16}}, "data: expected masks"),
        ({"task": "classification", "train": "mean_teacher"}, "task: expected segmentation"),
        (
            {"task": "classification", "train": "mean_teacher", "loop": {"budgets": [3, 9], "unit": "pixels"}},
            "loop.unit: expected labels in classification, got pixels",
        ),
    ],
)
def test_what_segmentation_has_not_is_refused_before_anything_runs(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises((InputError, UnknownName), match=message):
        make_project(tmp_path / "run", **change)


def test_a_class_that_no_mask_shows_is_refused(tmp_path: Path) -> None:
    maps = np.zeros((2, 8, 8), dtype=np.uint8)
    store = MaskStore.build(np.arange(2), lambda i: maps[i], ["a", "b"], ["a", "b"], size=8, cache=tmp_path)
    with pytest.raises(InputError, match="class 1 \\(cell\\) in the masks, got none"):
        store.check_classes(("background", "cell"))
