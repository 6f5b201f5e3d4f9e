"""The gallery: what is listed, what is pictured, and which picks are mistakes; the map; the errors of a round."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Annotation
from hybrid_al.errors import InputError
from hybrid_al.report import gallery as module
from hybrid_al.report.embedding_map import MOST_POINTS, embedding_map, principal
from hybrid_al.report.gallery import gallery
from hybrid_al.report.held_out import errors_of
from hybrid_al.report.page import write_report
from hybrid_al.report.runview import RunView
from tests.helpers.fake_run import fake_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    return RunView.read(fake_run(tmp_path_factory.mktemp("run") / "run"))


def test_all_picks_are_counted_and_the_first_of_each_round_are_listed_and_pictured(
    run: RunView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LISTED", 41)
    monkeypatch.setattr(module, "MOST_BYTES", 2050)
    picks = gallery([run], [lambda i, mask: b"x" * 100])
    assert (picks.listed, picks.total, picks.pictured) == (41, 100, 20)
    assert sum(picks.counts.values()) == 100
    by_round = [[item["rank"] for item in picks.items if item["round"] == r] for r in picks.rounds]
    assert [len(ranks) for ranks in by_round] == [11, 10, 10, 10]
    assert all(ranks == list(range(len(ranks))) for ranks in by_round)
    assert {item["rank"] for item in picks.items if "i" in item} == set(range(5))


def test_a_sample_that_several_seeds_pick_has_one_picture(run: RunView) -> None:
    picks = gallery([run, dataclasses.replace(run, seed=1)], [lambda i, mask: b"%d" % i] * 2)
    assert picks.total == 200 and len(picks.images) == 100
    assert picks.choices("seed") == [0, 1]
    assert "seed" not in gallery([run]).items[0]


def test_mistakes_are_answers_that_were_corrected_or_that_the_model_disagrees_with(run: RunView) -> None:
    first, second = run.rounds[0].picks[1:3]
    said = {pick.index: pick.label or "" for r in run.rounds for pick in r.picks}
    said[first.index] = "a class of its own"
    pick = dataclasses.replace(second, corrected=("nodule (jo)",), annotator="li")
    rounds = (dataclasses.replace(run.rounds[0], picks=(first, pick)), *run.rounds[1:])
    items = gallery([dataclasses.replace(run, rounds=rounds)], predicted=said).items
    mistakes = {item["id"]: item["mistake"] for item in items if "mistake" in item}
    assert mistakes == {first.id: "model", second.id: "corrected"}
    assert next(item["before"] for item in items if item["id"] == second.id) == "nodule (jo)"


def test_a_pick_knows_its_reader_and_the_answers_before(tmp_path: Path) -> None:
    path = fake_run(tmp_path / "run", budgets=(20,))
    view = RunView.read(path)
    pick = view.rounds[0].picks[3]
    old = view.labels.current[pick.index]
    other = (int(str(old.target)) + 1) % len(view.classes)
    labels = view.labels.add([Annotation(pick.index, "class", other, "li", 0)])
    disk = RunDir(path)
    disk.commit_round(disk.rounds()[0], labels)
    again = RunView.read(path).rounds[0].picks[3]
    assert (again.annotator, again.label) == ("li", view.classes[other])
    assert again.corrected == (f"{pick.label} (simulated)",)


def test_the_map_lies_along_the_principal_components(run: RunView) -> None:
    vectors = np.random.default_rng(0).normal(0, [5, 1, 3, 0.1], (200, 4))
    places, share = principal(vectors, np.arange(200))
    values, directions = np.linalg.eigh(np.cov(vectors.T))
    expected = (vectors - vectors.mean(axis=0)) @ directions[:, [3, 2]]
    np.testing.assert_allclose(np.abs(places), np.abs(expected), atol=1e-9)
    assert share == pytest.approx(values[[3, 2]].sum() / values.sum())
    drawn = embedding_map(run)
    assert drawn is not None and drawn.points == 300 and drawn.left_out == 0
    assert len(drawn.values["round"]) == len(drawn.values["ids"]) == 100  # type: ignore[arg-type]
    assert embedding_map(dataclasses.replace(run, path=None)) is None


def test_the_map_by_umap_is_that_of_its_package_which_may_be_missing(
    run: RunView, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    by_umap = dataclasses.replace(run, recipe={**run.recipe, "report": {"map": "umap"}})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"report.map: expected its package \(pip install 'hybrid-al\[umap\]'\)"):
        embedding_map(by_umap)

    class UMAP:
        def __init__(self, *, n_components: int, random_state: int) -> None: ...

        def fit_transform(self, vectors: np.ndarray) -> np.ndarray:
            return np.asarray(vectors[:, :2] * [1, 0])

    stub: Any = types.ModuleType("umap")
    stub.UMAP = UMAP
    monkeypatch.setitem(sys.modules, "umap", stub)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    drawn = embedding_map(by_umap)
    assert drawn is not None and drawn.spread is None and set(drawn.values["y"]) == {0}  # type: ignore[call-overload]
    page = write_report([by_umap], tmp_path).read_text(encoding="utf-8")
    assert "Each image where UMAP puts it" in page and "principal components" not in page


def test_a_large_pool_is_thinned_out_but_for_the_picks(tmp_path: Path) -> None:
    drawn = embedding_map(RunView.read(fake_run(tmp_path / "run", pool=6000)))
    assert drawn is not None and (drawn.points, drawn.left_out) == (MOST_POINTS + 100, 5900 - MOST_POINTS)


def test_the_errors_of_a_round_are_counted_on_test(run: RunView) -> None:
    last = run.rounds[-1]
    errors = errors_of(run, last)
    assert errors is not None and errors.confusion is not None
    probs, truth = last.holdout["test/probs"], last.holdout["test/truth"]
    assert errors.confusion.sum() == len(truth) and np.trace(errors.confusion) == (probs.argmax(axis=1) == truth).sum()
    assert [row.name for row in errors.classes] == list(run.classes)
    worst = errors.worst[0].index
    wrong = [k for k in range(len(truth)) if probs[k].argmax() != truth[k]]
    assert worst == min(wrong, key=lambda k: probs[k, truth[k]])
    assert errors_of(run, dataclasses.replace(last, holdout={})) is None


def test_of_two_classes_the_threshold_is_chosen_on_val_alone(tmp_path: Path) -> None:
    run = RunView.read(fake_run(tmp_path / "run", classes=("no", "yes")))
    last = run.rounds[-1]
    errors = errors_of(run, last)
    assert errors is not None and [row.name for row in errors.classes] == ["yes"]
    assert "add up to most on val" in errors.rule and errors.classes[0].threshold != 0.5
    alone = {k: v for k, v in last.holdout.items() if k.startswith("val/")}
    on_val = errors_of(run, dataclasses.replace(last, holdout=alone))
    assert on_val is not None and on_val.split == "val" and on_val.classes[0].threshold == 0.5
    assert "as no other split" in on_val.rule


def test_a_class_lags_where_its_interval_lies_below_the_others(run: RunView) -> None:
    truth = np.repeat(np.arange(5), 40)
    probs = np.eye(5)[np.where(truth == 3, 0, truth)]
    holdout: dict[str, Any] = {"test/probs": probs, "test/truth": truth, "test/indices": np.arange(200)}
    errors = errors_of(run, dataclasses.replace(run.rounds[-1], holdout=holdout))
    assert errors is not None and errors.lagging == [run.classes[3]]
