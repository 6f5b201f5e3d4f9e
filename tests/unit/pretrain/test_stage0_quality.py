"""Stage 0 writes and logs quality without labels, and warns where the embeddings have collapsed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import pretrain.stage0 as stage0_module
from hybrid_al.assemble import open_project
from hybrid_al.models.encoder import Encoder, build_encoder
from hybrid_al.recipe import parse
from hybrid_al.track.base import Trackers
from hybrid_al.track.jsonl import JsonlTracker, read
from hybrid_al.track.names import NAMES
from pretrain.stage0 import ensure

RECIPE = {
    "name": "tiny",
    "data": {"source": "phantom", "n_pool": 40, "n_val": 0, "n_test": 20, "size": 16, "image_size": 16},
    "pretrain": "none",
    "loop": {"budgets": [4]},
    "track": {"wandb": {"mode": "off"}},
}


def stage0(run: Path, **changes: object) -> tuple[dict[str, float], dict[str, object]]:
    """The contents of quality.json, and the logged values."""
    run.mkdir(parents=True)
    project = open_project(parse({**RECIPE, **changes}, run / "recipe.yaml"), run_dir=run)
    tracker = Trackers(JsonlTracker(run / "metrics.jsonl"))
    ensure(project, tracker)
    tracker.close()
    logged = {k: v for row in read(run / "metrics.jsonl") for k, v in row.items() if k.startswith("stage0/")}
    numbers: dict[str, float] = json.loads((run / "stage0" / "quality.json").read_text())
    return numbers, logged


def test_quality_is_written_and_logged_and_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.get_rng_state()
    numbers, logged = stage0(tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), state)
    assert set(numbers) == {"alignment", "uniformity", "effective_rank", "spread", "neighbour_stability"}
    assert {f"stage0/{name}" for name in numbers} <= set(NAMES)
    assert {name: logged[f"stage0/{name}"] for name in numbers} == numbers
    assert not set(numbers) & set(json.loads((tmp_path / "a" / "stage0" / "probe.json").read_text()))
    assert stage0(tmp_path / "b")[0] == numbers
    assert "collapsed" not in capsys.readouterr().err


def test_quality_is_there_without_labels_of_the_pool(tmp_path: Path) -> None:
    numbers, logged = stage0(tmp_path / "a", oracle="worklist")
    assert numbers["effective_rank"] > 1 and not any("auroc" in name for name in logged)


def test_a_collapse_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*args: object, **kwargs: object) -> Encoder:
        encoder = build_encoder("resnet10t", channels=3, image_size=16, seed=0)
        with torch.no_grad():
            for weights in encoder.parameters():
                weights.zero_()
        return encoder

    monkeypatch.setattr(stage0_module, "make_encoder", dead)
    numbers, _ = stage0(tmp_path / "a")
    err = capsys.readouterr().err
    assert numbers["effective_rank"] == 0
    assert err.startswith("stage 0: the embeddings have collapsed: ") and err.count("\n") == 1
