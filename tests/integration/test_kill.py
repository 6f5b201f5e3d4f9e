"""Run, kill -9 anywhere, run again: the same picks, the same metrics, the same consistency."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_al.core import files
from hybrid_al.track.jsonl import JsonlTracker
from tests.fuzz.forked import program, start

LONG = 600.0  # seconds

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


def dying(kind: str, n: int, *argv: object) -> Callable[[], None]:
    """A call of the command line that dies by a signal, SIGKILL but for TERM, HUP and INT.

    It does so at the n-th commit of a file, half of the times before it and half of the times after it, or at the n-th
    number that training logs; then everything in memory is gone.
    """
    number = {"TERM": signal.SIGTERM, "HUP": signal.SIGHUP, "INT": signal.SIGINT}.get(kind, signal.SIGKILL)
    count = 0

    def spied(inner: Callable[..., None], after: bool) -> Callable[..., None]:
        def call(*args: Any, **keys: Any) -> None:
            nonlocal count
            count += 1
            if count == n and not after:
                os.kill(os.getpid(), number)
            inner(*args, **keys)
            if count == n and after:
                os.kill(os.getpid(), number)

        return call

    def call() -> None:
        if kind == "commit":
            real = files.write_atomic
            for module in [m for m in sys.modules.values() if getattr(m, "write_atomic", None) is real]:
                module.write_atomic = spied(real, n % 2 == 0)  # type: ignore[attr-defined]
        else:
            JsonlTracker.log = spied(JsonlTracker.log, True)  # type: ignore[method-assign]
        program(argv)

    return call


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
    folder = tmp_path_factory.mktemp("whole")
    run = folder / "run"
    assert start(partial(program, [*ARGS, "--run-dir", run]), folder).wait(LONG) == 0
    return outcome(run)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "steps"), [("commit", (2, 3, 5, 4, 3, 1, 6)), ("log", (1, 3, 6, 5))])
def test_killed_again_and_again(whole: list[object], tmp_path: Path, kind: str, steps: tuple[int, ...]) -> None:
    run, killed = tmp_path / "run", 0
    args = [*ARGS, "--run-dir", run]
    for n in steps:
        killed += start(dying(kind, n, *args), tmp_path).wait(LONG) == -9
    assert killed >= len(steps) - 1
    assert start(partial(program, args), tmp_path).wait(LONG) == 0
    assert outcome(run) == whole


@pytest.mark.slow
def test_signals_end_a_run_with_a_line_and_their_code_and_it_goes_on(whole: list[object], tmp_path: Path) -> None:
    run = tmp_path / "run"
    args = [*ARGS, "--run-dir", run]
    for kind, n, code in (("TERM", 2, 143), ("HUP", 4, 129), ("INT", 7, 130)):
        child = start(dying(kind, n, *args), tmp_path)
        assert child.wait(LONG) == code, child.lines()
        assert child.lines()[-1].startswith("interrupted; the last commit is unchanged")
    (run / "rounds" / ".labels.jsonl.999999.tmp").write_text("left over", encoding="utf-8")
    assert start(partial(program, args), tmp_path).wait(LONG) == 0
    assert outcome(run) == whole and not list(run.rglob("*.tmp"))
