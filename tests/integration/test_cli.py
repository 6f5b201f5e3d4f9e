"""The command line as a person uses it: verbs, exit codes, one clear line, nothing heavy before it is needed."""

from __future__ import annotations

import csv
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybrid_al.cli import app
from hybrid_al.core.rundir import RunDir
from tests.helpers.command import call

TINY = [
    "data.n_pool=60",
    "data.n_val=0",
    "data.n_test=40",
    "data.size=16",
    "data.image_size=16",
    "pretrain={name: simclr, epochs: 1, batch: 32}",
    "train.steps=10",
    "train.min_steps=10",
    "loop.budgets=[6, 5]",
    "track.wandb.mode=off",
]
VERBS = {
    "dashboard",
    "recipes",
    "strategies",
    "init",
    "check",
    "pretrain",
    "select",
    "labels",
    "readers",
    "label",
    "serve",
    "query",
    "run",
    "predict",
    "export",
    "status",
    "audit",
    "report",
    "bench",
}


def test_the_verbs_are_frozen() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert names == VERBS


def test_help_imports_nothing_heavy() -> None:
    script = "import sys; from hybrid_al.cli import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    heavy = {"torch", "numpy", "pydantic", "wandb", "jinja2", "sklearn", "scipy", "timm", "lightly", "faiss"}
    assert not heavy & set(out.split()) and all(verb in out for verb in VERBS)


LIGHT = ("loop", "state", "evaluation", "experiment", "core.rundir", "query.base", "query.strategies", "query.batches")


def test_the_decision_plane_loads_no_torch() -> None:
    modules = ", ".join(f"hybrid_al.{name}" for name in (*LIGHT, "oracles", "oracles.inbox", "oracles.simulated"))
    script = f"import sys, {modules}; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "sklearn", "timm", "faiss"} & set(out.split())


def test_status_and_labels_load_nothing_heavy(tmp_path: Path) -> None:
    table, run = tmp_path / "labels.csv", tmp_path / "run"
    assert (
        call(
            "select",
            "cells",
            "data.n_pool=12",
            "data.n_val=0",
            "pretrain=none",
            "oracle=worklist",
            "loop.budgets=[2]",
            "--run-dir",
            run,
        )
        == 0
    )
    ids, classes = RunDir(run).query_ids(0) or (), RunDir(run).facts()["classes"]
    assert isinstance(classes, list)
    table.write_text("id,label\n" + "".join(f"{i},{classes[0]}\n" for i in ids))
    for verb in (["status", str(run)], ["labels", str(run), str(table)]):
        script = f"import sys; from hybrid_al.cli import app; app({verb!r}, standalone_mode=False); print(*sys.modules)"
        out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        assert not {"torch", "sklearn", "timm", "faiss", "lightly", "jinja2", "wandb"} & set(out.split()), verb


def test_recipes_are_listed_and_copied(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert call("recipes") == 0
    assert "chest_xray" in capsys.readouterr().out
    copy = tmp_path / "mine.yaml"
    assert call("recipes", "quickstart", "-o", copy) == 0 and copy.read_text().startswith("#")
    assert call("recipes", "quickstart", "-o", copy) == 2
    assert "a new file, got one that exists" in capsys.readouterr().err


def test_strategies_are_found_by_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("strategies", "clue") == 0
    assert "query: {name: clue, temperature: 1.0" in capsys.readouterr().out
    assert call("strategies", "nosuch") == 2
    assert "strategies: WORD: expected part of the name or paper" in capsys.readouterr().err


@pytest.mark.slow
def test_wrong_input_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for argv in (
        ["run", "nowhere.yaml"],
        ["run", "cells", "lop.budgets=[1]"],
        ["status", tmp_path],
        ["init", "gone"],
    ):
        assert call(*argv) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "expected" in err and "Traceback" not in err
    assert call("run", "cells", *TINY, "loop.budgets=[60, 1]", "--run-dir", tmp_path / "r", "--quiet") == 2
    assert "at most the pool's 60 samples in all, got 61" in capsys.readouterr().err


def test_check_says_what_would_run_and_draws_the_views(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sheet = tmp_path / "views.png"
    assert call("check", "cells", *TINY, "--views", sheet, "--run-dir", tmp_path / "r") == 0
    out = capsys.readouterr().out
    assert "pool       60 images" in out and "2 rounds, 11 labels" in out and "disk about" in out
    assert "  answers of the data (oracle simulated)\n" in out
    with Image.open(sheet) as image:
        assert image.width == 8 * 96 and image.height == 7 * 96 + 28  # a line of words above
    assert not (tmp_path / "r").exists()


def test_check_of_a_bench_looks_at_every_variant(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bench = tmp_path / "two.yaml"
    bench.write_text(
        "name: two\nbench:\n  variants:\n    small: {recipe: cells, data.n_pool: 60}\n"
        "    large: {recipe: cells, data.n_pool: 80}\n"
    )
    texts = [text for text in TINY if "n_pool" not in text]
    assert call("check", bench, *texts, "--views", tmp_path / "v.png", "--run-dir", tmp_path / "r") == 0
    out = capsys.readouterr().out
    small, large = out.split("Variant large")
    assert "Variant small" in small and "60 images" in small and "80 images" in large and "80 images" not in small
    assert (tmp_path / "v-small.png").is_file() and (tmp_path / "v-large.png").is_file()
    assert call("check", bench, *texts, "data.n_poll=3", "--run-dir", tmp_path / "r") == 2


def folder_of_images(root: Path, classes: tuple[str, ...], count: int = 12) -> Path:
    rng = np.random.default_rng(0)
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 128, (20, 20), dtype=np.uint8) + np.uint8(100 * c)
            Image.fromarray(pixels).save(root / name / f"{i:02d}.png")
    return root


def test_all_unreadable_images_are_listed_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = folder_of_images(tmp_path / "data", ("a", "b"))
    whole = (data / "a" / "01.png").read_bytes()
    (data / "a" / "01.png").write_bytes(whole[: len(whole) // 2])
    (data / "b" / "02.png").write_bytes(whole[: len(whole) // 2])
    recipe = tmp_path / "recipe.yaml"
    assert call("init", data, "-o", recipe) == 0
    assert re.search(r"# about \d+ (s|min) for stage 0", recipe.read_text(encoding="utf-8"))
    assert call("check", recipe, "loop.budgets=[4]", "--run-dir", tmp_path / "r") == 2
    err = capsys.readouterr().err
    assert "a/01.png" in err and "b/02.png" in err and "data.on_error=skip" in err
    assert call("check", recipe, "loop.budgets=[4]", "data.on_error=skip", "--run-dir", tmp_path / "r") == 0
    assert "left out (on_error=skip): a/01.png" in capsys.readouterr().out


def test_without_classes_nothing_runs_not_even_stage_0(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    images, run = tmp_path / "images", tmp_path / "run"
    images.mkdir()
    noise = np.random.default_rng(0)
    for i in range(60):
        Image.fromarray(noise.integers(0, 255, (16, 16), dtype=np.uint8)).save(images / f"{i}.png")
    options = [o for o in TINY if not o.startswith("data")] + ["oracle=worklist", "--run-dir", str(run)]
    data = f"data={{source: folder, root: {images}, image_size: 16, group: none}}"
    for verb in ("check", "pretrain", "select", "run"):
        assert call(verb, "cells", data, *options) == 2
        assert "data.classes: expected at least two classes, got none (say data.classes)" in capsys.readouterr().err
        assert not run.exists(), "a refused run leaves nothing behind that a mended recipe would not fit"


def test_random_picks_are_played_beside_a_run_on_its_encoder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run, data = RunDir(tmp_path / "run"), ["cells", *TINY, "pretrain=none", "report.random_runs=2", "seed=3"]
    assert call("run", *data, "--run-dir", run.path) == 0
    out = capsys.readouterr().out
    assert "Random picks, run 2 of 2: 11 labels" in out and "mean of 2 runs" in out and "hybrid-al init" in out
    random = run.random_runs()
    assert [r.facts()["seed"] for r in random] == [3, 4] and not list(run.path.glob("random/*/stage0"))
    rounds = [r.rounds() for r in (run, *random)]
    assert [row.strategy for row in rounds[1]] == ["random", "random"] and rounds[1][0].query != rounds[2][0].query
    assert len({row.digests["encoder"] for rows in rounds for row in rows}) == 1
    assert [[row.labeled for row in rows] for rows in rounds] == [[6, 11]] * 3
    assert "random picks: mean of 2 runs" in (run.path / "report" / "index.html").read_text()
    before = [r.rounds() for r in random]
    assert call("run", *data, "--run-dir", run.path, "--quiet") == 0 and [r.rounds() for r in random] == before
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and out.startswith("Report: ")
    assert call("check", *data, "oracle=worklist", "--run-dir", run.path) == 2
    assert "report.random_runs: expected 0" in capsys.readouterr().err


@pytest.mark.slow
def test_one_annotator_and_a_folder_of_images(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """init -> check -> run (waits) -> labels -> run (waits) -> labels -> run (done), and the answers are kept."""
    data, run, recipe = folder_of_images(tmp_path / "data", ("a", "b"), 25), tmp_path / "run", tmp_path / "recipe.yaml"
    assert call("init", data, "-o", recipe) == 0
    settings = [a for a in TINY if not a.startswith("data")] + [
        "oracle=worklist",
        "data.image_size=16",
        "loop.budgets=[4, 3]",
    ]
    command = ["run", recipe, *settings, "--run-dir", run, "--quiet"]
    assert call("status", run) == 2
    for r, budget in enumerate((4, 3)):
        assert call(*command) == 3
        assert f"waits for {budget} of {budget} labels" in capsys.readouterr().err
        query = run / "rounds" / f"00{r}" / "query.csv"
        before = query.read_bytes()
        assert call(*command) == 3 and query.read_bytes() == before, "a waiting query is kept"
        with query.open(newline="") as file:
            rows = [{"id": row["id"], "label": row["id"].split("/")[0]} for row in csv.DictReader(file)]
        answers = tmp_path / "answers.csv"
        with answers.open("w", newline="") as file:
            writer = csv.DictWriter(file, ("id", "label"))
            writer.writeheader()
            writer.writerows(rows)
        assert call("labels", run, answers, "--annotator", "jo") == 0
        assert call("status", run) == 0
    assert call(*command) == 0
    assert call("status", run) == 0 and "finished" in capsys.readouterr().out
    assert "jo" in (run / "rounds" / "001" / "labels.jsonl").read_text()
    assert (run / "report" / "index.html").stat().st_size > 50_000
    assert call("report", run, "-o", tmp_path / "again") == 0 and (tmp_path / "again" / "curve.csv").is_file()
    capsys.readouterr()
    assert call("labels", run, answers, "--annotator", "jo") == 0
    assert "3 answers taken, 3 of them as jo gave them before, nothing is new" in capsys.readouterr().out
    sample, other = rows[0]["id"], "b" if rows[0]["label"] == "a" else "a"
    answers.write_text(f"id,label\n{sample},{other}\n")
    assert call("labels", run, answers, "--annotator", "ann") == 2
    assert f"others than 1 of jo, the first about '{sample}'" in capsys.readouterr().err
    assert call("labels", run, answers, "--annotator", "ann", "--replace") == 0
    out = capsys.readouterr().out
    assert "1 answer taken, in the place of other answers (1 of jo), corrections" in out and "round 2 trains" in out


def test_a_full_disk_is_one_line_and_the_run_goes_on_afterwards(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at every fsync of the first call; nothing half-written is taken for a commit."""
    command = ["run", "cells", *TINY, "--run-dir", tmp_path / "run", "--quiet"]

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert call(*command) == 2
        err = capsys.readouterr().err
        assert "No space left" in err and "Traceback" not in err and err.count("\n") == 1
    assert not (tmp_path / "run" / "run.json").exists()
    assert call(*command) == 0


def test_a_device_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", "cells", "--device", "gpu") == 2
    assert "a device of this machine, got gpu" in capsys.readouterr().err
