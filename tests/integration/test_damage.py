"""Damage to a real run: said, with a way out that ends in the same run; and edits by people."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from hybrid_al.core.files import write_atomic
from hybrid_al.core.rundir import RunDir, marked, unmarked
from tests.helpers.command import call
from tests.helpers.tiny import recipe_of


def recipe_file(folder: Path, **changes: object) -> Path:
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe_of("classification", **changes)), encoding="utf-8")
    return file


def outcome(run: Path) -> list[object]:
    rows = [json.loads((run / f"rounds/00{r}/round.json").read_text(encoding="utf-8")) for r in range(3)]
    return [(row["query"], row["metrics"], row["digests"]["model.safetensors"]) for row in rows]


@pytest.mark.slow
def test_a_round_with_a_damaged_model_is_refused_and_played_again_to_the_same_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, changes = tmp_path / "run", {"query": "entropy", "learner": "frozen", "loop": {"budgets": [4, 2, 2]}}
    recipe = recipe_file(tmp_path, **changes)
    assert call("run", recipe, "--run-dir", run, "--quiet") == 0
    whole = outcome(run)
    shutil.rmtree(run / "rounds/002")
    shutil.copy(run / "rounds/000/model.safetensors", run / "rounds/001/model.safetensors")
    capsys.readouterr()
    assert call("run", recipe, "--run-dir", run, "--quiet") == 2
    err = capsys.readouterr().err
    assert "rounds/001/model.safetensors: expected" in err and f"remove {run}/rounds/001/round.json" in err
    (run / "rounds/001/round.json").unlink()
    assert call("run", recipe, "--run-dir", run, "--quiet") == 0
    assert outcome(run) == whole and call("status", run, "--verify") == 0
    rng = np.random.default_rng(0)
    files = [f for f in sorted(run.rglob("*")) if f.is_file() and "rounds" in f.parts and f.parent.name != "images"]
    for _ in range(30):  # each flip of a bit of a committed round is said
        file = files[rng.integers(len(files))]
        data = bytearray(file.read_bytes())
        at = int(rng.integers(len(data)))
        data[at] ^= 1 << int(rng.integers(8))
        before = file.read_bytes()
        file.write_bytes(data)
        said = call("status", run, "--verify")
        file.write_bytes(before)
        assert said == 2 or (file.name == "round.json" and before[at : at + 1].isspace()), (file, at)


@pytest.mark.slow
def test_people_fill_in_a_copy_and_rows_that_nobody_asked_about_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, run = recipe_file(tmp_path, oracle="worklist", learner="linear"), tmp_path / "run"
    assert call("run", recipe, "--run-dir", run, "--quiet") == 3
    copy = run / "worklist" / "round_000.csv"
    assert str(copy) in capsys.readouterr().err
    assert copy.read_bytes() == (run / "rounds/000/query.csv").read_bytes()
    disk, text = RunDir(run), copy.read_text(encoding="utf-8")
    classes, manifest = disk.facts()["classes"], disk.manifest()
    assert isinstance(classes, list)
    test = manifest.ids[int(manifest.indices("test")[0])]
    copy.write_text(f"{text}9,{test},x,,,{classes[0]}\n", encoding="utf-8")
    assert call("labels", run, copy) == 2 and repr(test) in capsys.readouterr().err
    header, *rows = text.splitlines()
    spreadsheet = "\r\n".join([header, *(row + classes[k % 2] for k, row in enumerate(rows))]).replace(",", ";")
    copy.write_bytes(spreadsheet.encode("utf-16"))
    assert call("labels", run, copy) == 2 and "got UTF-16" in capsys.readouterr().err
    copy.write_bytes(spreadsheet.encode("utf-8-sig"))
    assert call("labels", run, copy) == 0
    (run / "rounds/000/answers/000.csv").rename(tmp_path / "000.csv")
    assert call("run", run, "--quiet") == 2 and "answers/000.csv: expected" in capsys.readouterr().err
    assert call("labels", run, copy) == 2, "nothing takes the place of answers that are gone"
    (tmp_path / "000.csv").rename(run / "rounds/000/answers/000.csv")
    assert call("run", run, "--quiet") == 3


@pytest.mark.slow
def test_a_report_of_a_run_loads_no_code_that_its_recipe_names_and_check_lists_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, run = recipe_file(tmp_path, oracle="worklist", learner="linear"), tmp_path / "run"
    assert call("run", recipe, "--run-dir", run, "--quiet") == 3
    (tmp_path / "evil_of_a_stranger.py").write_text("raise SystemExit('the code of a stranger ran')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    text = unmarked(run / "recipe.yaml")
    write_atomic(
        run / "recipe.yaml", marked(text.replace("query:\n  name: random", "query:\n  name: evil_of_a_stranger:X"))
    )
    capsys.readouterr()
    assert call("report", run, "-o", tmp_path / "report") == 0
    assert (
        "code from outside the package (evil_of_a_stranger:X), which a report does not load" in capsys.readouterr().err
    )
    assert call("check", recipe, "query=evil_of_a_stranger:X", "--run-dir", tmp_path / "other") == 2
    assert "from outside the package, whose code this recipe runs: evil_of_a_stranger:X" in capsys.readouterr().err
