"""`hybrid-al` as the program of a W&B sweep: what its agent writes on the command line is read as it was meant."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from hybrid_al.cli.base import trial_dir
from hybrid_al.recipe import load
from tests.helpers.tiny import recipe_of

DOCS = Path(__file__).parents[3] / "docs" / "tracking.md"
VALUES: dict[str, Any] = {
    "query.name": "entropy",
    "train.steps": 100,
    "train.lr_head": 1e-05,
    "loop.budgets": [4, 2],
    "report.images": False,
    "data.holdout": {"test": 0.25},
    "encoder.weights": "null",
    "seed": 3,
}


def arguments(values: dict[str, Any]) -> list[str]:
    """As wandb's agent puts them in the place of ${args_no_hyphens}."""
    wandb_arguments = create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    return list(wandb_arguments["args_no_hyphens"])


def test_values_arrive_as_they_were_meant() -> None:
    from_agent = _load(arguments(VALUES))
    assert from_agent == load(recipe_of("classification"), {**VALUES, "encoder.weights": None}).plain()
    assert from_agent["query"]["name"] == "entropy" and from_agent["train"]["lr_head"] == 1e-05


def _load(overrides: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "r.yaml"
        file.write_text(yaml.safe_dump(recipe_of("classification")))
        return load(file, overrides).plain()


def test_the_sweep_of_the_docs_changes_keys_that_there_are() -> None:
    text = DOCS.read_text(encoding="utf-8").partition("### Sweeps")[2].partition("```text\n")[2].partition("```")[0]
    sweep = yaml.safe_load(text)
    assert sweep["command"][-1] == "${args_no_hyphens}" and sweep["metric"]["name"].startswith("curve/")
    overrides = [word for word in sweep["command"] if "=" in word]
    for number in range(2):
        values = {key: choice["values"][number] for key, choice in sweep["parameters"].items()}
        plain = _load([*overrides, *arguments(values)])
        assert plain["query"]["name"] == values["query.name"] and plain["seed"] == values["seed"]
        assert plain["track"]["wandb"] == {"mode": "online"}


def test_trials_have_directories_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load(recipe_of("classification"))
    monkeypatch.setenv("WANDB_RUN_ID", "ab/1")
    assert trial_dir(recipe) is None
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    assert trial_dir(recipe) == Path("runs/tiny-s0-ab-1")
