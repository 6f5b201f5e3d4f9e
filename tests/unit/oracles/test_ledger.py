"""One ledger tells all answers: those of the page and those of files, withdrawals, and what nobody was asked about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hybrid_al.api.answers import take
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Round
from hybrid_al.errors import InputError
from hybrid_al.oracles.inbox import inbox
from hybrid_al.oracles.ledger import LEDGER, Ledger, collect
from hybrid_al.oracles.masks import MaskWorklist
from hybrid_al.oracles.worklist import WorklistOracle
from tests.helpers.command import call
from tests.helpers.label_page import SIZE, client_of, open_run, submission


def csv_of(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["id,label", *rows]) + "\n", encoding="utf-8")
    return path


def test_answers_of_files_and_of_the_page_are_one_ledger(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    with client_of(run) as client:
        client.post("/api/answer", json=submission("first")).raise_for_status()
    collect(run)
    take(run.path, csv_of(tmp_path / "scans.csv", "scan0,pneumonia", "scan2,skip"), "bob", replace=True)
    take(run.path, csv_of(tmp_path / "more.csv", "scan2,normal"), "bob")
    entries = Ledger(run).entries()
    assert [(e.sample, e.text, e.reader, e.source, e.kind) for e in entries] == [
        ("scan0", "normal", "anna", "page", "class"),
        ("scan0", "pneumonia", "bob", "scans.csv", "class"),
        ("scan2", "skip", "bob", "scans.csv", "skip"),
        ("scan2", "normal", "bob", "more.csv", "class"),
    ]
    assert [e.supersedes for e in entries] == [None, "answer-first", None, "000/001/1"]
    assert [e.replaces for e in entries] == [False, True, False, True] and entries[2].asked == "reason 2"
    assert collect(run) == 0 and len(Ledger(run).entries()) == 4


def test_what_a_killed_process_did_not_note_is_noted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, killed = open_run(tmp_path / "run"), RuntimeError("killed")

    def kill(*_: object) -> None:
        raise killed

    with monkeypatch.context() as patch:
        patch.setattr("hybrid_al.oracles.worklist.note", kill)
        with pytest.raises(RuntimeError):
            take(run.path, csv_of(tmp_path / "scans.csv", "scan0,pneumonia", "scan2,skip"), "bob")
    assert not (run.path / LEDGER).exists()
    for _ in range(2):
        assert collect(run) == 0
        assert [e.id for e in Ledger(run).entries()] == ["000/000/0", "000/000/1"]


def test_masks_of_a_folder_are_named_with_their_digest(tmp_path: Path) -> None:
    run, folder = open_run(tmp_path / "run", "mask"), tmp_path / "drawn"
    folder.mkdir()
    Image.fromarray(np.ones(SIZE, dtype=np.uint8)).save(folder / "000000.png")
    take(run.path, folder, "bob")
    (entry,) = Ledger(run).entries()
    assert (entry.kind, entry.source, entry.text) == ("mask", "drawn", "rounds/000/answers/000/000000.png")
    assert len(entry.digest) == 64
    with client_of(run) as client:  # the page has drawings of its own alone
        assert not client.get("/api/state").json()["items"][0]["answer"]["file"]


def test_only_where_it_is_said_images_that_nobody_asked_about_are_taken(tmp_path: Path) -> None:
    run, file = open_run(tmp_path / "run"), csv_of(tmp_path / "scans.csv", "scan7,pneumonia", "scan0,normal")
    with pytest.raises(InputError, match=r"\(--unasked takes an answer about another image of the pool\), got 'scan7'"):
        take(run.path, file, "bob")
    assert take(run.path, file, "bob", unasked=True) == (2, 3)
    oracle: Any = inbox(run)
    assert {a.index: a.target for a in oracle.latest(0).values()} == {7: 1, 0: 0}
    with pytest.raises(InputError, match="earlier one, got 'scna'"):
        take(run.path, csv_of(tmp_path / "scans.csv", "scna,normal"), "bob", unasked=True)


def test_a_list_that_grows_from_round_to_round_gives_each_answer_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = open_run(tmp_path / "run")
    rows = [f"scan{i},normal" for i in (0, 2, 3)] + ['"<img src=x onerror=alert(1)>",normal']
    file, oracle = csv_of(tmp_path / "list.csv", *rows), inbox(run)
    assert isinstance(oracle, WorklistOracle) and take(run.path, file, "bob") == (4, 0)
    labels = LabelStore(12).add(oracle.annotate(np.arange(4), 0))
    run.commit_round(Round(0, "random", 4, tuple(run.query_ids(0) or ()), 4, {}, 0, {}), labels)
    assert call("labels", run.path, file, "--annotator", "bob") == 0
    assert capsys.readouterr().out == "4 answers taken, 4 of them as bob gave them before, nothing is new\n"
    assert oracle.latest(1) == {} and len(Ledger(run).entries()) == 4
    changed = csv_of(tmp_path / "list.csv", *rows[1:], "scan0,pneumonia")
    assert call("labels", run.path, changed, "--annotator", "bob") == 0
    assert "3 of them as bob gave them before, in the place of other answers (1 of bob)" in capsys.readouterr().out
    assert {i: a.target for i, a in oracle.latest(1).items()} == {0: 1}
    assert take(run.path, csv_of(tmp_path / "list.csv", "scan0,pneumonia"), "ann") == (1, 0)
    assert oracle.latest(1)[0].annotator == "ann", "another one who says the same is another answer"


def test_masks_that_are_handed_in_again_are_kept_once(tmp_path: Path) -> None:
    run, folder = open_run(tmp_path / "run", "mask"), tmp_path / "drawn"
    folder.mkdir()
    for k in (0, 2):
        Image.fromarray(np.ones(SIZE, dtype=np.uint8)).save(folder / f"00000{k}.png")
        assert take(run.path, folder, "bob") == (1 + k // 2, 3 - k // 2)
    assert [(e.sample, e.text) for e in Ledger(run).entries()] == [
        ("scan0", "rounds/000/answers/000/000000.png"), ("scan2", "rounds/000/answers/001/000002.png")
    ]  # fmt: skip


def test_unasked_masks_are_checked_against_their_images(tmp_path: Path) -> None:
    run, folder = open_run(tmp_path / "run", "mask"), tmp_path / "drawn"
    folder.mkdir()
    Image.fromarray(np.ones(SIZE, dtype=np.uint8)).save(folder / "000007.png")
    box = inbox(run)
    assert isinstance(box, MaskWorklist)
    with pytest.raises(InputError, match="--unasked takes"):
        box.take(folder, "bob")
    for size, is_right in (((9, 9), False), (SIZE, True)):
        picture = np.zeros((*size, 1), dtype=np.uint8)
        for old in run.path.glob("rounds/*/images/000007.png"):
            old.unlink()
        more = replace(box, lists=replace(box.lists, unasked=dict.fromkeys(range(12), picture).__getitem__))
        if is_right:
            assert more.take(folder, "bob") == (1, 4)
        else:
            with pytest.raises(InputError, match="9 x 9"):
                more.take(folder, "bob")


def test_a_withdrawal_is_an_entry_too_and_the_image_waits_again(tmp_path: Path) -> None:
    run: RunDir = open_run(tmp_path / "run")
    with client_of(run) as client:
        client.post("/api/answer", json=submission("first")).raise_for_status()
        collect(run)
        reply = client.post("/api/answer", json=submission("undone", kind="withdrawn")).json()
        assert reply["progress"]["done"] == 0
    assert collect(run) == 1 and collect(run) == 0
    lists: Any = inbox(run)
    assert lists.latest_answers(np.arange(4), 0) == ((), [0, 1, 2, 3])
    assert [e.kind for e in Ledger(run).entries()] == ["class", "withdrawn"]


@pytest.mark.parametrize(("old", "new"), [(b'"text": "pneumonia"', b'"text": "normal"'), (b'"reader"', b'!reader"')])
def test_a_last_line_that_was_changed_or_damaged_is_said(tmp_path: Path, old: bytes, new: bytes) -> None:
    run = open_run(tmp_path / "run")
    take(run.path, csv_of(tmp_path / "scans.csv", "scan0,normal", "scan2,pneumonia"), "bob")
    file = run.path / LEDGER
    head, last = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(head + last.replace(old, new))
    with pytest.raises(InputError, match="answer 2: expected the line as it was written, got a damaged one"):
        Ledger(run).entries()
    file.write_bytes(head + last[:40] + b"\n")  # as a killed process leaves it
    assert len(Ledger(run).entries()) == 1
