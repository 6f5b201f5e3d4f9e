"""Two real processes (torchrun, gloo) train as one does that has all images of a batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_al.cli import main
from hybrid_al.core.rundir import RunDir
from hybrid_al.track.jsonl import read
from pretrain import METHODS, processes
from tests.helpers import two_processes

SCRIPT = Path(two_processes.__file__)
RECIPE = """
name: tiny
data: {source: phantom, n_pool: 40, n_val: 0, n_test: 20, size: 16, image_size: 16}
encoder: {name: test_resnet}
pretrain: {name: byol, epochs: 2, batch: 16}
loop: {budgets: [4]}
track: {wandb: {mode: "off"}}
"""


def torchrun(*command: str) -> subprocess.CompletedProcess[str]:
    """Two processes, at a port that is free."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run([*start, *command], capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("two")
    process = torchrun(str(SCRIPT), str(folder))
    assert process.returncode == 0, process.stderr
    facts: dict[str, Any] = json.loads((folder / "came.json").read_text())
    assert facts["processes"] == 2
    return facts


@pytest.mark.slow
@pytest.mark.parametrize("name", [*METHODS, "parts"])
def test_two_processes_have_the_losses_and_records_of_one(name: str, two: dict[str, Any], tmp_path: Path) -> None:
    method, accumulate = (name, 1) if name in METHODS else ("simclr", 2)
    one = two_processes.Trained(method, tmp_path, accumulate=accumulate).go().came()
    assert len(one["losses"]) == two_processes.STEPS and np.ptp(one["losses"]) > 1e-3
    assert two[name]["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert two[name]["records"].keys() == one["records"].keys()
    for key, values in one["records"].items():
        assert two[name]["records"][key] == pytest.approx(values, rel=1e-3, abs=1e-4), key


@pytest.mark.slow
def test_two_processes_killed_within_an_epoch_go_on_to_the_same_encoder(two: dict[str, Any]) -> None:
    whole, resumed = two["whole"], two["resumed"]
    assert resumed["losses"] == whole["losses"][-1:]
    assert resumed["encoder"] == whole["encoder"] and resumed["records"] == whole["records"]


@pytest.mark.slow
def test_the_command_runs_in_two_processes(tmp_path: Path) -> None:
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(RECIPE)
    process = torchrun("-m", "pretrain", str(recipe), "--run-dir", str(run))
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("Stage 0: ") == 2  # probes and place, said by one process
    assert (run / "stage0" / "probe.json").is_file() and not (run / "stage0" / "resume.pt").exists()
    losses = [row["step"] for row in read(run / "metrics.jsonl") if "stage0/loss" in row]
    assert losses == [2, 4] and RunDir(run).facts()["name"] == "tiny"


@pytest.mark.slow
def test_commands_that_several_processes_cannot_share_say_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert processes.world() == 1  # that of another launcher
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "some")
    with pytest.raises(SystemExit) as stop:
        main(["run", "cells"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("torchrun: expected hybrid-al pretrain, the only command")
