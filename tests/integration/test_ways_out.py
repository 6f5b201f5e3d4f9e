"""Every state of a run has a way out, which `status` and the errors name as a command that works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from hybrid_al.api.session import project_of
from hybrid_al.cli import signals
from hybrid_al.core.rundir import RunDir
from hybrid_al.errors import InputError
from hybrid_al.recipe import parse
from hybrid_al.report.overview import standing
from tests.helpers.command import call

ROOT = Path(__file__).parents[2]
PLAIN: dict[str, Any] = {
    "name": "way",
    "data": {"source": "phantom", "n_pool": 12, "n_val": 0, "n_test": 6, "size": 16, "image_size": 16, "classes": 2},
    "encoder": {"name": "test_resnet"},
    "pretrain": "none",
    "learner": "linear",
    "train": "supervised",
    "cold_start": "random",
    "query": "entropy",
    "loop": {"budgets": [3, 2]},
    "oracle": "worklist",
    "track": {},
}


def follow(text: str) -> int:
    """Play the command that a text names."""
    match = re.search(r"go on with: hybrid-al (.*)", text)
    assert match, text
    return call(*shlex.split(match[1]))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "way.yaml"
    file.write_text(yaml.safe_dump(PLAIN), encoding="utf-8")
    return file


def answer(run: RunDir, file: Path, word: str) -> int:
    """Answer what is open with one word."""
    ids = run.query_ids(len(run.rounds())) or ()
    file.write_text("id,label\n" + "".join(f"{i},{word}\n" for i in ids), encoding="utf-8")
    return call("labels", run.path, file)


@pytest.mark.slow
def test_skips_changed_budgets_and_a_query_of_one_class(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe: Path
) -> None:
    run, file = RunDir(tmp_path / "a run"), tmp_path / "a.csv"
    assert call("run", recipe, "loop.stop.rounds=2", "--run-dir", run.path, "--quiet") == 3
    assert answer(run, file, "skip") == 0
    capsys.readouterr()
    assert call("status", run.path) == 0
    status = capsys.readouterr().out
    assert "next: other images, as all 3 were skipped" in status and follow(status) == 3
    err = capsys.readouterr().err
    assert "all 3 that were asked about are skipped; others follow" in err and "waits for 3 of 6 labels" in err
    first, ids = (run.round_path(0) / "query.csv").read_bytes(), run.query_ids(0) or ()
    assert len(set(ids)) == 6 and "waits for 3 of 6" in standing(run)[-1]
    assert call("select", run.path) == 0 and "3 images to label" in capsys.readouterr().out
    assert (run.round_path(0) / "query.csv").read_bytes() == first
    asked = ids[3:]
    file.write_text("id,label\n" + "".join(f"{i},lobed\n" for i in asked), encoding="utf-8")
    assert call("labels", run.path, file) == 0
    assert follow(capsys.readouterr().out) == 3, "all labels are of one class, and the loop asks on"
    row = run.rounds()[0]
    assert row.labeled == 3 and len(row.query) == 6
    assert call("select", run.path, "loop.budgets=[3, 4]") == 0
    assert "round 1 has its query, of 2, and keeps it" in capsys.readouterr().err
    answer(run, file, "round")
    assert follow(capsys.readouterr().out) == 0
    assert "finished" in standing(run)[-1]
    assert call("run", run.path, "loop.budgets=[3, 2, 1]", "--quiet") == 3, "stored: " + standing(run)[0]
    assert standing(run)[0].endswith("2 of 3 rounds done") and "waits for 1 of 1" in standing(run)[-1]


@pytest.mark.slow
def test_a_pool_of_skips_alone_says_what_would_help(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe: Path
) -> None:
    run, file = RunDir(tmp_path / "run"), tmp_path / "a.csv"
    assert call("run", recipe, "loop.budgets=[12]", "--run-dir", run.path, "--quiet") == 3
    assert answer(run, file, "skip") == 0 and call("run", run.path, "--quiet") == 2
    assert (
        "expected a label of one of 12 samples at least, got skips alone; hybrid-al labels" in capsys.readouterr().err
    )
    assert answer(run, file, "lobed") == 0 and call("run", run.path, "--quiet") == 0


@pytest.mark.slow
def test_a_first_command_that_was_killed_goes_on(tmp_path: Path, recipe: Path) -> None:
    project = project_of(parse({**PLAIN, "oracle": "simulated"}), tmp_path / "run", "cpu")
    project.claim()
    assert "next: stage 0; go on with: hybrid-al run" in standing(project.run)[-1]
    assert follow(standing(project.run)[-1]) == 0 and len(project.run.rounds()) == 2


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_moved_to(tmp_path: Path, recipe: Path) -> None:
    assert call("run", recipe, "oracle=simulated", "seed=3", "--run-dir", tmp_path / "old", "--quiet") == 0
    (tmp_path / "old").rename(tmp_path / "new")
    assert call("check", tmp_path / "new") == 0 and call("run", tmp_path / "new", "loop.budgets=[3, 2, 2]") == 0
    assert len(RunDir(tmp_path / "new").rounds()) == 3 and not (tmp_path / "old").exists()


def test_no_mask_need_be_drawn_when_a_project_begins(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    noise = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(noise.integers(0, 255, (32, 32), dtype=np.uint8)).save(tmp_path / "images" / f"{i}.png")
    data: dict[str, Any] = {
        "source": "folder",
        "root": str(tmp_path / "images"),
        "masks": str(tmp_path / "masks"),
        "group": "none",
    }
    data |= {"classes": ["rest", "lesion"], "image_size": 32}
    plain = {**PLAIN, "task": "segmentation", "learner": "finetune", "encoder": {}, "query": "random", "data": data}
    project = project_of(parse(plain), tmp_path / "run", "cpu")
    assert project.dataset.masks is not None and not project.dataset.masks.labeled.any()
    with pytest.raises(InputError, match="data: expected masks"):
        project_of(parse({**plain, "oracle": "simulated"}), tmp_path / "other", "cpu")


def test_a_record_that_the_method_does_not_write_is_known_before_stage_0(tmp_path: Path) -> None:
    plain = {**PLAIN, "cold_start": "csval", "pretrain": {"name": "byol", "batch": 4}}
    with pytest.raises(InputError, match="cold_start: expected a pretraining that records confidence, got byol"):
        project_of(parse(plain), tmp_path / "run", "cpu")
    assert project_of(parse({**plain, "pretrain": {"name": "simclr", "batch": 4}}), tmp_path / "run", "cpu")


def test_a_pool_that_grew_is_refused_with_the_first_new_image(tmp_path: Path) -> None:
    def project(images: int, run: str) -> Any:
        pixels = np.random.default_rng(0).integers(0, 255, (images, 16, 16), dtype=np.uint8)
        np.savez(tmp_path / "d.npz", images=pixels, labels=np.arange(images) % 2)
        data = {"source": "npz", "root": str(tmp_path / "d.npz"), "image_size": 16, "group": "none"}
        return project_of(parse({**PLAIN, "data": data}), tmp_path / run, "cpu")

    project(8, "run").claim()
    with pytest.raises(InputError, match=r"other data: 1 new \(image/00008\); .*--run-dir DIR"):
        project(9, "run").check_run()


def test_a_fault_is_one_line_and_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object) -> None:
        raise KeyError("b\u00f6sartig")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("hybrid_al.report.overview.standing", fault)
    assert call("status", tmp_path) == 1
    err = capsys.readouterr().err
    assert err.startswith("a fault of hybrid-al, not of yours: KeyError: 'b\u00f6sartig'") and err.count("\n") == 1
    file = next(tmp_path.glob("hybrid-al-fault-*.txt"))
    assert str(file) in err and "Traceback" in file.read_text(encoding="utf-8")
    assert "of images and patients nothing but paths" in err


def test_an_interrupt_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hybrid_al.report.overview.standing", stop)
    assert call("status", "nowhere") == signals.SIGNALS["SIGINT"]
    assert capsys.readouterr().err == "interrupted; the last commit is unchanged, and the same command goes on\n"


def test_names_that_the_terminal_cannot_show_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / "r\u00f6ntgen.yaml").write_text("name: x\nsed: 1\n", encoding="utf-8")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "hybrid_al.cli", "check", "r\u00f6ntgen.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 2 and b"did you mean 'seed'" in done.stderr and b"Traceback" not in done.stderr
