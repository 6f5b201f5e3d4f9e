"""`data.ids: hashed`: no file of a run names a sample, and the person with data and salt still can."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybrid_al as hal
from hybrid_al.api.answers import take
from hybrid_al.api.export import export
from hybrid_al.assemble import open_project
from hybrid_al.core.hidden import VARIABLE, Hider, in_clear
from hybrid_al.core.rundir import RunDir
from hybrid_al.errors import AwaitingLabels, InputError
from hybrid_al.recipe import load
from hybrid_al.report.overview import write_reports
from tests.helpers.dicom import write
from tests.helpers.tiny import recipe_of

SECRETS = ("Miller", "patientname", "MRN4711", "secretscan")


@pytest.fixture(autouse=True)
def salt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "config" / "salt"))
    return tmp_path / "config" / "salt"


def _dicoms(root: Path, n: int = 18) -> Path:
    rng = np.random.default_rng(0)
    lines = ["file,dx"]
    for k in range(n):
        file = write(root / f"Miller_{k // 2}" / f"secretscan{k}.dcm", rng.integers(0, 999, (16, 16), dtype=np.int16),
                     PatientID=f"MRN4711-{k // 2}", PatientName="patientname", Modality="CT")  # fmt: skip
        lines.append(f"{file.relative_to(root)},{'ab'[k // 2 % 2]}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def _recipe(root: Path, **changes: object) -> dict[str, Any]:
    data = {"source": "dicom", "root": str(root), "sample": "file", "table": str(root / "labels.csv"),
            "columns": {"file": "file", "label": "dx"}, "holdout": {"test": 0.3},
            "image_size": 16, "ids": "hashed"}  # fmt: skip
    return recipe_of("classification", data=data, modality="ct", **changes)


def _leaks(folder: Path) -> list[str]:
    leaks = []
    for file in folder.rglob("*"):
        contents = [file.read_bytes()] if file.is_file() else []
        if file.suffix == ".npz":
            with zipfile.ZipFile(file) as archive:
                contents = [archive.read(name) for name in archive.namelist()]
        texts = [str(file.relative_to(folder)).encode(), *contents]
        leaks += [f"{file}: {s}" for s in SECRETS for text in texts if s.encode() in text]
    return leaks


@pytest.mark.slow
def test_no_file_of_a_run_holds_a_name_and_picks_are_those_of_plain_ids(
    tmp_path: Path, salt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = _dicoms(tmp_path / "data")
    hidden = hal.run(_recipe(root, learner="frozen"), run_dir=tmp_path / "runs" / "hidden")
    assert salt.stat().st_mode & 0o777 == 0o600 and str(salt) in capsys.readouterr().err
    write_reports([tmp_path / "runs" / "hidden"], None)
    export(tmp_path / "runs" / "hidden", out=tmp_path / "runs" / "export")
    assert _leaks(tmp_path / "runs") == []
    recipe = _recipe(root, learner="frozen")
    recipe["data"] = {k: v for k, v in recipe["data"].items() if k != "ids"}
    plain = hal.run(recipe, run_dir=tmp_path / "plain" / "p")
    hider = Hider.load(tmp_path / "nothing")
    assert [hider.id(i) for r in plain.rounds for i in r.query] == [i for r in hidden.rounds for i in r.query]
    export(tmp_path / "runs" / "hidden", out=tmp_path / "named", names=True)
    with (tmp_path / "named" / "labels.csv").open(encoding="utf-8") as rows:
        assert all(row["id"].startswith("Miller_") for row in csv.DictReader(rows))


def test_a_person_answers_with_plain_ids_or_hashed_ones(tmp_path: Path) -> None:
    root = _dicoms(tmp_path / "data")
    recipe, folder = _recipe(root, oracle={"name": "worklist"}, learner="frozen"), tmp_path / "runs" / "w"
    with pytest.raises(AwaitingLabels):
        hal.run(recipe, run_dir=folder)
    project = open_project(load(recipe), run_dir=folder)
    manifest, names = project.dataset.manifest, project.dataset.plain
    asked = RunDir(folder).query_ids(0) or ()
    lines = [names.ids[manifest.position[i]] if k % 2 else i for k, i in enumerate(asked)]
    file = tmp_path / "answers.csv"
    file.write_text("id,label\n" + "".join(f"{i},a\n" for i in lines), encoding="utf-8")
    assert take(folder, file, "me") == (4, 0)
    assert _leaks(tmp_path / "runs") == []


def test_a_run_wants_its_own_salt(tmp_path: Path, salt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, folder = _dicoms(tmp_path / "data", 8), tmp_path / "runs" / "r"
    recipe = load(_recipe(root))
    project = open_project(recipe, run_dir=folder)
    assert in_clear(recipe.data.params) == [
        f"  ids are hashed, but the run keeps data.root: {root}, data.table: {root / 'labels.csv'}:"
        " no person's name should stand there"
    ]
    project.claim()
    salt.rename(tmp_path / "kept")
    with pytest.raises(InputError, match=r"the salt that the ids of .* no such file"):
        open_project(recipe, run_dir=folder)
    salt.write_text("0" * 32, encoding="utf-8")
    with pytest.raises(InputError, match=VARIABLE):
        open_project(recipe, run_dir=folder).check_run()
    salt.write_text("short", encoding="utf-8")
    with pytest.raises(InputError, match="16 bytes"):
        open_project(recipe, run_dir=folder)
    monkeypatch.setenv(VARIABLE, str(folder / "salt"))
    with pytest.raises(InputError, match="outside the run directory"):
        open_project(recipe, run_dir=folder)
