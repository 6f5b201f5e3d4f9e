"""Run, kill -9 anywhere, run again: the same picks, the same metrics, the same consistency."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ARGS = [
    "run",
    "cells",
    "data.n_pool=60",
    "data.n_val=10",
    "data.n_test=40",
    "data.size=16",
    "data.image_size=16",
    "pretrain={name: simclr, epochs: 2, batch: 32}",
    "train.steps=20",
    "train.min_steps=20",
    "loop.budgets=[6, 5, 5]",
    "track.wandb.mode=off",
    "--quiet",
]

# dies by SIGKILL at the n-th commit of a file, half of the times before it and half of the times after it, or at the
# n-th number that training logs; then everything in memory is gone
KILLER = """
import os, signal, sys
import hybrid_al.core.files as files
import hybrid_al.core.rundir as rundir
from hybrid_al.track.jsonl import JsonlTracker
kind, n, args = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
number = {"TERM": signal.SIGTERM, "HUP": signal.SIGHUP, "INT": signal.SIGINT}.get(kind, signal.SIGKILL)
if number != signal.SIGKILL:
    signal.signal(number, signal.SIG_DFL)  # tests under nohup or in the background start with some of them ignored
count = 0

def dying(inner, after):
    def call(*a, **k):
        global count
        count += 1
        if count == n and not after:
            os.kill(os.getpid(), number)
        result = inner(*a, **k)
        if count == n and after:
            os.kill(os.getpid(), number)
        return result
    return call

if kind == "commit":
    spied = dying(files.write_atomic, n % 2 == 0)
    files.write_atomic = rundir.write_atomic = spied
    import hybrid_al.models.checkpoint as checkpoint
    checkpoint.write_atomic = spied
else:
    JsonlTracker.log = dying(JsonlTracker.log, True)

from hybrid_al.cli import main
main(args)
"""


def outcome(run: Path) -> list[object]:
    parts: list[object] = []
    for folder in sorted((run / "rounds").iterdir()):
        row = json.loads((folder / "round.json").read_text())
        with np.load(folder / "consistency.npz") as archive:
            arrays = {name: archive[name].tolist() for name in archive.files}
        parts.append([row["query"], row["metrics"], row["digests"], arrays])
    return parts


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    run = tmp_path_factory.mktemp("whole") / "run"
    subprocess.run([sys.executable, "-m", "hybrid_al.cli", *ARGS, "--run-dir", str(run)], check=True)
    return outcome(run)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "steps"), [("commit", (2, 3, 5, 4, 3, 1, 6)), ("log", (1, 3, 6, 5))])
def test_killed_again_and_again(whole: list[object], tmp_path: Path, kind: str, steps: tuple[int, ...]) -> None:
    run, killed = tmp_path / "run", 0
    args = [*ARGS, "--run-dir", str(run)]
    for n in steps:
        process = subprocess.run([sys.executable, "-c", KILLER, kind, str(n), *args], check=False)
        killed += process.returncode == -9
    assert killed >= len(steps) - 1
    subprocess.run([sys.executable, "-m", "hybrid_al.cli", *args], check=True)
    assert outcome(run) == whole


@pytest.mark.slow
def test_signals_end_a_run_with_a_line_and_their_code_and_it_goes_on(whole: list[object], tmp_path: Path) -> None:
    run = tmp_path / "run"
    args = [*ARGS, "--run-dir", str(run)]
    for kind, n, code in (("TERM", 2, 143), ("HUP", 4, 129), ("INT", 7, 130)):
        command = [sys.executable, "-c", KILLER, kind, str(n), *args]
        process = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
        assert process.returncode == code, process.stderr
        assert process.stderr.splitlines()[-1].startswith("interrupted; the last commit is unchanged")
    (run / "rounds" / ".labels.jsonl.999999.tmp").write_text("left over", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "hybrid_al.cli", *args], check=True)
    assert outcome(run) == whole and not list(run.rglob("*.tmp"))
