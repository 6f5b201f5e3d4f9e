"""How often proposals were taken, and whether those that were agree with what other readers drew blind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_al.core.rundir import RunDir
from hybrid_al.data.answers import to_png
from hybrid_al.oracles.acceptance import BLIND, Taken, taken_proposals
from hybrid_al.oracles.ledger import Entry, Ledger
from hybrid_al.report.page import write_report
from hybrid_al.report.runview import RunView
from tests.helpers.fake_run import fake_run


def square(folder: Path, width: int) -> str:
    """The path of a drawing of `width` x 4 pixels of the class."""
    labels = np.zeros((8, 8), dtype=np.uint8)
    labels[:4, :width] = 1
    (folder / f"{width}.png").write_bytes(to_png(labels))
    return f"{width}.png"


class Answers:
    """Appends answers to a ledger."""

    def __init__(self, run: Path) -> None:
        self.run, self.ledger = run, Ledger(RunDir(run))

    def give(self, sample: str, reader: str, width: int, **more: Any) -> None:
        if "proposed" in more:
            more["proposed"] = square(self.run, more["proposed"])
        count = len(self.ledger.entries())
        entry = Entry(f"answer-{count:03d}", 0, sample, "mask", square(self.run, width), reader, "", digest="x", **more)
        with self.ledger.turn():
            self.ledger.append(entry)


def test_fates_and_agreement_by_hand(tmp_path: Path) -> None:
    answers = Answers(tmp_path)
    segmenter = {"proposer": "segmenter", "prompts": 2}
    answers.give("a", "anna", 4, proposal="accepted", seconds=5, proposed=4, **segmenter)
    answers.give("b", "anna", 2, proposal="accepted", seconds=9, proposed=2, **segmenter)
    answers.give("c", "anna", 6, proposal="edited", seconds=20, proposed=2, refused=1, **segmenter)
    answers.give("d", "anna", 4, proposal="accepted", seconds=3, proposed=4)
    answers.give("a", "bob", 2, seconds=40)  # blind: 2 * 8 / (16 + 8)
    answers.give("a", "anna", 4, proposal="accepted", seconds=7, proposed=4, **segmenter)  # in place of her first
    answers.give("b", "bob", 4, proposal="accepted", proposed=4, **segmenter)  # saw it too
    answers.give("d", "anna", 8, seconds=30)  # drawn anew: no second reader of herself
    rows = taken_proposals(RunDir(tmp_path), 2)
    two_thirds: Any = pytest.approx(2 / 3)
    assert rows == [
        Taken("segmenter", "accepted", 3, 0.75, 8.0, 2.0, 0.0, 1.0, two_thirds, 1),
        Taken("segmenter", "edited", 1, 0.25, 20, 2.0, 1.0, 0.5, None, 0),
        Taken(BLIND, "", 2, None, 35, None, None, None, None, 0),
    ]


def test_a_run_without_proposals_has_no_rows(tmp_path: Path) -> None:
    assert taken_proposals(RunDir(tmp_path), 2) == []
    Answers(tmp_path).give("a", "anna", 2)
    assert taken_proposals(RunDir(tmp_path), 2) == []


def test_the_report_has_them(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run")
    answers = Answers(run)
    answers.give("a", "anna", 4, proposal="accepted", seconds=5, proposed=4, proposer="segmenter", prompts=3)
    answers.give("a", "bob", 4, seconds=40)
    text = write_report([RunView.read(run)], tmp_path / "out").read_text(encoding="utf-8")
    cells = "<td>accepted</td><td>1</td><td>1.00</td><td>5.0</td><td>3.0</td><td>0.0</td><td>1.000</td><td>1.000</td>"
    assert f'<th scope="row">segmenter</th>{cells}' in text and "<td>drawn blind</td><td>1</td>" in text
