"""A loop around a model of one's own: killed anywhere it goes on and ends the same; bad input is one line."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

import hybrid_al as hal
from hybrid_al.core.rundir import RunDir
from hybrid_al.errors import AwaitingLabels, InputError, RunLocked, UnknownName
from hybrid_al.oracles.inbox import inbox

RNG = np.random.default_rng(0)
Y = RNG.integers(3, size=90)
X = RNG.normal(size=(90, 5)) + 3 * np.eye(5)[Y]


def loop(folder: Path, model: object = None, **changes: Any) -> hal.Loop:
    model = LogisticRegression() if model is None else model
    arguments = {"classes": 3, "budgets": (9, 6, 6), "run_dir": folder, **changes}
    return hal.Loop(model, X, **arguments)  # type: ignore[arg-type]


def play(folder: Path, **changes: Any) -> list[list[int]]:
    rounds = []
    for query in loop(folder, **changes):
        assert query.tell(Y[query.indices]) == 0
        rounds.append(query.indices.tolist())
    return rounds


def test_a_loop_asks_each_budget_once_and_leaves_a_fitted_model(tmp_path: Path) -> None:
    model = LogisticRegression()
    rounds = play(tmp_path / "run", model=model)
    assert [len(picks) for picks in rounds] == [9, 6, 6]
    flat = [i for picks in rounds for i in picks]
    assert len(set(flat)) == 21
    assert np.array_equal(model.predict_proba(X), LogisticRegression().fit(X[flat], Y[flat]).predict_proba(X))
    run = hal.open(tmp_path / "run")
    assert run.picks["index"] == flat and run.labels["label"] == [str(Y[i]) for i in flat]
    assert run.metrics["labels"] == [9, 15, 21] and run.metrics["strategy"] == ["stratified", "hybrid", "hybrid"]


def test_later_rounds_see_what_the_model_says(tmp_path: Path) -> None:
    rounds = play(tmp_path / "run", query="margin")
    model = LogisticRegression().fit(X[rounds[0]], Y[rounds[0]])
    probs = np.sort(model.predict_proba(X), axis=1)
    gap = probs[:, -1] - probs[:, -2]
    gap[rounds[0]] = np.inf
    assert set(rounds[1]) == set(np.argsort(gap)[:6].tolist())


def test_left_between_query_and_tell_it_asks_the_same_again(tmp_path: Path) -> None:
    whole = play(tmp_path / "whole")
    rounds: list[list[int]] = []
    for _ in range(4):  # each time one query further, then left with the query open
        for query in loop(tmp_path / "left"):
            if len(rounds) == 0 or query.indices.tolist() != rounds[-1]:
                rounds.append(query.indices.tolist())
                break
            query.tell(Y[query.indices])
    assert rounds == whole
    assert play(tmp_path / "left") == []
    assert hal.open(tmp_path / "left").metrics.columns == hal.open(tmp_path / "whole").metrics.columns


def test_labels_that_were_told_outlive_a_kill_in_the_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LogisticRegression, "fit", die)
        play(tmp_path / "run")
    assert play(tmp_path / "run") == play(tmp_path / "whole")[1:]


def test_a_finished_loop_fits_its_model_again_and_may_get_more_rounds(tmp_path: Path) -> None:
    first = play(tmp_path / "run", budgets=(9, 6))
    model = LogisticRegression()
    assert play(tmp_path / "run", budgets=(9, 6), model=model) == []
    assert np.array_equal(model.classes_, [0, 1, 2])
    assert first + play(tmp_path / "run") == play(tmp_path / "whole")


def test_some_labels_now_and_some_later(tmp_path: Path) -> None:
    steps = iter(loop(tmp_path / "run", classes=["a", "b", "c"]))
    query = next(steps)
    first, second, *others = query.indices.tolist()
    assert query.tell({first: "abc"[Y[first]], second: None}) == 7
    with pytest.raises(AwaitingLabels, match="waits for 7 of 9 labels"):
        next(steps)
    query = next(iter(loop(tmp_path / "run", classes=["a", "b", "c"])))
    assert query.indices.tolist() == [first, second, *others]
    assert query.tell({i: int(Y[i]) for i in others}, by="ann") == 0
    following = next(iter(loop(tmp_path / "run", classes=["a", "b", "c"])))
    assert following.round == 1 and second not in following.indices
    labels = hal.open(tmp_path / "run").labels
    assert labels["label"][:2] == ["abc"[Y[first]], None] and labels["annotator"] == ["me", "me", *["ann"] * 7]


def test_a_person_may_answer_by_a_file(tmp_path: Path) -> None:
    query = next(iter(loop(tmp_path / "run")))
    lines = ["id,label", *(f"{i},{Y[int(i)]}" for i in query.ids)]
    (tmp_path / "answers.csv").write_text("\n".join(lines))
    inbox(RunDir(tmp_path / "run")).take(tmp_path / "answers.csv", "reader")
    assert next(iter(loop(tmp_path / "run"))).round == 1


def test_it_is_locked_while_in_use(tmp_path: Path) -> None:
    steps = iter(loop(tmp_path / "run"))
    next(steps)
    with pytest.raises(RunLocked):
        next(iter(loop(tmp_path / "run")))
    steps.close()  # type: ignore[attr-defined]
    next(iter(loop(tmp_path / "run")))


def test_the_model_is_measured_on_test_and_never_sees_it(tmp_path: Path) -> None:
    batch_sizes: list[int] = []

    class Counts(LogisticRegression):  # type: ignore[misc]
        def fit(self, inputs: npt.NDArray[np.floating], targets: object) -> object:
            batch_sizes.append(len(inputs))
            return super().fit(inputs, targets)

    test_inputs = RNG.normal(size=(20, 5)) + 3 * np.eye(5)[Y[:20]]
    model = Counts()
    rounds = play(tmp_path / "run", model=model, test=(test_inputs, Y[:20]), ids=[f"scan {i}" for i in range(90)])
    assert batch_sizes == [9, 15, 21] and all(i < 90 for picks in rounds for i in picks)
    metrics = hal.open(tmp_path / "run").metrics
    right = [(model.predict(test_inputs)[Y[:20] == c] == c).mean() for c in range(3)]
    assert metrics["test/balanced_accuracy"][-1] == pytest.approx(np.mean(right))


class Half:
    """Says something of the classes that it saw alone, in two passes."""

    def fit(self, inputs: npt.NDArray[np.floating], targets: npt.NDArray[np.int64]) -> None:
        self.classes_ = np.unique(targets)

    def predict_proba(self, inputs: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        logits = np.stack([np.sin(inputs[:, : len(self.classes_)] * turn) for turn in (2, 3)], axis=1)
        probs: npt.NDArray[np.floating] = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
        return probs


def test_classes_that_were_never_seen_have_probability_zero(tmp_path: Path) -> None:
    picks = []
    for query in loop(tmp_path / "run", model=Half(), query="bald", budgets=(4, 4, 4)):
        query.tell(np.where(np.arange(len(query.indices)) % 2, 2, 0))
        picks.append(query.indices)
    with np.load(tmp_path / "run" / "rounds" / "001" / "scores.npz") as scores:
        assert scores["values"].std() > 0
    assert len(np.unique(np.concatenate(picks))) == 12


def test_labels_of_one_class_are_no_dead_end(tmp_path: Path) -> None:
    rounds = []
    for query in loop(tmp_path / "run"):
        query.tell([1 if query.round == 0 else int(Y[i]) for i in query.indices])
        rounds.append(query.round)
    assert rounds == [0, 1, 2]


def test_other_data_or_settings_are_another_run(tmp_path: Path) -> None:
    play(tmp_path / "run")
    with pytest.raises(InputError, match=r"other values for query\.name"):
        play(tmp_path / "run", query="margin")
    with pytest.raises(InputError, match="other data"):
        list(hal.Loop(LogisticRegression(), X + 1, classes=3, budgets=(9, 6, 6), run_dir=tmp_path / "run"))


class Wide(LogisticRegression):  # type: ignore[misc]
    def predict_proba(self, inputs: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        return np.full((len(inputs), 4), 0.25)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a model without predict_proba": (
        {"model": SVC()},
        r"model: expected an object with fit and predict_proba, got SVC, which has no predict_proba",
    ),
    "the class of a model": ({"model": LogisticRegression}, r"model: .*got the class LogisticRegression itself"),
    "one budget": ({"budgets": 10}, r"budgets: expected a list of whole numbers, one a round, got 10"),
    "no pair of test data": ({"test": (X[:5],)}, r"test: expected a pair \(inputs, labels\)"),
    "one class": ({"classes": ["a"]}, r"classes: expected at least two"),
    "a budget of nothing": ({"budgets": (5, 0)}, r"budgets: expected whole numbers of 1 or more, got 0"),
    "no budgets": ({"budgets": ()}, r"budgets: expected at least one round"),
    "too many labels": ({"budgets": (60, 31)}, r"at most the pool's 90 samples in all, got 91"),
    "inputs of another length": ({"inputs": X[:5]}, r"inputs: expected an array of 90 rows"),
    "ids of another length": ({"ids": ["a"]}, r"ids: expected 90"),
    "groups of another length": ({"groups": ["a"]}, r"groups: expected 90"),
    "ids twice": ({"ids": ["a"] * 90}, r"unique ids"),
    "a cold start that needs a model": ({"cold_start": "margin"}, r"cold_start: .*margin, that needs predictions"),
    "a query that needs consistency": ({"query": "hybrid"}, r"query: .*hybrid, that needs consistency"),
    "an unknown query": ({"query": "margn"}, r"query\.name: .*did you mean 'margin'"),
    "test labels of another length": ({"test": (X[:3], [0])}, r"test: expected 3 labels"),
    "test inputs of another shape": ({"test": (X[:3, :2], [0, 1, 2])}, r"test: expected inputs \(T, 5\)"),
    "an unknown test label": ({"test": (X[:1], [3])}, r"test: label 0: expected a class from 0 to 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line(case: str, tmp_path: Path) -> None:
    changes, words = BAD[case]
    with pytest.raises(InputError, match=words) as caught:
        loop(tmp_path / "run", **changes)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_embeddings_that_are_not_finite(tmp_path: Path) -> None:
    broken = X.copy()
    broken[7, 0] = np.inf
    with pytest.raises(InputError, match="embedding of sample 7: expected finite numbers"):
        hal.Loop(LogisticRegression(), broken, classes=3, budgets=(5,), run_dir=tmp_path)


def test_what_a_model_says_is_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.predict_proba: expected \(90, 3\) or \(90, S, 3\), got \(90, 4\)"):
        play(tmp_path / "wide", model=Wide())
    with pytest.raises(InputError, match=r"model\.predict_proba: expected \(N, S, C\) of several passes"):
        play(tmp_path / "bald", query="bald")


ANSWERS: dict[str, tuple[Callable[[hal.OpenQuery], object], type[InputError], str]] = {
    "too few": (lambda q: q.tell([0]), InputError, "tell: expected 9 labels, one for each of indices, got 1"),
    "nothing": (lambda q: q.tell({}), InputError, "tell: expected at least one label, got none"),
    "no list": (lambda q: q.tell(None), InputError, "tell: expected a list of labels, or a mapping .*, got None"),  # type: ignore[arg-type]
    "a word": (lambda q: q.tell("b"), InputError, "tell: expected a list of labels"),
    "an unknown class": (
        lambda q: q.tell([3] * 9),
        InputError,
        "expected a class from 0 to 2, its name, or None, got 3",
    ),
    "an unknown name": (lambda q: q.tell(["b"] * 9), UnknownName, "label of sample"),
    "a share": (lambda q: q.tell(np.full(9, 0.5)), InputError, "expected a class from 0 to 2"),
    "nobody asked": (
        lambda q: q.tell({int(np.setdiff1d(np.arange(90), q.indices)[0]): 0}),
        InputError,
        "of this query",
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_answers_are_checked_whole(case: str, tmp_path: Path) -> None:
    call, kind, words = ANSWERS[case]
    query = next(steps := iter(loop(tmp_path / "run")))
    with pytest.raises(kind, match=words):
        call(query)
    assert not list((tmp_path / "run").rglob("answers/*.csv"))
    assert query.tell(Y[query.indices]) == 0 and next(steps).round == 1


def test_killed_between_query_and_tell_it_asks_the_same_again(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    code = (
        "import os, signal, sys, numpy as np, hybrid_al as hal\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "data = np.load(sys.argv[1] + '/data.npz')\n"
        "run_dir = sys.argv[1] + '/run'\n"
        "for q in hal.Loop(LogisticRegression(), data['x'], classes=3, budgets=(9, 6, 6), run_dir=run_dir):\n"
        "    if q.round == 1:\n"
        "        print(q.indices.tolist(), flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    q.tell(data['y'][q.indices])\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    rounds = play(tmp_path / "run")
    assert str(rounds[0]) == killed.stdout.strip() and rounds == play(tmp_path / "whole")[1:]
