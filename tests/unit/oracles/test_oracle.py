"""Oracles: simulated answers, a person's answers through files, corrections, and every way to get them wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

from hybrid_al.api.answers import take
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.manifest import Manifest
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Annotation, Query, Round
from hybrid_al.errors import AwaitingLabels, InputError
from hybrid_al.oracles.inbox import Boxes, Masks, Words, inbox, spec_of
from hybrid_al.oracles.simulated import SimulatedOracle
from hybrid_al.oracles.wording import WORDINGS, refuse_reserved
from hybrid_al.oracles.worklist import WorklistOracle, corrections, rows_behind

IDS = tuple(f"img{i}" for i in range(6))


@pytest.fixture
def worklist(tmp_path: Path) -> WorklistOracle:
    """A run whose round 0 asks for img1 and img3."""
    manifest = Manifest(IDS, IDS, IDS, ("pool",) * 6, IDS)
    run = RunDir(tmp_path / "run")
    run.commit_query(0, Query(np.asarray([1, 3])), manifest)
    return WorklistOracle(run, manifest, ("normal", "tumour"))


def answers(tmp_path: Path, *rows: str, header: str = "id,label") -> Path:
    file = tmp_path / "answers.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def test_simulated_answers_and_skips() -> None:
    oracle = SimulatedOracle(np.asarray([0, 1, -1]))
    got = oracle.annotate(np.asarray([1, 2]), 0)
    assert [(a.index, a.kind, a.target) for a in got] == [(1, "class", 1), (2, "skip", None)]
    assert oracle.score(np.asarray([0, 1, 2]), np.asarray([0, 0, 0])) == {-1: 0.5, 0: 0.5}
    assert oracle.score(np.asarray([2]), np.asarray([0])) == {}


def test_a_person_answers_in_parts(worklist: WorklistOracle, tmp_path: Path) -> None:
    query = np.asarray([1, 3])
    with pytest.raises(AwaitingLabels, match=r"(?s)waits for 2 of 2 labels: .*worklist/round_000.*hybrid-al label "):
        worklist.annotate(query, 0)
    assert worklist.take(answers(tmp_path, "img3,tumour", "img1,"), "me") == (1, 1)
    with pytest.raises(AwaitingLabels, match="waits for 1 of 2 labels"):
        worklist.annotate(query, 0)
    assert worklist.take(answers(tmp_path, "img1,skip"), "me") == (1, 0)
    got = {a.index: a for a in worklist.annotate(query, 0)}
    assert got[3].target == 1 and got[3].annotator == "me" and got[1].kind == "skip"


def test_the_filled_in_query_file_is_an_answer_file(worklist: WorklistOracle, tmp_path: Path) -> None:
    text = (worklist.run.round_path(0) / "query.csv").read_text().splitlines()
    filled = tmp_path / "filled.csv"
    filled.write_text("﻿" + "\r\n".join([text[0], *(line + "normal" for line in text[1:])]))
    assert worklist.take(filled, "me") == (2, 0)


def test_a_later_answer_counts_and_an_earlier_label_can_be_corrected(worklist: WorklistOracle, tmp_path: Path) -> None:
    worklist.take(answers(tmp_path, "img1,normal", "img3,normal"), "me")
    worklist.take(answers(tmp_path, "img1,tumour"), "me")
    first = LabelStore(6).add(worklist.annotate(np.asarray([1, 3]), 0))
    assert first.current[1].target == 1
    worklist.run.commit_round(Round(0, "random", 2, ("img1", "img3"), 2, {}, 0, {}), first)

    worklist.run.commit_query(1, Query(np.asarray([5])), worklist.manifest)
    worklist.take(answers(tmp_path, "img5,normal", "img3,tumour"), "me")
    second = first.add(worklist.annotate(np.asarray([5]), 1))
    assert second.current[3].target == 1
    assert second.as_of(0).current[3].target == 0
    assert second.labeled.tolist() == [1, 3, 5]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["img1,normal", "img4,normal"], r"line 3: expected an id of the open query .*'img4'"),
        (["img9,normal"], r"line 2: expected an id of the open query .*'img9'"),
        (["img1,tumor"], r"line 2: .*'tumor'; did you mean 'tumour'"),
        (["img1,normal", "img1,tumour"], r"line 3: expected one label for 'img1'"),
        (["img1,", "img3, "], r"at least one label, got none"),
    ],
)
def test_a_wrong_answer_file_changes_nothing(
    worklist: WorklistOracle, tmp_path: Path, rows: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        worklist.take(answers(tmp_path, *rows), "me")
    assert not (worklist.run.round_path(0) / "answers").exists()


def test_a_file_without_the_columns_or_that_is_no_text(worklist: WorklistOracle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="columns id and label, got image, class"):
        worklist.take(answers(tmp_path, "img1,normal", header="image,class"), "me")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        worklist.take(tmp_path / "bytes.csv", "me")
    with pytest.raises(InputError, match="nothing there"):
        worklist.take(tmp_path / "gone.csv", "me")


def test_a_list_that_a_spreadsheet_saved(tmp_path: Path) -> None:
    ids = ("0001", "0002", "0030")
    manifest = Manifest(ids, ids, ids, ("pool",) * 3, ids)
    run = RunDir(tmp_path / "run")
    facts: dict[str, object] = {"name": "x", "seed": 0, "task": "classification", "classes": ["normal", "tumour"],
        "manifest": manifest.fingerprint, "recipe": {}, "versions": {}, "inbox": spec_of(Words("class"))}  # fmt: skip
    run.claim(facts, "name: x\n", manifest)
    run.commit_query(0, Query(np.arange(3)), manifest)
    book = openpyxl.Workbook()
    sheet: Any = book.active
    for row in (("id", "label"), ("0001", "normal"), (2, "tumour")):
        sheet.append(row)
    book.save(tmp_path / "list.xlsx")
    with pytest.raises(InputError, match=r"got '2' \(of '0002' a spreadsheet dropped the zeros"):
        take(run.path, tmp_path / "list.xlsx", "me")
    sheet["A3"] = "0002"
    book.save(tmp_path / "list.xlsx")
    assert take(run.path, tmp_path / "list.xlsx", "me") == (2, 1)
    (tmp_path / "list.jsonl").write_text('{"id": "0030", "label": "normal"}\n{"id": "0001", "label": ""}\n')
    assert take(run.path, tmp_path / "list.jsonl", "me") == (1, 0)


def replaced(worklist: WorklistOracle) -> dict[str, int]:
    """Whose answers the last file changed."""
    return corrections(rows_behind(worklist.run, -1))


def test_others_are_not_overruled_in_silence(worklist: WorklistOracle, tmp_path: Path) -> None:
    worklist.take(answers(tmp_path, "img1,normal", "img3,tumour"), "anna")
    worklist.take(answers(tmp_path, "img1,normal"), "ben")  # they agree
    ben = answers(tmp_path, "img1,tumour", "img3,normal")
    with pytest.raises(
        InputError, match=r"--replace .* others than 1 of ben, 1 of anna, the first about 'img1'; nothing"
    ) as e:
        worklist.take(ben, "carl")
    assert e.value.exit_code == 2 and len(list((worklist.run.round_path(0) / "answers").glob("*.csv"))) == 2
    assert worklist.take(ben, "carl", replace=True) == (2, 0) and replaced(worklist) == {"ben": 1, "anna": 1}
    worklist.take(answers(tmp_path, "img1,skip", "img3,normal"), "carl")  # of his own he may
    assert replaced(worklist) == {"carl": 1}
    worklist.take(answers(tmp_path, "img3,tumour"), "carl")
    assert replaced(worklist) == {"carl": 1}


def test_answers_after_the_last_round_are_corrections_of_the_next(worklist: WorklistOracle, tmp_path: Path) -> None:
    worklist.take(answers(tmp_path, "img1,normal", "img3,normal"), "anna")
    first = LabelStore(6).add(worklist.annotate(np.asarray([1, 3]), 0))
    worklist.run.commit_round(Round(0, "random", 2, ("img1", "img3"), 2, {}, 0, {}), first)
    late = answers(tmp_path, "img1,tumour")
    with pytest.raises(InputError, match="others than 1 of anna, the first about 'img1'"):
        worklist.take(late, "ben")
    assert worklist.take(late, "anna") == (1, 0) and replaced(worklist) == {"anna": 1}
    with pytest.raises(InputError, match=r"of an earlier one .--unasked takes .*, got 'img5'"):
        worklist.take(answers(tmp_path, "img5,tumour"), "anna")
    worklist.run.commit_query(1, Query(np.asarray([5])), worklist.manifest)
    worklist.take(answers(tmp_path, "img5,normal"), "ben")
    assert first.add(worklist.annotate(np.asarray([5]), 1)).current[1].target == 1


def test_ids_are_the_same_in_either_form_of_their_letters(tmp_path: Path) -> None:
    apart = "bo\u0308se"
    manifest, run = Manifest((apart,), (apart,), ("1",), ("pool",), ("1",)), RunDir(tmp_path / "run")
    run.commit_query(0, Query(np.asarray([0])), manifest)
    oracle = WorklistOracle(run, manifest, ("normal", "tumour"))
    assert oracle.take(answers(tmp_path, "b\u00f6se,tumour"), "me") == (1, 0)
    assert oracle.annotate(np.asarray([0]), 0)[0].target == 1


def test_cells_that_no_column_names_are_not_dropped(worklist: WorklistOracle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 3: expected 2 cells as the header has, with commas between them, got 3"):
        worklist.take(answers(tmp_path, "img1,normal", "img3,normal,tumour"), "me")
    assert worklist.take(answers(tmp_path, "img1;normal", "img3;tumour", header="id;label"), "me") == (2, 0)


@pytest.mark.parametrize(
    ("classes", "kind", "match"),
    [
        (("a", "skip"), "class", "other than skip, which say no class .*'skip'"),
        (("a", "none"), "classes", "other than none and skip"),
        (("a;b", "c"), "classes", "names without ; in them"),
        (("a ", "c"), "class", "'a '"),
    ],
)
def test_classes_that_an_answer_cannot_name(classes: tuple[str, ...], kind: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        refuse_reserved(classes, WORDINGS[kind])
    refuse_reserved(("a", "none"), WORDINGS["class"])


def test_no_open_query(worklist: WorklistOracle, tmp_path: Path) -> None:
    worklist.run.commit_round(Round(0, "random", 2, ("img1", "img3"), 0, {}, 0, {}), LabelStore(6))
    with pytest.raises(InputError, match="no open query in round 1"):
        worklist.take(answers(tmp_path, "img1,normal"), "me")


def test_supersedes_is_filled_in_by_the_store() -> None:
    store = LabelStore(3).add([Annotation(0, "class", 1, "a", 0), Annotation(0, "class", 0, "b", 0)])
    assert store.annotations[1].supersedes == 0


@pytest.fixture
def several(worklist: WorklistOracle) -> WorklistOracle:
    """The same run where samples have several labels."""
    return WorklistOracle(worklist.run, worklist.manifest, ("mass", "old clip", "oedema"), WORDINGS["classes"])


def test_several_labels_are_a_list_and_the_rest_is_not_there(several: WorklistOracle, tmp_path: Path) -> None:
    query = np.asarray([1, 3])
    with pytest.raises(AwaitingLabels, match=r"'label' of .*round_000.csv \(the labels that are there, ; between"):
        several.annotate(query, 0)
    assert several.take(answers(tmp_path, "img3,oedema; mass", "img1,", "img3,mass;oedema"), "me") == (1, 1)
    assert several.take(answers(tmp_path, "img1,none"), "me") == (1, 0)
    store = LabelStore(6).add(several.annotate(query, 0))
    assert [(a.index, a.kind, a.target) for a in store.annotations] == [(3, "classes", (0, 2)), (1, "classes", ())]
    np.testing.assert_array_equal(store.label_targets(3), [[1, 0, 1], [0, 0, 0]])
    several.take(answers(tmp_path, "img1,old clip", "img3,skip"), "you", replace=True)
    again = {a.index: a for a in several.annotate(query, 0)}
    assert again[1].target == (1,) and again[3].kind == "skip" and again[3].annotator == "you"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["img1,mass", "img3,oedma"], r"line 3: expected one of mass, none, oedema, .*skip, got 'oedma'; did you mean"),
        (["img1,mass;none"], r"line 2: expected one of mass, oedema, old clip, got 'none'"),
        (["img1,mass;skip"], r"line 2: expected one of mass, oedema, old clip, got 'skip'"),
        (["img1,mass;"], r"line 2: expected one of .*, got ''"),
        (["img1,mass;oedema;mass"], r"line 2: expected each label once, got 'mass' twice"),
        (["img1,mass", "img1,mass;oedema"], r"line 3: expected one label for 'img1', got 'mass' and 'mass;oedema'"),
        (["img1,mass", "img1,none"], r"line 3: expected one label for 'img1', got 'mass' and 'none'"),
    ],
)
def test_a_wrong_list_of_labels_changes_nothing(
    several: WorklistOracle, tmp_path: Path, rows: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        several.take(answers(tmp_path, *rows), "me")
    assert not (several.run.round_path(0) / "answers").exists()


FACTS = {"name": "x", "seed": 0, "task": "classification", "classes": ["a", "b"], "recipe": {}}


@pytest.mark.parametrize("settings", [Words("class"), Words("classes"), Masks("points", 32, {0: 0, 7: 1}), Boxes(32)])
def test_a_run_says_how_it_is_answered(worklist: WorklistOracle, settings: Words | Masks | Boxes) -> None:
    ids, run = worklist.manifest, RunDir(worklist.run.path / "other")
    facts = {**FACTS, "manifest": ids.fingerprint, "inbox": spec_of(settings)}
    run.claim(facts, "", ids)
    assert inbox(run) == settings.open(run)


def test_a_run_that_does_not_say_how_it_is_answered_is_refused(worklist: WorklistOracle) -> None:
    ids, run = worklist.manifest, RunDir(worklist.run.path / "other")
    run.claim({**FACTS, "manifest": ids.fingerprint}, "", ids)
    with pytest.raises(InputError, match="expected a run that says how its answers come in"):
        inbox(run)
