"""Answers of one bit: yes or no to a guess, from the query to what the network learns of a no."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from hybrid_al import loop
from hybrid_al.assemble import experiment, open_project
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Annotation
from hybrid_al.data.loaders import EmbeddingInputs
from hybrid_al.errors import AwaitingLabels, InputError
from hybrid_al.learners.exclusions import exclusion_loss
from hybrid_al.learners.network import NetworkLearner
from hybrid_al.models.classifier import Classifier
from hybrid_al.oracles.audit import audit
from hybrid_al.oracles.inbox import inbox
from hybrid_al.oracles.one_bit import asked_classes, in_full, merged
from hybrid_al.oracles.worklist import corrections, rows_behind
from hybrid_al.page.answers import words
from hybrid_al.recipe import parse
from hybrid_al.semi.supervised import Supervised
from hybrid_al.track.base import Trackers
from hybrid_al.train import Schedule
from pretrain.stage0 import ensure
from tests.helpers.played import play
from tests.helpers.tiny import _DATA, recipe_of

ORACLE = {"name": "simulated", "answer": "one_bit"}
THREE = {"data": {**_DATA, "classes": 3}, "learner": "frozen", "train": {"name": "supervised", "steps": 4}}


def no(index: int, *classes: int) -> Annotation:
    return Annotation(index, "not", classes, "me", 1)


def test_what_is_excluded_adds_up_until_one_class_is_left() -> None:
    before = {0: no(0, 2), 1: Annotation(1, "class", 0, "me", 0)}
    both, corrected, first, skip = merged(
        [no(0, 0), no(1, 0), no(2, 1), Annotation(3, "skip", None, "me", 1)], before, 3
    )
    assert (both.kind, both.target) == ("class", 1)
    assert (corrected.target, first.target, skip.kind) == ((0,), (1,), "skip")
    store = LabelStore(4).add([both, corrected, first, skip])
    assert store.labeled.tolist() == [0] and store.answered.tolist() == [0, 3]
    assert store.excluded == {1: (0,), 2: (1,)}
    assert LabelStore.from_jsonl(4, store.to_jsonl()) == store


def test_yes_and_no_are_about_the_class_that_is_asked() -> None:
    assert [in_full("a", text, "ill") for text in ("yes", "no", "well", "skip")] == ["ill", "not ill", "well", "skip"]
    with pytest.raises(InputError, match="nobody was asked whether it is a certain one"):
        in_full("answers.csv line 2", "yes", None)
    assert words(["not ill"], ["ill", "well"], several=False, asked="ill") == "not ill"
    with pytest.raises(InputError):
        words(["not ill"], ["ill", "well"], several=False, asked="well")


def test_the_loss_is_that_of_what_is_left() -> None:
    logits = torch.tensor([[2.0, 0.5, -1.0], [60.0, 0.0, 0.0]], requires_grad=True)
    excluded = torch.tensor([[True, False, True], [True, False, False]])
    p = [math.exp(z) / sum(math.exp(y) for y in (2.0, 0.5, -1.0)) for z in (2.0, 0.5, -1.0)]
    slow = -math.log(1 - p[0] - p[2]), 60 - math.log(2)  # 1 - p of the second is below what a float has
    loss = exclusion_loss(logits, excluded)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(sum(slow) / 2)
    assert logits.grad is not None and logits.grad.isfinite().all() and logits.grad[1, 0] > 0


@pytest.mark.parametrize("kind", ["exclude", "mistakes"])
def test_a_network_learns_what_samples_are_not(kind: str, tmp_path: Path) -> None:
    """Two groups of rows, of which labels show the classes 0 and 1: the second, said not to be 1, becomes 2."""
    rows = np.repeat(np.eye(3, dtype=np.float32)[[0, 1, 2]], 20, axis=0)
    inputs = EmbeddingInputs(rows, rows[None].astype(np.float16), rows[None].astype(np.float16), torch.device("cpu"))
    schedule = Schedule(steps=60, min_steps=60, lr_head=3e-2, mistakes=1.0 if kind == "mistakes" else 0.0)
    made = NetworkLearner(
        lambda seed: Classifier(nn.Identity(), 3, 3, dropout=0.0, seed=seed),
        inputs, Supervised(), schedule, pool=np.arange(60), n=60,
    )  # fmt: skip
    labels = LabelStore(60).add(Annotation(i, "class", i // 20, "t", 0) for i in (0, 1, 20, 21))
    made.fit(labels, round=0, seed=0, log=lambda *_: None)
    third = np.arange(40, 60)
    guess = int(next(made.predict(third)).probs[0, 0].argmax())
    (tmp_path / "000").mkdir()
    made.save(tmp_path / "000" / "model.safetensors")
    before = next(made.predict(third)).probs[:, 0, guess]
    if kind == "exclude":
        more = labels.add(Annotation(i, "not", (guess,), "t", 1) for i in range(40, 50))
    else:
        more = labels.add(Annotation(i, "class", 2, "t", 1) for i in range(40, 42))
        assert set(made._mistaken(more, 1, tmp_path / "000").values()) == ({(guess,)} if guess != 2 else set())
    made.fit(more, round=1, seed=0, log=lambda *_: None, previous=tmp_path / "000")
    after = next(made.predict(third)).probs[:, 0, guess]
    assert (after < before - 0.1).all()


@pytest.mark.slow
def test_a_run_asks_whether_it_is_the_likeliest_open_class(tmp_path: Path) -> None:
    changes = {**THREE, "oracle": ORACLE, "loop": {"budgets": [3, 9, 9, 9]}}
    played = play(tmp_path / "run", recipe_of("classification", **changes))
    truth, labels = played.dataset.truth, played.run.labels(len(played.dataset.manifest))
    names, position = played.dataset.classes, played.dataset.manifest.position
    asked = [(position[i], names.index(c)) for r in (1, 2, 3) for i, c in asked_classes(played.run, r).items()]
    assert len(asked) == len(set(asked)) and not asked_classes(played.run, 0)
    for a in labels.annotations:
        if a.kind == "not" and isinstance(a.target, tuple):
            assert truth[a.index] not in a.target and a.cost == 1
        else:
            assert a.target == truth[a.index] and a.cost == (1 if a.round else pytest.approx(math.log2(3)))
    assert len(labels.labeled) == 12 and not labels.excluded  # two questions settle which of three classes it is
    assert played.run.rounds()[0].metrics["cost/bits"] == pytest.approx(3 * math.log2(3))
    assert played.run.rounds()[1].metrics["cost/bits"] == pytest.approx(3 * math.log2(3) + 9)
    assert played.run.rounds()[1].labeled == len(labels.as_of(1).labeled)


@pytest.mark.slow
@pytest.mark.parametrize("readers", [None, ["me"]])
def test_noes_of_two_rounds_leave_a_class(readers: list[str] | None, tmp_path: Path) -> None:
    """The same file again changes nothing, and who takes back a no of another person has to say so."""
    shared = {"readers": readers, "overlap": 0} if readers else {}
    oracle = {**ORACLE, "name": "worklist", **shared}
    recipe = parse(recipe_of("classification", **THREE, oracle=oracle, loop={"budgets": [3, 9, 9]}))
    opened = open_project(recipe, run_dir=tmp_path / "run", device="cpu")
    ensure(opened, Trackers())
    opened.claim()
    run, names, file = opened.run, opened.dataset.classes, tmp_path / "answers.csv"

    def take(text: str, annotator: str = "me") -> None:
        file.write_text("id,label\n" + text, encoding="utf-8")
        inbox(RunDir(run.path)).take(file, annotator)

    for r in range(3):
        with pytest.raises(AwaitingLabels):
            loop.run(experiment(opened), run, Trackers())
        ids = run.query_ids(r) or ()
        if r == 2 and readers is None:
            with pytest.raises(InputError, match="expected the answers that others gave"):
                take(f"{ids[0]},{asked_classes(run, 1)[ids[0]]}\n", "another")
        for _ in range(2):
            take("".join(f"{i},{'no' if r else names[k]}\n" for k, i in enumerate(ids)))
            assert not corrections(rows_behind(run, -1))
    loop.run(experiment(opened), run, Trackers())
    labels, position = run.labels(len(opened.dataset.manifest)), opened.dataset.manifest.position
    for i in ids:
        assert {names[cast(int, labels.current[position[i]].target)]} == {*names} - {
            asked_classes(run, 1)[i],
            asked_classes(run, 2)[i],
        }
    assert len(ids) == 9 and not labels.excluded
    assert audit(run.path).problems == []


@pytest.mark.slow
def test_a_person_says_yes_or_no(tmp_path: Path) -> None:
    recipe = parse(recipe_of("classification", **THREE, oracle={**ORACLE, "name": "worklist"}))
    opened = open_project(recipe, run_dir=tmp_path / "run", device="cpu")
    ensure(opened, Trackers())
    opened.claim()
    run, truth = opened.run, [opened.dataset.classes[c] for c in opened.dataset.truth]
    position, files = opened.dataset.manifest.position, [tmp_path / "0.csv", tmp_path / "1.csv"]

    def wait() -> list[dict[str, str]]:
        with pytest.raises(AwaitingLabels):
            loop.run(experiment(opened), run, Trackers())
        with run.worklist(len(run.rounds())).open(encoding="utf-8") as lines:
            return list(csv.DictReader(lines))

    def take(rows: list[dict[str, str]], labels: list[str]) -> None:
        file = files[len(run.rounds())]
        lines = [f"{row['id']},{label}\n" for row, label in zip(rows, labels, strict=True)]
        file.write_text("id,label\n" + "".join(lines), encoding="utf-8")
        inbox(RunDir(run.path)).take(file, "me")

    first = wait()
    assert "asks" not in first[0]
    with pytest.raises(InputError, match="nobody was asked whether"):
        take(first, ["yes"] * len(first))
    take(first, [truth[position[row["id"]]] for row in first])
    second = wait()
    take(second, ["no", "yes"])
    loop.run(experiment(opened), run, Trackers())
    labels = run.labels(len(opened.dataset.manifest))
    names = opened.dataset.classes
    one, two = (labels.current[position[row["id"]]] for row in second)
    assert (one.kind, one.target, one.cost) == ("not", (names.index(second[0]["asks"]),), 1)
    assert (two.kind, two.target) == ("class", names.index(second[1]["asks"]))
    assert audit(run.path).problems == []


def test_what_does_not_fit_is_refused() -> None:
    from hybrid_al.components import check_components

    with pytest.raises(InputError, match="learn from a no"):
        check_components(parse(recipe_of("classification", oracle=ORACLE, learner="linear")))
    with pytest.raises(InputError, match=r"train\.drop_noisy: expected nothing in multilabel"):
        check_components(parse(recipe_of("multilabel", train={"name": "supervised", "drop_noisy": True})))
    with pytest.raises(InputError, match=r"oracle\.answer"):
        check_components(parse(recipe_of("multilabel", oracle=ORACLE)))


def test_the_page_asks_for_yes_or_no(tmp_path: Path) -> None:
    from hybrid_al.oracles.inbox import Words
    from hybrid_al.page.desk import Desk
    from tests.helpers.label_page import KINDS, open_run

    run = open_run(tmp_path / "run", "class")
    rows = (run.query_rows(0) or [])[:2]
    desk = Desk(run, reader="me", size=lambda _: (4, 4))
    assert [item["asks"] for item in desk.state()["items"]][:2] == ["", ""] and KINDS["class"] == Words("class")
    with pytest.raises(InputError, match="not a"):
        desk.answer({"id": "12345678", "round": 0, "sample": rows[0]["id"], "kind": "answer", "classes": ["not a"]})
