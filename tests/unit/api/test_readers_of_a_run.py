"""People who join and leave a run that several readers share."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_al.api.readers import People, change, standing
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Query, Round
from hybrid_al.errors import InputError
from hybrid_al.oracles.audit import audit
from hybrid_al.oracles.inbox import inbox, owed
from hybrid_al.oracles.ledger import Ledger
from hybrid_al.oracles.readers import assignments, reading_of
from tests.helpers.command import call
from tests.helpers.label_page import client_of, submission
from tests.helpers.readers import readings_of, says, shared_run, together

IDS = ("scan0", "<img src=x onerror=alert(1)>", "scan2", "scan3")
NORMAL = dict.fromkeys(IDS, "normal")


def read_by(run: RunDir, round: int = 0) -> dict[str, tuple[str, ...]]:
    reading = reading_of(run)
    assert reading is not None
    return assignments(run, round, reading)


def ask_again(run: RunDir, round: int = 1) -> None:
    """Commit the round before, and ask about six more."""
    oracle: Any = inbox(run)
    labels = LabelStore(12).add(oracle.annotate(np.arange(4), round - 1))
    digests = {"ledger": Ledger(run).tip()}
    run.commit_round(Round(round - 1, "random", 4, (), len(labels.labeled), {}, 0, {}, digests), labels)
    run.commit_query(round, Query(np.arange(6, 12)), run.manifest())


def test_who_joins_reads_from_the_next_query_on(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run")
    before = read_by(run)
    said = change(run.path, People(add=("dora",)))
    assert said == ["from the query of round 1 on anna, ben, dora read",
                    "the open query of round 0 stays shared as it was asked"]  # fmt: skip
    assert read_by(run) == before and "dora" not in (owed(run, 0) or {})
    for name in ("anna", "ben"):
        says(run, name, NORMAL)
    with pytest.raises(InputError, match="images that dora reads, got 'scan0'"):
        says(run, "dora", {"scan0": "normal"})
    ask_again(run)
    assert {name for names in read_by(run, 1).values() for name in names} == {"anna", "ben", "dora"}
    assert read_by(run) == before and audit(run.path).problems == []
    assert any("from the query of round 1 on" in line for line in audit(run.path).lines())


def test_what_somebody_who_left_owes_is_handed_on_and_said(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run", overlap=0.0)
    mine = [sample for sample, names in read_by(run).items() if names == ("ben",)]
    says(run, "ben", {mine[0]: "pneumonia"})
    with client_of(run, "ben") as page:
        said = change(run.path, People(add=("dora",), gone=("ben",)))
        reply = page.post("/api/answer", json=submission("too-late", mine[1], reader="ben"))
        assert reply.status_code == 409 and "ben left the readers" in reply.json()["error"]
        assert page.get("/api/state").json()["items"] == []
    assert "of the open query dora reads 1 that ben had not" in said and "ben left; what they said stands" in said
    file = run.path / "worklist" / "round_000_dora_from_ben.csv"
    with file.open(encoding="utf-8", newline="") as rows:
        assert [row["id"] for row in csv.DictReader(rows)] == mine[1:]
    assert (owed(run, 0) or {})["dora"] == mine[1:] and "ben" not in (owed(run, 0) or {})
    with pytest.raises(InputError, match="--annotator: expected one of anna, dora, got ben, who left"):
        says(run, "ben", {mine[1]: "normal"})
    says(run, "anna", {sample: "normal" for sample, names in read_by(run).items() if names == ("anna",)})
    says(run, "dora", {mine[1]: "normal"})
    assert owed(run, 0) == {} and sorted(together(run).values()) == [0, 0, 0, 1]
    assert change(run.path, People(add=("ben",)))[0] == "from the query of round 1 on anna, ben, dora read"
    assert standing(run.path)[:3] == [f"{name} reads, 0 to answer in round 0" for name in ("anna", "ben", "dora")]


def test_of_two_who_read_all_one_is_left(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run")
    says(run, "ben", {"scan0": "pneumonia"})
    said = change(run.path, People(gone=("ben",)))
    assert "of picks that 2 should read, 1 can" in said
    assert "of the open query nobody is left to read 3 that ben had not" in said
    says(run, "anna", NORMAL)
    assert together(run) == {0: None, 1: 0, 2: 0, 3: 0} and owed(run, 0) == {}
    ask_again(run)
    assert set(read_by(run, 1).values()) == {("anna",)} and audit(run.path).problems == []


def test_another_one_judges_and_earlier_verdicts_stand(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run", target="adjudicated", adjudicator="carl")
    says(run, "anna", NORMAL)
    says(run, "ben", {**NORMAL, "scan2": "pneumonia", "scan3": "pneumonia"})
    says(run, "carl", {"scan2": "pneumonia"})
    with pytest.raises(InputError, match="--adjudicator: expected who judges in the place of carl, got nobody"):
        change(run.path, People(gone=("carl",)))
    said = change(run.path, People(gone=("carl",), adjudicator="dora"))
    assert "dora judges in the place of carl, whose verdicts stand" in said
    assert owed(run, 0) == {"dora": ["scan3"]}
    says(run, "dora", {"scan3": "normal"})
    assert together(run) == {0: 0, 1: 0, 2: 1, 3: 0}
    assert readings_of(run).reading.judges == ("dora", "carl")


@pytest.mark.parametrize(
    ("people", "told"),
    [
        (People(add=("anna",)), "--add: expected somebody who does not read yet, got anna"),
        (People(gone=("dora",)), "--gone: expected one of anna, ben, got 'dora'"),
        (People(gone=("ben", "anna")), "--gone: expected at least one reader who stays"),
        (People(gone=("ben",), add=("ben",)), "--"),
        (People(add=("a/b",)), "oracle.readers: expected names of 1 to 60 letters"),
        (People(adjudicator="carl"), "oracle.adjudicator: expected nobody, got carl"),
    ],
)
def test_changes_that_are_none(tmp_path: Path, people: People, told: str) -> None:
    run = shared_run(tmp_path / "run")
    with pytest.raises(InputError, match=told):
        change(run.path, people)
    assert Ledger(run).changes() == []


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = shared_run(tmp_path / "run")
    assert call("readers", run.path) == 0 and call("readers", run.path, "--add", "dora") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "anna reads, 4 to answer in round 0" and "anna, ben, dora" in lines[2]
    assert call("readers", tmp_path) == 2
    assert "expected a run directory" in capsys.readouterr().err
