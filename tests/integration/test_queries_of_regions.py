"""Whole runs of the queries of regions that look at edges, outlines, clicks, and single pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_al.core.files import read_arrays
from tests.helpers.played import play
from tests.helpers.tiny import recipe_of

pytestmark = pytest.mark.slow

UNET = {"name": "segmentation", "network": {"name": "unet", "decoder_channels": [8, 8, 8, 8, 8]}}
CLICK = {"name": "simulated", "answer": "dominant"}
RUNS: dict[str, tuple[Any, dict[str, Any]]] = {
    "edgeal": ({"name": "superpixels", "count": 6}, {"query": {"name": "edgeal", "samples": 3}, "oracle": CLICK}),
    "cereals": (
        {"name": "windows", "side": 8},
        {"query": "cereals", "train": {"name": "fixmatch", "by": "region", "threshold": 0.0, "steps": 4, "batch": 4}},
    ),
    "dice": ("image", {"query": "dice_per_outline"}),
    "points": (
        {"name": "points", "most": 4, "apart": 2, "grid": 8},
        {"query": {"name": "hybrid", "score": {"crf_entropy": 1.0, "inconsistency": 1.0}}, "oracle": CLICK},
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_played(name: str, tmp_path: Path) -> None:
    region, changes = RUNS[name]
    recipe = recipe_of("segmentation", **{"loop": {"budgets": [4, 3, 3]}, **changes})
    played = play(tmp_path / "run", {**recipe, "task": {**UNET, "region": region}})
    rounds = played.run.rounds()
    assert [r.budget for r in rounds] == [4, 3, 3]
    scores = read_arrays(played.run.round_path(2) / "scores.npz")
    assert np.isfinite(scores["values"]).all() and len(set(scores["values"].tolist())) > 3
    if name == "points":
        before, after = (r.metrics["cost/pixels"] for r in rounds[1:])
        assert after == before + 3 and rounds[2].metrics["cost/clicks"] == 10
