"""What a round shows beside numbers, made from its folder."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from hybrid_al.core.files import read_arrays, write_arrays
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Annotation, Query, Scores
from hybrid_al.data.answers import write_answer
from hybrid_al.track.base import Table, Trackers
from hybrid_al.track.content import collapse, confusion_of, content_of, markdown, round_content
from hybrid_al.track.jsonl import JsonlTracker
from hybrid_al.track.points import Line
from tests.helpers.fake_run import fake_run, thumbnail

EVIL = ('<b>"a"</b>', "x|y", "effusion", "nodule", "no finding")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    path = fake_run(tmp_path_factory.mktemp("run") / "r", classes=EVIL, budgets=(20, 20, 20))
    disk = RunDir(path)
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    (path / "stage0" / "embeddings").mkdir(parents=True, exist_ok=True)
    np.save(path / "stage0" / "embeddings" / "plain.npy", vectors)
    return disk


def test_a_round_has_all_of_it(run: RunDir) -> None:
    content = round_content(run, run.manifest(), 1, run.labels(300), thumbnail)
    picks = content.tables["table/picks"]
    before = ("round", "rank", "sample", "score", "reason", "predicted", "confidence", "label")
    assert picks.columns == (*before, "predicted_after", "confidence_after")
    assert [row[:2] for row in picks.rows] == [(1, k) for k in range(20)]
    assert all(row[5] in EVIL and 0 <= row[6] <= 1 for row in picks.rows)  # type: ignore[operator]
    assert {row[7] for row in picks.rows} <= {*EVIL, "skipped"}
    assert "patient" not in str(content.tables)  # ids go out with the pictures alone
    assert [picture.caption.startswith("patient") for picture in content.pictures["images/picks"]] == [True] * 20
    reliability = content.tables["table/reliability_test"]
    assert len(reliability.rows) == 15 and reliability.rows[0] == (1, 0, 0, None, None)
    answers = read_arrays(run.round_path(1) / "holdout.npz")
    both = (answers["test/truth"] == 1) & (answers["test/probs"].argmax(axis=1) == 2)
    assert content.tables["table/confusion_test"].rows[7] == (1, "x|y", "effusion", both.sum())
    states = [row[-1] for row in content.tables["table/embedding"].rows]
    assert (states.count("picked"), states.count("labeled"), len(states)) == (20, 38, 300)
    assert set(content.histograms) == {"histogram/score", "histogram/consistency", "histogram/flips"}
    assert sum(content.histograms["histogram/score"].counts) == 280
    assert set(content.files) == {"query", "labels"}


def test_several_labels_and_masks_have_counts() -> None:
    truth, probs = np.asarray([[1, 0], [1, -1], [0, 1]]), np.asarray([[0.5, 0.1], [0.4, 0.9], [0.2, 0.8]])
    counts = confusion_of({"test/truth": truth, "test/probs": probs}, "test", ("a|b", "c"))
    assert counts is not None and len(counts) == 8 and sum(counts.values()) == 5  # what is not known counts nowhere
    assert (counts["a|b", "a|b"], counts["a|b", "no a|b"], counts["no a|b", "no a|b"]) == (1, 1, 1)
    assert (counts["c", "c"], counts["no c", "no c"]) == (1, 1)
    pixels = confusion_of({"val/confusion": np.asarray([[7, 1], [2, 5]])}, "val", ("a", "b"))
    assert pixels == {("a", "a"): 7, ("a", "b"): 1, ("b", "a"): 2, ("b", "b"): 5}
    assert confusion_of({}, "val", ("a", "b")) is None


def test_the_picks_have_what_the_new_model_says_of_them(tmp_path: Path) -> None:
    disk = RunDir(fake_run(tmp_path / "r", classes=EVIL, budgets=(3,), committed=0))
    first, second, third = (row["id"] for row in disk.query_rows(0) or [])
    samples = np.sort([disk.manifest().position[id] for id in (first, third)])
    values = {"samples": samples, "predicted": np.asarray([1, 0]), "confidence": np.asarray([0.75, 0.5])}
    write_arrays(disk.round_path(0) / "picks.npz", values)
    rows = {
        row[2]: row[-2:] for row in round_content(disk, disk.manifest(), 0, disk.labels(300)).tables["table/picks"].rows
    }
    assert [rows[i] for i in samples.tolist()] == [("x|y", 0.75), (EVIL[0], 0.5)]
    assert rows[disk.manifest().position[second]] == (None, None)


def test_the_projection_lies_over_that_of_the_round_before(run: RunDir) -> None:
    labels = run.labels(300)
    first, second = (
        {row[1]: row[2:4] for row in round_content(run, run.manifest(), r, labels).tables["table/embedding"].rows}
        for r in (1, 2)
    )
    assert first == second


def test_a_mirror_that_catches_up_gets_it_from_disk(run: RunDir, tmp_path: Path) -> None:
    content = content_of(run.path, Line(0, "evaluate", 1, ()))
    assert content is not None and not content.pictures
    assert {row[7] for row in content.tables["table/picks"].rows} <= {*EVIL, "skipped"}
    for line in (Line(0, "evaluate", 3, ()), Line(0, "stage0", None, ())):
        assert content_of(run.path, line) is None
    assert content_of(tmp_path, Line(0, "evaluate", 0, ())) is None


def test_a_drawn_mask_comes_with_its_picture(tmp_path: Path) -> None:
    disk = RunDir(fake_run(tmp_path / "r", budgets=(3,), committed=0))
    samples = [row[2] for row in round_content(disk, disk.manifest(), 0, disk.labels(300)).tables["table/picks"].rows]
    mask = np.eye(16, dtype=np.uint8)
    target = write_answer(disk, 0, int(str(samples[0])), mask)
    labels = LabelStore(300, (Annotation(int(str(samples[0])), "mask", target, "x", 0),))
    first, second, _ = round_content(disk, disk.manifest(), 0, labels, thumbnail).pictures["images/picks"]
    np.testing.assert_array_equal(first.mask, mask)
    assert second.mask is None


def test_a_class_that_is_predicted_no_more_is_lost(tmp_path: Path) -> None:
    disk = RunDir(fake_run(tmp_path / "r", budgets=(20, 20)))
    labels = disk.labels(300)
    assert collapse(disk, 0, labels) == ""  # nothing on disk
    for r, answers in enumerate(([0, 0, 0], [0, 1, 2], [2, 2, 0])):
        write_arrays(disk.round_path(r) / "stop.npz", {"answers": np.asarray(answers)})
    assert collapse(disk, 2, labels) == "cardiomegaly"
    assert collapse(disk, 1, labels) == ""
    assert "cardiomegaly" in collapse(disk, 0, labels)  # of several classes with a label one is left


@pytest.mark.slow
def test_ten_thousand_picks_take_seconds(tmp_path: Path) -> None:
    n = 10_000
    disk = RunDir(fake_run(tmp_path / "r", pool=n, budgets=(5, 5), committed=1))
    rows = np.arange(n, dtype=np.int64)
    for name in ("query.csv", "query.json"):
        (disk.round_path(1) / name).unlink()
    query = Query(rows, scores=Scores(rows, rows / n), reasons=("because",) * n)
    disk.commit_query(1, query, disk.manifest())
    (tmp_path / "r" / "stage0" / "embeddings").mkdir(parents=True, exist_ok=True)
    vectors = np.random.default_rng(0).normal(size=(n, 16)).astype(np.float32)
    np.save(tmp_path / "r" / "stage0" / "embeddings" / "plain.npy", vectors)
    began = time.perf_counter()
    content = round_content(disk, disk.manifest(), 1, disk.labels(n), thumbnail)
    assert len(content.pictures["images/picks"]) == 400
    assert len(content.tables["table/picks"].rows) == n
    assert len(content.tables["table/embedding"].rows) <= 4000
    assert time.perf_counter() - began < 5


def test_long_tables_are_cut_where_they_are_text() -> None:
    text = markdown(Table(("a",), tuple((k,) for k in range(10_000))))
    assert text.count("\n") < 210 and text.endswith("and 9800 more")


def test_markdown_holds_whatever_a_cell_does() -> None:
    table = Table(("a", "b"), (('<b>"x"|y\nz', None), (0.123456, 3)))
    assert markdown(table) == '| a | b |\n| --- | --- |\n| <b>"x"\\|y z |  |\n| 0.1235 | 3 |'


def test_what_cannot_be_made_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk = RunDir(fake_run(tmp_path / "r", budgets=(5,)))
    (disk.round_path(0) / "consistency.npz").write_text("cut")
    trackers = Trackers(JsonlTracker(tmp_path / "m"))
    trackers.show_made(lambda: round_content(disk, disk.manifest(), 0, disk.labels(300)))
    assert capsys.readouterr().err.startswith("the trackers lack the tables of this round: ")
    trackers.close()
