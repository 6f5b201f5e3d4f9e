"""Answers through the page's API: what is taken, what is refused and how, and what the run makes of them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from hybrid_al.core.labels import LabelStore
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Annotation, Round
from hybrid_al.data.answers import read_answer, read_boxes
from hybrid_al.errors import InputError
from hybrid_al.oracles.inbox import inbox
from hybrid_al.oracles.ledger import Ledger, collect, effort
from hybrid_al.page.desk import Desk
from hybrid_al.report.overview import answers_of
from tests.helpers.label_page import CLASSES, SIZE, client_of, mask_of, open_run, submission

ODD = "<img src=x onerror=alert(1)>"


def post(client: TestClient, answer: dict[str, Any], status: int = 200) -> dict[str, Any]:
    reply = client.post("/api/answer", json=answer)
    assert reply.status_code == status, reply.text
    plain: dict[str, Any] = reply.json()
    assert "\n" not in plain.get("error", "")
    return plain


def answers(run: RunDir) -> dict[str, tuple[str, object, str]]:
    """What the run's own oracle reads: sample -> kind, target, who."""
    collect(run)
    oracle: Any = inbox(run)
    lists, ids = getattr(oracle, "lists", oracle), run.manifest().ids
    return {ids[a.index]: (a.kind, a.target, a.annotator) for a in lists.answers(0)}


def test_an_answered_query_is_that_of_a_csv(tmp_path: Path) -> None:
    run, other = open_run(tmp_path / "page"), open_run(tmp_path / "csv")
    with client_of(run) as client:
        reply = post(client, submission("first", comment="blurred"))
        assert reply["progress"] == {"round": 0, "done": 1, "total": 4, "pace": 2.0}
        post(client, submission("second", ODD, classes=[CLASSES[2]]))
        post(client, submission("third", "scan2", kind="skip", reason="unusable", classes=[]))
        assert not (run.round_path(0) / "answers").exists()
        assert answers_of(run, 0) == {"scan0": "normal", ODD: CLASSES[2], "scan2": "skip"}
        post(client, submission("fourth", "scan3", classes=["pneumonia"]))
        state = client.get("/api/state").json()
    assert state["phase"] == "answered"
    (tmp_path / "labels.csv").write_text(f"id,label\nscan0,normal\n{ODD},{CLASSES[2]}\nscan2,skip\nscan3,pneumonia\n")
    inbox(other).take(tmp_path / "labels.csv", "anna")
    assert answers(run) == answers(other)
    first, _, third, _ = Ledger(run).entries()
    assert (first.comment, first.asked, first.seconds) == ("blurred", "reason 0", 2.0)
    assert (third.kind, third.reason) == ("skip", "unusable")
    (file,) = (run.round_path(0) / "answers").glob("*.csv")
    assert first.time in file.read_text() and first.id in file.read_text()


def test_several_labels_and_none(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", "classes")
    with client_of(run) as client:
        post(client, submission("first", classes=["pneumonia", "normal"]))
        post(client, submission("second", "scan2", classes=[]))
        post(client, submission("third", "scan3", classes=["normal", "normal"]), 422)
    assert answers(run) == {"scan0": ("classes", (0, 1), "anna"), "scan2": ("classes", (), "anna")}


def test_masks_with_what_is_not_known(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", "mask")
    labels = np.zeros(SIZE, dtype=np.uint8)
    labels[2:4, 1:5], labels[0] = 2, 255
    dark = np.where(labels == 255, 255, 0).astype(np.uint8)  # 0 and 255 alone, which a file would not say
    with client_of(run) as client:
        reply = post(client, submission("first", classes=[], mask=mask_of(labels), proposal="edited"))
        assert client.get("/drawn/0").content and client.get("/drawn/3").status_code == 204
        post(client, submission("second", "scan2", classes=[], mask=mask_of(dark)))
        post(client, submission("third", "scan3", kind="skip", classes=[], reason="unsure"))
    assert reply["saved"] == "answer-first"
    taken = answers(run)
    np.testing.assert_array_equal(read_answer(run.path / str(taken["scan0"][1])), labels)
    np.testing.assert_array_equal(read_answer(run.path / str(taken["scan2"][1])), dark)
    assert taken["scan3"][0] == "skip"
    assert Ledger(run).entries()[0].proposal == "edited"


def test_acceptance_and_seconds_are_those_of_the_answers_that_count(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", "mask")
    assert effort(run, 0) == {}
    drawn: dict[str, Any] = {"classes": [], "mask": mask_of(np.ones(SIZE))}
    with client_of(run) as client:
        post(client, submission("first", **drawn, proposal="accepted", seconds=50.0))
        post(client, submission("second", **drawn, proposal="edited", seconds=9.0))
        post(client, submission("third", "scan2", **drawn, proposal="accepted", seconds=4.0))
        post(client, submission("fourth", "scan3", **drawn, seconds=0.0))
    shares = {"people/accepted": 0.5, "people/edited": 0.5, "people/discarded": 0.0}
    assert effort(run, 0) == {**shares, "people/seconds": 6.5}
    collect(run)
    assert effort(run, 0) == {**shares, "people/seconds": 6.5} and effort(run, 1) == {}


def test_a_drawing_that_changed_on_the_disk_is_refused(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", "mask")
    with client_of(run) as client:
        post(client, submission("first", classes=[], mask=mask_of(np.ones(SIZE))))
        (file,) = (run.round_path(0) / "drawn").iterdir()
        content = file.read_bytes()
        file.write_bytes(b"other")
        with pytest.raises(InputError, match="the file that anna drew, got another one"):
            collect(run)
        file.write_bytes(content)


def test_boxes(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", "box")
    box = {"name": "pneumonia", "left": 0, "top": 0, "right": 4, "bottom": 3}
    with client_of(run) as client:
        post(client, submission("first", classes=[], boxes=[box]))
        post(client, submission("second", "scan2", classes=[], boxes=[]))
        for change in ({"right": 9}, {"left": 5}, {"name": "normal"}, {"name": "nodule"}):
            post(client, submission("third", "scan3", classes=[], boxes=[box | change]), 422)
    taken = answers(run)
    assert len(read_boxes(run.path / str(taken["scan0"][1]))) == 1
    assert len(read_boxes(run.path / str(taken["scan2"][1]))) == 0


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown id": ("class", {"sample": "scna2"}, "did you mean 'scan2'"),
    "not asked": ("class", {"sample": "scan7"}, "an image of the query of round 0, got 'scan7', not asked about"),
    "unknown class": ("class", {"classes": ["pneumnia"]}, "did you mean 'pneumonia'"),
    "two classes": ("class", {"classes": ["normal", "pneumonia"]}, "one class"),
    "a class of another task": ("mask", {}, "a mask of the image, got nothing"),
    "size": ("mask", {"mask": mask_of(np.zeros((8, 6)))}, "expected 6 x 8 pixels as its image has, got 8 x 6"),
    "too few pixels": ("mask", {"mask": {**mask_of(np.zeros(SIZE)), "pixels": "AAAA"}}, "expected 48 pixels, got 3"),
    "no base64": ("mask", {"mask": {**mask_of(np.zeros(SIZE)), "pixels": "§"}}, "base64"),
    "unknown number": ("mask", {"mask": mask_of(np.full(SIZE, 7))}, "classes 0 to 2, or 255, got 7"),
    "nothing drawn": ("mask", {"mask": mask_of(np.full(SIZE, 255))}, "at least one pixel with a class"),
    "key": ("class", {"clases": []}, "did you mean 'classes'"),
    "type": ("class", {"seconds": "long"}, "answer.seconds: expected a number of 0 to 1000000.0, got 'long'"),
    "infinite": ("class", {"seconds": 1e9}, "seconds"),
    "id": ("class", {"id": "../x"}, "answer.id"),
    "reader": ("class", {"reader": " "}, "a name of 1 to 60 letters"),
    "a reader of two lines": ("class", {"reader": "a\nb"}, "a name of 1 to 60 letters"),
    "reason": ("class", {"kind": "skip", "reason": "tired"}, "reason"),
    "nothing to withdraw": ("class", {"kind": "withdrawn"}, "an answer of anna, got none"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_is_one_line_and_nothing_is_kept(tmp_path: Path, name: str) -> None:
    kind, change, why = BAD[name]
    run = open_run(tmp_path / "run", kind)
    with client_of(run) as client:
        reply = post(client, submission("first", **change), 422)
        assert why in reply["error"] and reply["kind"] == "bad"
        assert client.post("/api/answer", content="no json").status_code == 422
        assert client.post("/api/answer", json=[1]).status_code == 422
    assert not (run.path / "ledger.jsonl").exists()


def test_sent_twice_it_is_one_answer_and_an_id_belongs_to_one(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    with client_of(run) as client, client_of(run) as other:
        for tab in (client, other, client):
            assert post(tab, submission("first"))["progress"]["done"] == 1
        assert "that of another answer" in post(other, submission("first", "scan2"), 422)["error"]
    assert len(Ledger(run).entries()) == 1


def test_undo_corrections_and_what_the_run_has_taken(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    with client_of(run) as client:
        post(client, submission("first"))
        assert post(client, submission("undone", kind="withdrawn"))["progress"]["done"] == 0
        post(client, submission("second"))
        post(client, submission("third", classes=["pneumonia"]))
        with run.lock():
            assert collect(run) == 1 and collect(run) == 0
        assert post(client, submission("fourth", kind="withdrawn"))["progress"]["done"] == 0
        assert "got none" in post(client, submission("none", kind="withdrawn"), 422)["error"]
        post(client, submission("fifth"))
        (item, *_) = client.get("/api/state").json()["items"]
        assert item["answer"]["text"] == "normal" and not item["answer"]["taken"]
    assert [e.supersedes for e in Ledger(run).entries()] == [
        None, "answer-first", None, "answer-second", "answer-third", None,
    ]  # fmt: skip
    assert answers(run)["scan0"] == ("class", 0, "anna")


def test_another_reader_is_asked_before_an_answer_is_replaced(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    with client_of(run, "anna") as anna, client_of(run, "bob") as bob:
        post(anna, submission("first"))
        assert "expected bob, whose page this is" in post(bob, submission("of-anna"), 422)["error"]
        assert post(bob, submission("same", reader="bob"))["progress"]["done"] == 1  # agrees
        post(anna, submission("again", "scan2"))
        reply = post(bob, submission("second", "scan2", classes=["pneumonia"], reader="bob"), 409)
        assert reply["kind"] == "other" and "anna answered normal about scan2" in reply["error"]
        post(bob, submission("third", "scan2", classes=["pneumonia"], replace=True, reader="bob"))
        post(bob, submission("undo", kind="withdrawn", reader=""))
    assert answers(run)["scan2"] == ("class", 1, "bob")
    assert [e.reader for e in Ledger(run).entries()] == ["anna", "bob", "anna", "bob", "bob"]


def test_an_answer_of_a_file_is_not_replaced_silently_either(tmp_path: Path) -> None:
    run, file = open_run(tmp_path / "run"), tmp_path / "labels.csv"
    file.write_text("id,label\nscan0,pneumonia\n")
    inbox(run).take(file, "bob")
    with client_of(run) as client:
        assert "bob answered pneumonia" in post(client, submission("first"), 409)["error"]
        post(client, submission("second", replace=True))
    assert answers(run)["scan0"] == ("class", 0, "anna")


def test_a_page_that_is_older_than_the_round_is_told(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    with client_of(run) as client:
        post(client, submission("first"))
        labels = LabelStore(12).add([Annotation(3, "class", 0, "bob", 0)])
        run.commit_round(Round(0, "random", 4, (), 1, {}, 0, {}), labels)
        reply = post(client, submission("second", "scan2"), 409)
        assert reply["kind"] == "stale" and "round 0 is over" in reply["error"]
        assert client.get("/api/state").json()["phase"] == "none"
        assert post(client, submission("third", "scan2", round=1), 409)["kind"] == "stale"


def test_a_line_that_a_kill_left_half_written_costs_nothing(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    with client_of(run) as client:
        post(client, submission("first"))
        with (run.path / "ledger.jsonl").open("ab") as file:
            file.write(b'{"id": "answer-second", "round": 0, "sam')
        post(client, submission("second", "scan2"))
    assert [e.id for e in Ledger(run).entries()] == ["answer-first", "answer-second"]


def test_a_changed_ledger_is_seen(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    with client_of(run) as client:
        for k in range(3):
            post(client, submission(f"answer{k}", f"scan{k if k != 1 else 3}"))
    lines = (run.path / "ledger.jsonl").read_text().splitlines()
    changed = json.dumps(json.loads(lines[1]) | {"text": "pneumonia", "check": ""})
    (run.path / "ledger.jsonl").write_text("\n".join([lines[0], changed, lines[2]]) + "\n")
    with pytest.raises(InputError, match=r"ledger.jsonl, answer 3: expected .* got a ledger that was changed"):
        Ledger(run).entries()


def test_answers_and_looks_at_the_state_do_not_wait_for_each_other(tmp_path: Path) -> None:
    desk = Desk(open_run(tmp_path / "run"), reader="anna", size=lambda _: SIZE)
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            desk.state()

    def answer(worker: int) -> None:
        for k in range(40):
            desk.answer(submission(f"{worker}-{k:04d}", "scan0", classes=[CLASSES[k % 2]]))

    looks = [threading.Thread(target=look, daemon=True) for _ in range(2)]
    answers = [threading.Thread(target=answer, args=(worker,), daemon=True) for worker in range(2)]
    for thread in (*looks, *answers):
        thread.start()
    for thread in answers:
        thread.join(timeout=30)
    over.set()
    for thread in looks:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in (*answers, *looks))
    assert desk.progress()["done"] == 1
