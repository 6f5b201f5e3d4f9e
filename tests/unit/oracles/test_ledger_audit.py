"""The audit of a run: a whole one is told in a few lines, and whatever was changed is named."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from hybrid_al.api.audit import write
from hybrid_al.core.files import write_json
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.seals import OWN
from hybrid_al.core.types import Annotation, Round
from hybrid_al.errors import InputError
from hybrid_al.oracles.audit import audit
from hybrid_al.oracles.formats.dicom_seg import instance_of
from hybrid_al.oracles.formats.dicom_sr import write_sr
from hybrid_al.oracles.inbox import inbox
from hybrid_al.oracles.ledger import Entry, Ledger, collect
from tests.helpers.dicom_files import write_image
from tests.helpers.label_page import SIZE, client_of, mask_of, open_run, submission
from tests.helpers.readers import draws, says, shared_run


def commit(run: RunDir) -> None:
    """Train on nothing and commit round 0, as the loop does."""
    oracle: Any = inbox(run)
    labels = LabelStore(12).add(oracle.annotate(np.arange(4), 0))
    tip = {"ledger": Ledger(run).tip()}
    run.commit_round(Round(0, "random", 4, (), len(labels.labeled), {}, 0, {}, tip), labels)


@pytest.fixture
def answered(tmp_path: Path) -> RunDir:
    """A run of page and file, with corrections and withdrawals, whose first round is committed."""
    run = open_run(tmp_path / "run")
    with client_of(run) as client:
        for k, sample in enumerate(("scan0", "scan2")):
            client.post("/api/answer", json=submission(f"first-{k}", sample)).raise_for_status()
        client.post("/api/answer", json=submission("undone", "scan2", kind="withdrawn")).raise_for_status()
    collect(run)
    ids = [row["id"] for row in run.query_rows(0) or ()]
    says(run, "bob", {ids[1]: "normal", "scan2": "skip", "scan3": "pneumonia"})
    says(run, "bob", {"scan3": "normal"})
    commit(run)
    says(run, "bob", {"scan2": "pneumonia"})
    return run


def test_who_said_what_in_a_few_lines(answered: RunDir, tmp_path: Path) -> None:
    one = audit(answered.path)
    assert one.problems == []
    first, anna, bob, zero, after = one.lines()
    assert "8 entries in the ledger, their chain is whole" in first
    assert anna.startswith("  anna: 2 answers, 0 of them skips, 1 withdrawn, 2.0 s each; by page 2; ")
    assert bob.startswith("  bob: 5 answers, 1 of them skips, 2 superseded; by bob.csv 5; ")
    assert zero == "  round 0: 4 asked, 5 answers taken, committed" and "1 answers taken, open" in after
    assert write(one, tmp_path / "out") == tmp_path / "out" / "ledger.csv"
    rows = list(csv.DictReader((tmp_path / "out" / "ledger.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["standing"] for row in rows] == [
        "counts", "withdrawn", "a withdrawal", "counts", "superseded", "superseded", "counts", "counts",
    ]  # fmt: skip


def test_drawings_that_nothing_counts_by_are_looked_at_too(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", "mask")
    answer, draft = np.zeros(SIZE, dtype=np.uint8), np.ones(SIZE, dtype=np.uint8)
    with client_of(run) as client:
        seen: dict[str, Any] = {"classes": [], "proposal": "edited", "proposer": "model", "proposed": mask_of(draft)}
        client.post("/api/answer", json=submission("first", **seen, mask=mask_of(answer))).raise_for_status()
        answer[0, 0] = 2
        client.post("/api/answer", json=submission("second", **seen, mask=mask_of(answer))).raise_for_status()
    first, _ = Ledger(run).entries()
    collect(run)
    assert audit(run.path).problems == []
    (run.path / first.text).unlink()
    (run.path / first.proposed).write_bytes(b"another one")
    own, *proposed = audit(run.path).problems
    assert own == f"round 0, answer about 'scan0': {run.path / first.text} is not what anna drew"
    assert len(proposed) == 2 and proposed[0].endswith(f"{run.path / first.proposed} is not what was proposed to anna")


def rewrite(file: Path, change: Any) -> None:
    file.write_text("\n".join(change(file.read_text(encoding="utf-8").splitlines())) + "\n", encoding="utf-8")


def other_chain(lines: list[str]) -> list[str]:
    """A forger who makes the whole chain anew."""
    import hashlib

    tip, out = "", []
    for line in lines:
        entry = json.loads(line)
        entry |= {"previous": tip, "text": "pneumonia" if entry["sample"] == "scan0" else entry["text"]}
        entry["check"] = Entry(**entry).digest_of_all()
        out.append(json.dumps(entry, ensure_ascii=False))
        tip = hashlib.sha256(out[-1].encode() + b"\n").hexdigest()[:16]
    return out


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("ledger.jsonl", other_chain, "answer about 'scan0': 'normal', in the ledger 'pneumonia'"),
        ("ledger.jsonl", lambda lines: lines[:-3], "round 0: the ledger lacks lines that it had then"),
        ("ledger.jsonl", lambda lines: [], "its entry answer-first-0 is not in the ledger"),
        ("rounds/000/answers/000.csv", lambda lines: [line.replace("anna", "eve") for line in lines], "was changed"),
    ],
)
def test_what_was_changed_is_named(answered: RunDir, name: str, change: Any, why: str) -> None:
    rewrite(answered.path / name, change)
    one = audit(answered.path)
    assert why in "\n".join(one.problems)
    with pytest.raises(InputError, match="expected answers and labels as they were written"):
        one.refuse()


def test_a_broken_chain_is_one_line(answered: RunDir) -> None:
    rewrite(answered.path / "ledger.jsonl", lambda lines: [lines[0], *lines[2:]])
    one = audit(answered.path)
    assert "a ledger that was changed" in one.problems[0]


def test_labels_that_nobody_gave_are_named(answered: RunDir) -> None:
    folder = answered.round_path(0)
    labels = folder / "labels.jsonl"
    labels.write_text(labels.read_text().replace('"target": 0', '"target": 1', 1))
    row = json.loads((folder / "round.json").read_text())
    write_json(folder / "round.json", {k: v for k, v in row.items() if k not in ("digest", "digests")}, own=True)
    assert any(
        "is class 1 of " in why and "its answers give class 0 of " in why for why in audit(answered.path).problems
    )


def test_several_readers_and_their_masks(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run", "mask", target="adjudicated", adjudicator="carl")
    half = np.zeros(SIZE)
    half[:, :4] = 1
    draws(run, "anna", {0: half, 1: half, 2: 1, 3: 1})
    with client_of(run, "ben") as client:
        for k, sample in enumerate(row["id"] for row in run.query_rows(0) or ()):
            drawn = mask_of(half if k == 1 else np.ones(SIZE))
            answer = submission(f"ben-{k}", sample, classes=[], mask=drawn, reader="ben")
            client.post("/api/answer", json=answer).raise_for_status()
    collect(run)
    draws(run, "carl", {0: 0})
    commit(run)
    one = audit(run.path)
    assert one.problems == []
    assert "4 read by several, 1 differ, 1 judged by carl (1 as no reader said)" in one.lines()[-1]
    (run.path / Ledger(run).entries()[4].text).write_bytes(b"other")
    assert any("is not what ben drew" in why for why in audit(run.path).problems)


def test_labels_that_come_with_the_data_need_nobody_who_said_them(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    labels = LabelStore(12).add([Annotation(0, "class", 1, "simulated", 0)])
    run.commit_round(Round(0, "random", 4, ("scan0",), 1, {}, 0, {}), labels)
    assert audit(run.path).problems == ["round 0: label of 'scan0' is of nobody"]
    facts = json.loads((run.path / "run.json").read_text())
    facts["recipe"]["oracle"] = {"name": "simulated"}
    write_json(run.path / "run.json", {k: v for k, v in facts.items() if k != OWN}, own=True)
    assert audit(run.path).problems == []


def test_a_run_that_nobody_answered(tmp_path: Path) -> None:
    one = audit(open_run(tmp_path / "run").path)
    assert one.problems == [] and "no person answered" in one.lines()[0]
    with pytest.raises(InputError, match="run directory"):
        audit(tmp_path / "none")


def test_what_was_said_of_a_dicom_image_is_a_structured_report(tmp_path: Path) -> None:
    file = write_image(tmp_path / "a.dcm", np.zeros((6, 6), dtype=np.int16), generate_uid(), 0.0)
    write_sr(instance_of(file, 0), ["liver", "a vessel with a long name"], "anna+ben", "2026-11-29T08:00:00+00:00",
             tmp_path / "sr" / "a.dcm")  # fmt: skip
    report = pydicom.dcmread(tmp_path / "sr" / "a.dcm")
    text = str(report)
    assert report.Modality == "SR" and report.ContentDate == "20261129"
    assert "a vessel with a long name" in text and "anna+ben" in text and instance_of(file, 0).uid in text


def test_labels_of_dicom_images_are_written_as_seg_or_sr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, series, said = tmp_path / "images", generate_uid(), list[str]()
    for i in (0, 2, 3):
        write_image(files / f"scan{i}", np.zeros(SIZE, dtype=np.int16), series, float(i))
    monkeypatch.setattr("hybrid_al.api.audit._files", lambda _: files)
    run, half = open_run(tmp_path / "run", "mask"), np.zeros(SIZE, dtype=np.uint8)
    half[:, :4] = 2
    draws(run, "anna", {0: half, 2: half, 3: 0})
    write(audit(run.path), tmp_path / "out", say=said.append)
    (file,) = (tmp_path / "out" / "seg").iterdir()
    seg = pydicom.dcmread(file)
    assert [one.SegmentAlgorithmType for one in seg.SegmentSequence][:1] == ["MANUAL"] and "patients" in said[0]
    labels = [str(one.SegmentLabel) for one in seg.SegmentSequence]
    assert labels == ["<script>alert(1)</script>"] and int(seg.pixel_array.sum()) == 2 * int((half > 0).sum())
    run = open_run(tmp_path / "words")
    says(run, "anna", {"scan0": "normal", "scan2": "skip"})
    write(audit(run.path), tmp_path / "reports")
    (file,) = (tmp_path / "reports" / "sr").iterdir()
    assert file.name.startswith("000000-") and "normal" in str(pydicom.dcmread(file))
    with pytest.raises(InputError, match="a folder outside the images"):
        write(audit(run.path), files / "out")
