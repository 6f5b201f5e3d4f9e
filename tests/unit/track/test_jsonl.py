"""metrics.jsonl: what goes in comes out, also after a kill in the middle of a line."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from hybrid_al.errors import InputError
from hybrid_al.track.base import shareable
from hybrid_al.track.jsonl import JsonlTracker, lines, read


def test_values_come_back(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tracker = JsonlTracker(path)
    tracker.log({"train/loss": 0.5, "labels": 20, "picks": [1.0, 2.0]}, stage="train", round=1, step=3)
    tracker.close()
    (row,) = read(path)
    assert isinstance(row.pop("time"), float)
    assert row == {"stage": "train", "round": 1, "step": 3, "train/loss": 0.5, "labels": 20, "picks": [1.0, 2.0]}


def test_arrays_scalars_and_non_finite_numbers(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tracker, float32 = JsonlTracker(path), cast(float, np.float32(0.5))
    tracker.log({"a": float32, "b": math.nan, "c": -math.inf, "d": [1.0, math.nan]}, stage="query")
    tracker.log({"e": np.array([1.5, np.inf])}, stage="query", round=1)  # type: ignore[dict-item]
    tracker.close()
    first, second = read(path)
    assert (first["a"], first["b"], first["c"], first["d"]) == (0.5, None, None, [1.0, None])
    assert second["e"] == [1.5, None]
    assert "NaN" not in path.read_text()


def test_later_lines_of_a_redone_fit_win(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for start in (0.0, 10.0):
        tracker = JsonlTracker(path)
        for step in range(3 if start == 0 else 2):
            tracker.log({"train/loss": start + step}, stage="train", round=0, step=step)
        tracker.close()
    tracker = JsonlTracker(path)
    tracker.log({"train/mask_rate": 0.5}, stage="train", round=0, step=0)
    tracker.close()
    assert [row["train/loss"] for row in read(path)] == [10.0, 11.0, 2.0]
    assert read(path)[0]["train/mask_rate"] == 0.5
    assert len(lines(path)) == 6


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_torn_last_line_is_closed_and_skipped(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "metrics.jsonl"
    tracker = JsonlTracker(path)
    tracker.log({"train/loss": 1.0}, stage="train", round=0, step=0)
    tracker.log({"train/loss": 2.0}, stage="train", round=0, step=1)
    tracker.close()
    path.write_bytes(path.read_bytes()[:-cut])
    whole = 2 if cut == 1 else 1  # without its newline alone, a line is still whole
    assert len(read(path)) == whole
    tracker = JsonlTracker(path)
    tracker.log({"train/loss": 3.0}, stage="train", round=0, step=2)
    tracker.close()
    assert [row["step"] for row in read(path)] == [*range(whole), 2]


def test_what_was_logged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    code = (
        "import os, sys; from pathlib import Path; from hybrid_al.track.jsonl import JsonlTracker\n"
        "tracker = JsonlTracker(Path(sys.argv[1]))\n"
        "for step in range(50): tracker.log({'train/loss': step}, stage='train', round=0, step=step)\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert len(read(path)) == 50


def test_names_of_columns_are_refused(tmp_path: Path) -> None:
    tracker = JsonlTracker(tmp_path / "metrics.jsonl")
    with pytest.raises(InputError, match="step"):
        tracker.log({"step": 1.0}, stage="train")
    tracker.close()


def test_missing_file_has_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path / "metrics.jsonl") == []


def test_shareable_cuts_paths() -> None:
    recipe = {
        "name": "chest",
        "data": {
            "source": "csv",
            "root": "../jane/list.csv",
            "images": "C:\\Users\\jane\\img",
            "columns": {"path": "file"},
        },
        "encoder": {"weights": "/srv/w.safetensors"},
        "extra": ["~/jane/x.npz", "fixmatch", 3, None, "a/b"],
    }
    assert shareable(recipe) == {
        "name": "chest",
        "data": {"source": "csv", "root": "list.csv", "images": "img", "columns": {"path": "file"}},
        "encoder": {"weights": "w.safetensors"},
        "extra": ["x.npz", "fixmatch", 3, None, "a/b"],
    }
    assert "jane" not in json.dumps(shareable(recipe))


def test_imports_stay_light() -> None:
    code = (
        "import sys, hybrid_al.track, hybrid_al.report.page\n"
        "heavy = ('torch', 'wandb', 'mlflow', 'tensorboard', 'pandas', 'jinja2')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"
