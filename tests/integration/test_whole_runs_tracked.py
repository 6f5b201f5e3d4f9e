"""Whole runs with every tracker, read back by the trackers' own readers: killed, with masks, as documented."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from hybrid_al.core.rundir import RunDir
from hybrid_al.oracles.ledger import Entry, Ledger
from hybrid_al.track.names import NAMES, name_of
from hybrid_al.track.wandb_files import records
from tests.helpers.command import call
from tests.helpers.tiny import recipe_of
from tests.unit.track.test_mirrors import mlflow_steps, tensorboard_steps

pytestmark = pytest.mark.slow

ALL = {"wandb": {"log_images": True, "artifacts": True}, "mlflow": {}, "tensorboard": {"log_images": True}}


def recipe(folder: Path, task: str, **changes: Any) -> Path:
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe_of(task, track=ALL, query="entropy", **changes)))
    return file


def history(run: Path) -> list[dict[str, Any]]:
    """Rows of all parts, media by their names."""
    rows = []
    for file in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        for record in records(file):
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                rows.append({(i.key or next(iter(i.nested_key))): json.loads(i.value_json) for i in items})
    return rows


def test_a_run_that_is_killed_goes_on_in_every_tracker(tmp_path: Path) -> None:
    run, file = tmp_path / "run", recipe(tmp_path, "classification", loop={"budgets": [3, 2, 2]})
    command = [sys.executable, "-m", "hybrid_al.cli", "run", str(file), "--run-dir", str(run)]
    own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # not that of this process
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=own)
    while not (run / "rounds" / "000" / "round.json").is_file():
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert call("run", file, "--run-dir", run, "--quiet") == 0
    for steps in (mlflow_steps(run), tensorboard_steps(run)):
        assert steps["labels"] == steps["curve/auroc"] == steps["query/seconds"] == [0, 1, 2]
        assert len(steps["train/loss"]) == 3 == len(set(steps["train/loss"]))
    labels = [row["labels"] for row in history(run) if "labels" in row]
    assert labels == [3, 5, 7]
    numbers = [row["_step"] for row in history(run)]
    assert numbers == sorted(numbers) and len(numbers) == len(set(numbers))


def test_all_that_is_documented_comes_back(tmp_path: Path) -> None:
    run, file = tmp_path / "run", recipe(tmp_path, "segmentation")
    assert call("run", file, "--run-dir", run, "--quiet") == 0
    (wandb,) = run.glob("wandb/offline-run-*/*.wandb")
    rows, files = list(records(wandb)), wandb.parent / "files"
    logged = {name_of(name) for row in history(run) for name in row} - {None}
    asked = {entry for entry, name in NAMES.items() if not name.optional}
    assert asked - {"stage0/loss", "stage0/images_per_second", "stage0/data_share"} <= logged  # stage 0 did not train
    assert {"histogram/score", "images/picks", "table/embedding", "test/<metric>", "cost/<unit>"} <= logged
    (table, *_) = files.glob("media/table/table/picks_*.table.json")
    plain = json.loads(table.read_text(encoding="utf-8"))
    assert plain["columns"][-2:] == ["id", "image"]
    assert list(files.glob("media/images/mask/**/*.mask.png"))
    kinds = {row.artifact.type: row.artifact for row in rows if row.WhichOneof("record_type") == "artifact"}
    assert set(kinds) == {"encoder", "embeddings", "query", "labels", "model"}
    made_from = json.loads(kinds["labels"].metadata)["made_from"]
    assert made_from == [kinds["query"].name]


def test_a_query_that_waits_alerts_once(tmp_path: Path) -> None:
    run, file = tmp_path / "run", recipe(tmp_path, "classification", oracle="worklist")
    for _ in range(2):
        assert call("run", file, "--run-dir", run, "--quiet") == 3
    alerts = [
        row.alert.title
        for wandb in run.glob("wandb/offline-run-*/*.wandb")
        for row in records(wandb)
        if row.WhichOneof("record_type") == "alert"
    ]
    assert alerts == ["round 0 waits for labels"]


def test_how_people_answered_and_what_the_new_model_says_come_back(tmp_path: Path) -> None:
    path, file = tmp_path / "run", recipe(tmp_path, "classification", oracle="worklist", loop={"budgets": [4, 2]})
    assert call("run", file, "--run-dir", path, "--quiet") == 3
    run = RunDir(path)
    ledger, classes = Ledger(run), cast(list[str], run.facts()["classes"])
    for k, sample in enumerate(run.query_ids(0) or ()):
        proposal, time = ("accepted", "edited")[k % 2], "2026-01-01T00:00:00+00:00"
        entry = Entry(f"answer-{k}", 0, sample, "class", classes[k % 2], "anna", time, 2.0 + k, proposal=proposal)
        with ledger.turn():
            ledger.append(entry)
    assert call("run", file, "--run-dir", path, "--quiet") == 3
    (row,) = [row for row in history(path) if "people/accepted" in row]
    people = {name: value for name, value in row.items() if name.startswith("people/")}
    shares = {"people/accepted": 0.5, "people/edited": 0.5, "people/discarded": 0.0}
    assert people == {**shares, "people/seconds": 3.5} and row["round"] == 0
    (table,) = path.glob("wandb/offline-run-*/files/media/table/table/picks_*.table.json")
    plain = json.loads(table.read_text(encoding="utf-8"))
    after, label = (plain["columns"].index(name) for name in ("predicted_after", "label"))
    assert {cells[after] for cells in plain["data"]} <= set(classes)
    assert [cells[label] for cells in plain["data"]] == [classes[k % 2] for k in range(4)]
    assert mlflow_steps(path)["people/seconds"] == tensorboard_steps(path)["people/seconds"] == [0]
