"""The pages of several readers: each shows what is theirs, and nothing of another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_al.errors import InputError
from hybrid_al.oracles.inbox import owed
from hybrid_al.oracles.ledger import Ledger, collect
from hybrid_al.page.desk import Desk
from hybrid_al.page.server import usual_listener
from tests.helpers.label_page import SIZE, client_of, submission
from tests.helpers.readers import says, shared_run, together

IDS = ("scan0", "<img src=x onerror=alert(1)>", "scan2", "scan3")


def test_two_read_blind_and_a_third_judges(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run", target="adjudicated", adjudicator="carl")
    for who in (None, "dora"):
        with pytest.raises(InputError, match="--reader: expected one of anna, ben, carl, got"):
            Desk(run, reader=who, size=lambda _: SIZE)
    with client_of(run, "anna") as anna, client_of(run, "ben") as ben, client_of(run, "carl") as carl:
        assert carl.get("/api/state").json()["phase"] == "none"
        for k, sample in enumerate(IDS):
            reply = anna.post("/api/answer", json=submission(f"a{k}-of-anna", sample)).json()
            assert reply["progress"] == {"round": 0, "done": k + 1, "total": 4, "pace": 2.0}
        state = ben.get("/api/state").json()
        assert [item["answer"] for item in state["items"]] == [None] * 4 and state["progress"]["done"] == 0
        assert ben.get("/api/item/0").json()["similar"] == []
        mine = anna.get("/api/state").json()
        assert (
            mine["phase"] == "answered" and mine["waits"] and mine["standing"] == ["round 0 waits for readings: ben 4"]
        )
        assert anna.post("/api/train").status_code == 422
        for k, sample in enumerate(IDS):
            classes = ["pneumonia" if k < 2 else "normal"]
            reply = ben.post("/api/answer", json=submission(f"b{k}-of-ben", sample, classes=classes, reader="ben"))
            assert reply.status_code == 200, reply.text
        judged = carl.get("/api/state").json()
        assert judged["progress"] == {"round": 0, "done": 0, "total": 2, "pace": None}  # others are no measure of hers
        items = judged["items"]
        assert [(item["sample"], item["answer"], item["reason"]) for item in items] == [
            (sample, None, "the readers differ") for sample in IDS[:2]
        ]
        assert carl.post("/api/answer", json=submission("c2-of-carl", "scan2", reader="carl")).status_code == 422
        for k in range(2):
            carl.post(
                "/api/answer", json=submission(f"c{k}-of-carl", IDS[k], classes=["pneumonia"], reader="carl")
            ).raise_for_status()
        assert not carl.get("/api/state").json()["waits"]
    collect(run)
    assert together(run) == {0: 1, 1: 1, 2: 0, 3: 0} and owed(run, 0) == {}
    assert [e.reader for e in Ledger(run).entries()] == ["anna"] * 4 + ["ben"] * 4 + ["carl"] * 2


def test_page_and_file_of_one_reader_are_one_reading(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run")
    with client_of(run, "anna") as anna, client_of(run, "ben") as ben:
        anna.post("/api/answer", json=submission("of-anna")).raise_for_status()
        says(run, "ben", {"scan0": "pneumonia"})
        collect(run)
        says(run, "anna", {"scan0": "pneumonia"})
        assert anna.get("/api/state").json()["items"][0]["answer"]["text"] == "pneumonia"
        ben.post("/api/answer", json=submission("undo-ben", kind="withdrawn", reader="ben")).raise_for_status()
        assert anna.get("/api/state").json()["items"][0]["answer"]["text"] == "pneumonia"
        assert ben.get("/api/state").json()["items"][0]["answer"] is None
    collect(run)
    assert owed(run, 0) == {"anna": list(IDS[1:]), "ben": list(IDS)}
    first, _, third, fourth = Ledger(run).entries()
    assert third.supersedes == first.id and (fourth.kind, fourth.reader) == ("withdrawn", "ben")


def test_a_run_and_its_reader_have_a_port_of_their_own(tmp_path: Path) -> None:
    with usual_listener(tmp_path, "anna") as first, usual_listener(tmp_path, "ben") as ben:
        port = first.getsockname()[1]
        with usual_listener(tmp_path, "anna") as other:
            assert len({port, ben.getsockname()[1], other.getsockname()[1]}) == 3
    with usual_listener(tmp_path, "anna") as again:
        assert again.getsockname()[1] == port
