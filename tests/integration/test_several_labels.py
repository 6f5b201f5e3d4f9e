"""Several labels a sample through the same loop: a whole run on the phantom, interrupted too, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from hybrid_al.assemble import Project, experiment, open_project
from hybrid_al.bench.grid import load_grid
from hybrid_al.bench.results import END, read
from hybrid_al.bench.runner import Paths, open_variants
from hybrid_al.cli import main
from hybrid_al.components import check_components
from hybrid_al.core.consistency import Consistency
from hybrid_al.core.rundir import RunDir
from hybrid_al.errors import InputError
from hybrid_al.metrics.calibration import calibrate, logs
from hybrid_al.metrics.holdout import LabelHoldout
from hybrid_al.recipe import parse
from hybrid_al.report.overview import standing
from hybrid_al.report.runview import RunView
from tests.helpers.played import play as play_recipe

TINY: dict[str, Any] = {
    "name": "tiny",
    "task": "multilabel",
    "data": {
        "source": "phantom",
        "multilabel": True,
        "n_pool": 24,
        "n_val": 8,
        "n_test": 10,
        "size": 16,
        "image_size": 16,
    },
    "encoder": {"name": "test_resnet"},
    "pretrain": "none",
    "learner": "frozen",
    "cold_start": "random",
    "train": {"name": "fixmatch", "threshold": 0.6, "steps": 4, "min_steps": 4, "batch": 4},
    "loop": {"budgets": [6, 3]},
    "track": {"wandb": {"mode": "off"}},
}


def play(path: Path, **changes: Any) -> Project:
    return play_recipe(path, {**TINY, **changes})


def outcome(path: Path) -> list[Any]:
    """What the rounds of a run came to, without their seconds."""
    rounds = [json.loads(f.read_text()) for f in sorted((path / "rounds").glob("*/round.json"))]
    times = ("seconds", "digest")  # the digest of the file is of its seconds too
    return [{k: v for k, v in row.items() if k not in times} for row in rounds]


@pytest.mark.slow
def test_a_run_its_report_and_its_end_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(TINY))
    whole = tmp_path / "whole"
    with pytest.raises(SystemExit, match="0"):
        main(["run", str(recipe), "--run-dir", str(whole), "--quiet"])
    rounds = outcome(whole)
    assert [row["labeled"] for row in rounds] == [6, 9]
    metrics = rounds[-1]["metrics"]
    assert {"test/auroc", "test/average_precision", "test/brier", "test/ece", "val/auroc"} <= metrics.keys()
    assert any(name.startswith("test/auroc/") for name in metrics)
    record = Consistency.load(whole / "rounds" / "000" / "consistency.npz")
    pool = RunView.read(whole).manifest.indices("pool")
    units = RunView.read(whole).rounds[0].units
    assert (record.seen[np.setdiff1d(pool, units)] >= 2).all() and record.divergence.max() > 0
    page = (whole / "report" / "index.html").read_text()
    assert "average_precision" in page and "granular" in page and "its own probability" in page

    evaluate, calls = LabelHoldout.evaluate, []

    def stopped(self: LabelHoldout, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return evaluate(self, *args, **kwargs)

    monkeypatch.setattr(LabelHoldout, "evaluate", stopped)
    with pytest.raises(KeyboardInterrupt):
        play(tmp_path / "stopped")
    assert len(outcome(tmp_path / "stopped")) == 1
    play(tmp_path / "stopped")
    assert outcome(tmp_path / "stopped") == rounds


@pytest.mark.slow
@pytest.mark.parametrize("fit", ["val", "cross"])
def test_labels_are_calibrated_and_queries_see_it(tmp_path: Path, fit: str) -> None:
    settings = {"query": "least_confidence", "calibration": {"fit": fit, "folds": 2, "queries": True}}
    project = play(tmp_path / "run", **settings)
    setup, store = experiment(project), project.run.labels(42).as_of(0)
    setup.learner.load(project.run.round_path(0) / "model.safetensors")
    probs, truth = setup.task.holdout.answers(setup.learner, "val")
    if fit == "cross":
        probs, truth = setup.learner.held_out(store, round=0, seed=0, folds=2)
        np.testing.assert_array_equal(truth, store.label_targets(4))
    assert probs.shape == (len(truth), 2, 4)
    calibration = calibrate(logs(probs), truth)
    with np.load(project.run.round_path(0) / "calibration.npz") as archive:
        np.testing.assert_allclose(archive["scale"], calibration.scale)
    rounds = project.run.rounds()
    assert ("val/ece_calibrated" in rounds[0].metrics) == (fit == "cross")
    assert {"test/ece_calibrated/granular", "test/brier_calibrated"} <= rounds[1].metrics.keys()

    candidates = np.setdiff1d(project.dataset.manifest.indices("pool"), store.answered)
    plain = np.concatenate([b.probs for b in setup.learner.predict(candidates)])
    yes = calibration.probs(logs(plain))[:, 0, 1]
    with np.load(project.run.round_path(1) / "scores.npz") as archive:
        np.testing.assert_array_equal(archive["indices"], candidates)
        np.testing.assert_allclose(archive["values"], np.minimum(yes, 1 - yes).mean(axis=1), rtol=1e-5)


def test_a_calibration_on_val_wants_a_label_there(tmp_path: Path) -> None:
    data = make_unanswered(tmp_path, "a", "b")
    with pytest.raises(InputError, match=r"calibration\.fit: expected a val split with labels"):
        open_project(parse({**TINY, "data": data, "calibration": {"fit": "val"}, "oracle": "worklist"}))


@pytest.mark.slow
@pytest.mark.parametrize("query", ["entropy", {"name": "bald", "samples": 3}])
def test_finetune_and_one_label_alone(tmp_path: Path, query: Any) -> None:
    images = np.random.default_rng(0).integers(256, size=(24, 16, 16), dtype=np.uint8)
    labels = np.arange(24)[:, None] % 2
    images[labels[:, 0] == 1, :8] = 255  # a label that can be seen
    np.savez(
        tmp_path / "set.npz",
        train_images=images[:14],
        train_labels=labels[:14],
        test_images=images[14:],
        test_labels=labels[14:],
    )
    data = {"source": "npz", "root": str(tmp_path / "set.npz"), "multilabel": True, "group": "none", "image_size": 16}
    train = {"name": "mean_teacher", "steps": 40, "min_steps": 40, "batch": 4}
    project = play(tmp_path / "run", data=data, learner="finetune", train=train, query=query)
    last = project.run.rounds()[-1]
    assert last.labeled == 9 and last.metrics["test/auroc"] == last.metrics["test/auroc/0"] > 0.8


def test_check_says_what_would_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(TINY))
    with pytest.raises(SystemExit, match="0"):
        main(["check", str(recipe), "--run-dir", str(tmp_path / "run")])
    text = capsys.readouterr().out
    assert "24 images" in text and "lobed nucleus " in text and "no labels" not in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": "flexmatch"}, "train: expected an objective of several labels a sample \\(supervised, .*flexmatch"),
        ({"train": "fixmach"}, "fixmatch"),
        ({"query": "badge"}, "query \\(badge\\): expected a strategy that a multilabel task can feed"),
        (
            {"query": "batchbald"},
            "query \\(batchbald\\): .*expected a strategy that scores samples, got one that needs classes",
        ),
        ({"query": "smi"}, "query \\(smi\\): expected a strategy for a multilabel task"),
        ({"loop": {"budgets": [3], "stop": {"enforce": True}}}, "loop.stop.enforce: expected false"),
        ({"train": {"name": "fixmatch", "prior": 0.5}}, "train.prior: expected 0"),
        ({"train": {"name": "fixmatch", "record": {"within": "class"}}}, "train.record.within: expected all"),
    ],
)
def test_what_several_labels_have_not_is_refused_before_data_is_read(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_components(parse({**TINY, **changes}))


@pytest.mark.parametrize("query", ["entropy", "margin", "least_confidence", "hybrid", "bald", "tta_entropy", "kcenter"])
def test_what_can_ask_about_several_labels_passes(query: str) -> None:
    check_components(parse({**TINY, "query": query, "cold_start": "typiclust"}))


def test_the_task_and_the_data_must_agree(tmp_path: Path) -> None:
    one = {k: v for k, v in TINY["data"].items() if k != "multilabel"}
    with pytest.raises(InputError, match=r"data: expected labels .*, got one class a sample"):
        open_project(parse({**TINY, "data": one}), run_dir=tmp_path / "run")
    with pytest.raises(InputError, match="task: expected multilabel, as samples have several labels"):
        open_project(parse({**TINY, "task": "classification"}), run_dir=tmp_path / "run")


def bench(tmp_path: Path, *overrides: str, data: Any = TINY["data"]) -> Any:
    """The variants of a bench of the tiny recipe, looked at as before a run."""
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({**TINY, "data": data}))
    return open_variants(load_grid(file, overrides), Paths(tmp_path, tmp_path / "runs"), "cpu")


def test_a_bench_has_the_baselines_of_the_task(tmp_path: Path) -> None:
    (variant,) = bench(tmp_path, "bench.metrics=[test/auroc/granular]")
    assert variant.pool == 24
    assert list(load_grid(tmp_path / "recipe.yaml").strategies) == ["random", "recipe"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("bench.strategies=[class_stratified]", "bench: strategies: expected no class_stratified"),
        ("bench.strategies=[random+class_stratified]", "no class_stratified, .*got random.class_stratified"),
        ("bench.metrics=[test/auroc/granulr]", "bench: tiny: metrics: .*did you mean 'granular'"),
        ("bench.metrics=[tset/auroc]", "a split where some have a label and some have it not, got tset/auroc"),
    ],
)
def test_a_bench_that_cannot_be(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        bench(tmp_path, override)


@pytest.mark.parametrize(
    ("unknown", "message"),
    [
        (-1, "bench: tiny: expected a pool whose images all have their labels, got 1 of 9 without"),
        (0, "metrics: expected a metric of a split where some have the label and some have it not, got test/auroc/b"),
    ],
)
def test_a_bench_of_data_that_does_not_do(tmp_path: Path, unknown: int, message: str) -> None:
    labels = np.asarray([[1, 0], [0, 1], [0, 0]] * 3 + [[1, 0], [0, 0]])
    labels[0, 1] = unknown
    file, images = tmp_path / "set.npz", np.random.default_rng(0).integers(256, size=(11, 8, 8), dtype=np.uint8)
    parts = {"train_images": images[:9], "train_labels": labels[:9], "test_images": images[9:]}
    np.savez(file, **parts, test_labels=labels[9:])  # type: ignore[arg-type]
    data = {"source": "npz", "root": str(file), "multilabel": True, "group": "none", "classes": ["a", "b"]}
    with pytest.raises(InputError, match=message):
        bench(tmp_path, "bench.metrics=[test/auroc/b]", data=data)


def make_unanswered(folder: Path, *names: str) -> dict[str, Any]:
    """Images of which nobody knows a label yet."""
    for i, pixels in enumerate(np.random.default_rng(0).integers(256, size=(12, 16, 16), dtype=np.uint8)):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    rows = [",".join(["file", *names]), *(f"{i}.png" + "," * len(names) for i in range(12))]
    (folder / "index.csv").write_text("\n".join(rows))
    columns = {"path": "file", "group": "none"}
    return {"source": "csv", "root": str(folder), "columns": columns, "labels": list(names), "image_size": 16}


@pytest.mark.slow
def test_a_person_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, run = tmp_path / "recipe.yaml", tmp_path / "run"
    settings = {"data": make_unanswered(tmp_path, "mass", "oedema"), "oracle": "worklist", "loop": {"budgets": [4, 2]}}
    file.write_text(yaml.safe_dump({**TINY, **settings}))

    def call(*argv: object) -> int:
        with pytest.raises(SystemExit) as end:
            main([str(a) for a in argv])
        return int(end.value.code or 0)

    assert call("run", file, "--run-dir", run, "--quiet") == 3
    query = run / "rounds" / "000" / "query.csv"
    answers = iter(["mass", "none", "oedema;mass", "skip"])
    lines = query.read_text().splitlines()
    (tmp_path / "filled.csv").write_text("\n".join([lines[0], *(line + next(answers) for line in lines[1:])]))
    capsys.readouterr()
    assert call("labels", run, tmp_path / "filled.csv") in (0, None)
    assert "4 answers taken, the round is complete" in capsys.readouterr().out
    assert call("run", file, "--run-dir", run, "--quiet") == 3
    view = RunView.read(run)
    assert sorted(map(str, (a.target for a in view.labels.current.values()))) == ["()", "(0, 1)", "(0,)", "None"]
    assert "waits for 2 of 2 labels" in capsys.readouterr().err + "\n".join(standing(RunDir(run)))


@pytest.mark.parametrize("name", ["a;b", "none", "skip"])
def test_labels_that_no_list_can_name_are_refused(tmp_path: Path, name: str) -> None:
    data = make_unanswered(tmp_path, "mass", name)
    with pytest.raises(InputError, match="names without ; in them, and other than none and skip"):
        open_project(parse({**TINY, "data": data, "oracle": "worklist"}))


def test_nobody_answers_where_nothing_is_known(tmp_path: Path) -> None:
    data = make_unanswered(tmp_path, "mass", "oedema")
    with pytest.raises(InputError, match=r"got none in the data; use oracle\.name=worklist"):
        open_project(parse({**TINY, "data": data}))


@pytest.mark.slow
def test_a_bench_counts_the_labels_that_are_there(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(
        yaml.safe_dump({**TINY, "bench": {"recipe": False, "strategies": ["entropy"], "seeds": 1, "encoders": 1}})
    )
    with pytest.raises(SystemExit, match="0"):
        main(["bench", str(file), "--run-dir", str(tmp_path / "work"), "--jobs", "1"])
    cells = read(tmp_path / "work" / "tiny" / "tiny.csv").cells
    assert {arm.strategy for arm, _ in cells} == {"random", "entropy", "full"}
    labels = open_project(parse(TINY), run_dir=tmp_path / "again").dataset
    pool = labels.manifest.indices("pool")
    assert labels.labels is not None
    for (arm, _), rows in cells.items():
        values = {r.metric: r.value for r in rows if r.round == (0 if arm.strategy == "full" else 1)}
        assert {"test/auroc", "test/balanced_accuracy", "test/ece", END} <= values.keys()
        if arm.strategy == "full":
            counts = [values[f"labels/{name}"] for name in labels.classes]
            assert counts == labels.labels[pool].sum(axis=0).tolist()
    assert "Class balance" in (tmp_path / "work" / "tiny" / "tables.md").read_text()
