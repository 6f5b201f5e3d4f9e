"""Several readers: who reads what, what they say together, who owes an answer, and what none of them may do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hybrid_al.api.answers import take_back
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation, Round
from hybrid_al.data.answers import read_answer
from hybrid_al.errors import AwaitingLabels, InputError
from hybrid_al.oracles import Worklist
from hybrid_al.oracles.inbox import inbox, owed
from hybrid_al.oracles.ledger import Ledger
from hybrid_al.oracles.readers import Reading, assignments
from hybrid_al.oracles.readings import agreement, model_agreement
from hybrid_al.report.overview import standing
from hybrid_al.report.page import _readers
from tests.helpers.label_page import SIZE
from tests.helpers.readers import draws, readings_of, says, shared_run, together

ODD = "<img src=x onerror=alert(1)>"
IDS = ("scan0", ODD, "scan2", "scan3")
ANNA = dict(zip(IDS, ("normal", "normal", "pneumonia", "skip"), strict=True))
BEN = dict(zip(IDS, ("normal", "pneumonia", "pneumonia", "normal"), strict=True))


@pytest.mark.parametrize(("overlap", "double"), [(0.0, 0), (0.25, 3), (1.0, 12)])
def test_a_share_is_read_by_several_and_the_rest_is_shared_evenly(tmp_path: Path, overlap: float, double: int) -> None:
    run = shared_run(tmp_path / "run", asked=12)
    readers = assignments(run, 0, Reading(("anna", "ben", "carl"), overlap=overlap))
    assert Counter(len(names) for names in readers.values()) == Counter({2: double, 1: 12 - double})
    load = Counter(name for names in readers.values() for name in names)
    assert max(load.values()) - min(load.values()) <= 1
    assert readers == assignments(run, 0, Reading(("anna", "ben", "carl"), overlap=overlap))


def test_a_query_is_answered_when_all_readings_are_in(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run")
    assert says(run, "anna", ANNA) == (4, 4)
    oracle: Any = inbox(run)
    with pytest.raises(AwaitingLabels, match=r"(?s)waits for readings: ben 4; .*--annotator NAME.*--reader NAME"):
        oracle.annotate(np.arange(4), 0)
    assert (run.path / "worklist" / "round_000_ben.csv").is_file()
    assert not (run.path / "worklist" / "round_000_anna.csv").is_file()
    assert "round 0 waits for readings: ben 4" in standing(run)[-1]
    assert says(run, "ben", BEN) == (4, 0) and owed(run, 0) == {}
    assert together(run) == {0: 0, 1: None, 2: 1, 3: 0}  # of a tie there is no label; a skip is no vote
    first, *_ = oracle.annotate(np.arange(4), 0)
    assert (first.annotator, first.cost, first.votes) == ("anna+ben", 2.0, ())
    assert [e.reader for e in Ledger(run).entries()] == ["anna"] * 4 + ["ben"] * 4
    assert any("read by several differ" in line for line in standing(run))


def test_soft_targets_keep_what_each_reader_said(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run", target="soft")
    says(run, "anna", ANNA)
    says(run, "ben", BEN)
    oracle: Any = inbox(run)
    labels = LabelStore(12).add(oracle.annotate(np.arange(4), 0))
    labels = LabelStore.from_jsonl(12, labels.to_jsonl())
    places, targets = labels.spread(labels.class_targets())
    assert labels.labeled[places].tolist() == [0, 0, 1, 1, 2, 2, 3, 3] and targets.tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    several = LabelStore(2).add([Annotation(0, "classes", (1,), "a", 0, votes=((1,), (0, 1), ()))])
    assert several.spread(several.label_targets(2))[1].tolist() == [[0, 1], [1, 1], [0, 0]]


def test_a_third_reader_says_what_counts_where_two_differ(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run", target="adjudicated", adjudicator="carl", blind=False)
    says(run, "anna", ANNA)
    with pytest.raises(InputError, match=r"images that all readers of have answered, and differently, got 'scan0'"):
        says(run, "carl", {"scan0": "normal"})
    says(run, "ben", BEN)
    assert owed(run, 0) == {"carl": [ODD, "scan3"]} and (run.path / "worklist" / "round_000_carl.csv").is_file()
    oracle: Any = inbox(run)
    with pytest.raises(AwaitingLabels, match="waits for readings: carl 2"):
        oracle.annotate(np.arange(4), 0)
    text = (run.path / "worklist" / "round_000_carl.csv").read_text(encoding="utf-8")
    assert "the readers differ: normal / pneumonia" in text and "scan0" not in text and "scan3" in text
    with pytest.raises(InputError, match="differently, got 'scan0'"):
        says(run, "carl", {"scan0": "normal"})
    assert says(run, "carl", {ODD: "<script>alert(1)</script>", "scan3": "skip"}) == (2, 0)  # differs from both
    assert together(run) == {0: 0, 1: 2, 2: 1, 3: None}


def test_dawid_skene_goes_by_who_errs(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run", target="consensus", readers=["anna", "ben", "carl"], readings=3, asked=12)
    ids = [row["id"] for row in run.query_rows(0) or ()]
    for name, wrong in (("anna", ()), ("ben", ()), ("carl", range(0, 12, 2))):
        says(run, name, {i: ("normal", "pneumonia")[(k % 3 == 0) ^ (k in wrong)] for k, i in enumerate(ids)})
    assert together(run) == {k: int(k % 3 == 0) for k in range(12)}


def test_one_who_answers_twice_is_one_reader_and_a_withdrawn_reading_is_owed_again(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run")
    says(run, "anna", ANNA)
    assert says(run, "anna", {"scan0": "pneumonia"}) == (1, 4)
    says(run, "ben", BEN)
    assert together(run)[0] is None and len(readings_of(run).said[0]) == 2
    file = tmp_path / "back.csv"
    file.write_text("id\nscan2\n", encoding="utf-8")
    assert take_back(run.path, file, "ben") == (1, 1) and owed(run, 0) == {"ben": ["scan2"]}
    with pytest.raises(InputError, match="line 2: expected an id that ben answered, got 'scan2'"):
        take_back(run.path, file, "ben")


def test_a_list_that_is_handed_in_again_counts_once(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run")
    for _ in "ab":
        assert says(run, "anna", ANNA) == (4, 4)
    says(run, "ben", BEN)
    once = agreement(readings_of(run))
    assert says(run, "anna", {**ANNA, "scan3": "normal"})[0] == 4 and says(run, "anna", ANNA)[0] == 4
    assert [e.sample for e in Ledger(run).entries()] == [*IDS, *IDS, "scan3", "scan3"]
    assert agreement(readings_of(run)) == once and once["people/double"] == 3
    view: Any = SimpleNamespace(path=run.path)
    anna = Counter(answers=6, skipped=2, corrections=2)
    assert _readers(view) == {"anna": anna, "ben": Counter(answers=4)}, "what each said, not what they came to"


def test_a_reader_corrects_what_an_earlier_round_was_told(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run")
    says(run, "anna", ANNA)
    says(run, "ben", BEN)
    oracle: Any = inbox(run)
    labels = LabelStore(12).add(oracle.annotate(np.arange(4), 0))
    run.commit_round(Round(0, "random", 4, IDS, 3, {}, 0, {}), labels)
    says(run, "ben", {ODD: "normal"})
    assert {a.index: (a.target, a.annotator) for a in oracle.latest_answers(np.arange(0), 1)[0]} == {1: (0, "anna+ben")}


BAD = {
    "a stranger": ("dora", {"scan0": "normal"}, "--annotator: expected one of anna, ben, carl, got 'dora'"),
    "nobody": ("annotator", {"scan0": "normal"}, "one of anna, ben, carl"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_reader_who_is_not_on_the_list_is_refused(tmp_path: Path, name: str) -> None:
    who, answers, why = BAD[name]
    run = shared_run(tmp_path / "run", target="adjudicated", adjudicator="carl")
    with pytest.raises(InputError, match=why):
        says(run, who, answers)
    assert not Ledger(run).entries()


def test_what_another_reads_is_taken_unasked_alone(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run", overlap=0.0)
    readers = assignments(run, 0, Reading(("anna", "ben"), overlap=0.0))
    mine = {name: [i for i, names in readers.items() if name in names] for name in ("anna", "ben")}
    assert len(mine["anna"]) == len(mine["ben"]) == 2
    with pytest.raises(InputError, match="expected images that anna reads"):
        says(run, "anna", {mine["ben"][0]: "normal"})
    assert says(run, "anna", {**dict.fromkeys(mine["anna"], "normal"), "scan9": "normal"}, unasked=True) == (3, 2)


def test_masks_that_differ_little_are_one_and_of_others_pixels_are_voted_on(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run", "mask", agreement=0.9)
    left, right = np.zeros(SIZE), np.zeros(SIZE)
    left[:, :5], right[:, 3:] = 1, 1
    draws(run, "anna", {0: 1, 1: left, 2: 0, 3: 1})
    draws(run, "ben", {0: 1, 1: right, 2: 0, 3: 1})
    targets = together(run)
    mask = read_answer(run.path / targets[1])
    assert "/agreed/" in targets[1] and "/answers/" in targets[0]
    np.testing.assert_array_equal(mask[0], [255, 255, 255, 1, 1, 255, 255, 255])
    readings = readings_of(run)
    assert [readings.differ(i) for i in range(4)] == [False, True, False, False]
    values = agreement(readings)
    assert values["people/double"] == 4 and values["people/differ"] == 0.25
    assert values["people/dice/pneumonia"] == pytest.approx((1 + 2 * 2 / 10 + 1) / 3)
    model = model_agreement(readings, [0], [np.stack([np.zeros((4, 4)), np.ones((4, 4)), np.zeros((4, 4))])])
    assert model["people/model_dice/pneumonia"] == 1.0


def test_staple_leaves_no_pixel_open(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run", "mask", target="consensus")
    half = np.zeros(SIZE)
    half[:, :4] = 1
    draws(run, "anna", {0: half, 1: 1, 2: 0, 3: 1})
    draws(run, "ben", {0: 1, 1: 1, 2: 0, 3: 1})
    assert set(np.unique(read_answer(run.path / together(run)[0]))) <= {0, 1}


def test_agreement_of_readers_and_of_a_model_with_them(tmp_path: Path) -> None:
    run = shared_run(tmp_path / "run", asked=12)
    ids = [row["id"] for row in run.query_rows(0) or ()]
    says(run, "anna", {i: ("normal", "pneumonia")[k % 2] for k, i in enumerate(ids)})
    says(run, "ben", {i: ("normal", "pneumonia")[k % 2 if k < 10 else 0] for k, i in enumerate(ids)})
    readings = readings_of(run)
    values = agreement(readings)
    assert values["people/double"] == 12 and values["people/differ"] == pytest.approx(1 / 12)
    assert values["people/kappa"] == pytest.approx(5 / 6) == values["people/kappa/normal"]
    probs = [np.eye(3)[k % 2] for k in range(12)]
    assert model_agreement(readings, range(12), probs)["people/model_kappa"] == pytest.approx((1 + 5 / 6) / 2)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"readers": ("anna",)}, r"oracle.readings: expected at most 1, or oracle.overlap=0, got 2 readings by 1"),
        ({"readers": ("anna", "anna")}, "each person once"),
        ({"readers": ("anna", "b+c")}, "names of 1 to 60 letters"),
        ({"readers": ("anna", "ben"), "adjudicator": "carl"}, "oracle.adjudicator: expected nobody, got carl"),
        ({"readers": ("anna", "ben"), "target": "adjudicated"}, "oracle.adjudicator: expected somebody"),
        ({"readers": ("anna", "ben"), "target": "adjudicated", "adjudicator": "ben"}, "each person once"),
        ({"overlap": 0.5}, "oracle.overlap: expected nothing where oracle.readers names nobody, got 0.5"),
    ],
)
def test_settings_that_fit_no_readers(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        Worklist(**settings)
