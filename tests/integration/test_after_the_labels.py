"""What a person does at the beginning and at the end, through the command line: select, predict, export."""

from __future__ import annotations

import csv
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.linear_model import LogisticRegression

import hybrid_al as hal
from hybrid_al.api.deployed import load_model, model_of_run
from hybrid_al.api.export import export
from hybrid_al.assemble import Project, experiment, open_project
from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.data.own_size import own_probs
from hybrid_al.data.readers.volumes import AXES, Volumes
from hybrid_al.errors import AwaitingLabels
from hybrid_al.metrics.calibration import Calibration, logs
from hybrid_al.oracles.formats.voxels import flat
from hybrid_al.recipe import parse
from tests.helpers.command import call
from tests.helpers.played import play
from tests.helpers.tiny import recipe_of

pytestmark = pytest.mark.slow


def table_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as rows:
        return list(csv.DictReader(rows))


def probs_of(project: Project, rows: IntArray) -> FloatArray:
    """Calibrated probabilities of the learner itself."""
    learner, r = experiment(project).learner, len(project.run.rounds()) - 1
    learner.load(project.run.round_path(r) / "model.safetensors")
    probs = np.concatenate([batch.probs.mean(axis=1) for batch in learner.predict(rows)])
    file = project.run.round_path(r) / "calibration.npz"
    if file.is_file():
        with np.load(file) as archive:
            calibration = Calibration(archive["scale"], archive["bias"])
        last = project.recipe.task.name == "segmentation"
        moved = np.moveaxis(probs, 1, -1) if last else probs
        probs = calibration.probs(logs(moved))
        probs = np.moveaxis(probs, -1, 1) if last else probs
    return probs[:, 1] if project.recipe.task.name == "multilabel" else probs


def test_from_a_folder_to_picks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(30):
        (tmp_path / "scans").mkdir(exist_ok=True)
        Image.fromarray(np.full((32, 32), 8 * i, dtype=np.uint8)).save(tmp_path / "scans" / f"{i:02d}.png")
    small = ["encoder.name=test_resnet", "pretrain=none", "data.image_size=16"]
    assert call("select", tmp_path / "scans", *small, "-k", 5, "--copy") == 0
    out = capsys.readouterr().out
    assert "30 images" in out and "test_resnet at 16 px" in out and "Picks: " in out
    assert len(table_of(tmp_path / "scans-picks" / "picks.csv")) == 5
    again = ["select", tmp_path / "scans", "-k", 5, "--embeddings", tmp_path / "scans-picks" / "embeddings.npz"]
    assert call(*again) == 2 and "one that exists" in capsys.readouterr().err
    assert call("select", tmp_path / "scans") == 2
    assert "-k: expected how many of the images to pick, got nothing" in capsys.readouterr().err
    assert call("select", "cells", "--copy", "--run-dir", tmp_path / "r") == 2
    assert "--copy: expected images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "learner", "fit"),
    [
        ("classification", "finetune", "none"),
        ("classification", "frozen", "cross"),
        ("classification", "linear", "none"),
        ("multilabel", "frozen", "cross"),
        ("segmentation", "finetune", "cross"),
    ],
)
def test_a_model_on_its_own_predicts_as_its_learner(tmp_path: Path, task: str, learner: str, fit: str) -> None:
    changes: dict[str, Any] = {"train": {"name": "mean_teacher", "steps": 4, "batch": 4, "members": 2}}
    project = play(tmp_path / "run", recipe_of(task, learner=learner, calibration={"fit": fit, "folds": 2}, **changes))
    rows = project.dataset.manifest.indices("pool")
    model = model_of_run(tmp_path / "run")
    probs = np.concatenate([probs for _, probs in model.of_store(project.store(), rows)])
    assert bool(model.note.calibrated) == (fit == "cross")
    assert np.allclose(probs, probs_of(project, rows), atol=1e-5)
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert np.array_equal(probs, np.concatenate([p for _, p in loaded.of_store(project.store(), rows)]))


def test_classes_of_the_pool_and_of_new_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = tmp_path / "run", tmp_path / "out.csv"
    project = play(run, recipe_of("classification", learner="frozen", calibration={"fit": "cross", "folds": 2}))
    pool, classes = project.dataset.manifest.indices("pool"), project.dataset.classes
    assert call("predict", run, "-o", out) == 0
    assert "round 1, trained on 6 labels; probabilities are calibrated" in capsys.readouterr().out
    table, probs = table_of(out), probs_of(project, pool)
    assert [row["id"] for row in table] == [project.dataset.manifest.ids[i] for i in pool.tolist()]
    assert list(table[0]) == ["id", "predicted", *(f"prob/{c}" for c in classes)]
    written = np.asarray([[float(row[f"prob/{c}"]) for c in classes] for row in table])
    assert np.allclose(written, probs, atol=1e-5)
    assert [row["predicted"] for row in table] == [classes[c] for c in probs.argmax(axis=1).tolist()]
    assert call("predict", run, "-o", out) == 2 and "one that exists" in capsys.readouterr().err

    folder, grey = tmp_path / "new", tmp_path / "grey"
    folder.mkdir()
    grey.mkdir()
    for i in pool[:3].tolist():
        Image.fromarray(np.asarray(project.dataset.read(i), dtype=np.uint8)).save(folder / f"{i}.png")
    Image.new("RGB", (40, 30)).save(folder / "large.png")
    (folder / "bad.png").write_text("no image", encoding="utf-8")
    Image.new("L", (16, 16)).save(grey / "a.png")
    assert call("predict", run, folder, "-o", tmp_path / "new.csv") == 0
    said = capsys.readouterr().out
    assert "the longer side of the training images is 16 px, of these 16 to 40 px" in said
    assert "skipped bad.png" in said and "colour" not in said
    new = {row["id"]: row for row in table_of(tmp_path / "new.csv")}
    assert len(new) == 4
    for i, row in zip(pool[:3].tolist(), table, strict=False):
        assert abs(float(new[f"{i}.png"][f"prob/{classes[0]}"]) - float(row[f"prob/{classes[0]}"])) < 1e-5
    assert call("predict", run, grey, "-o", tmp_path / "grey.csv") == 0
    assert "the model was trained on colour images, these are grey" in capsys.readouterr().out


def segmentation_of_volumes(folder: Path) -> dict[str, Any]:
    """Three volumes with masks whose values are 0 and 7."""
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        values = rng.normal(size=(12, 16, 4)).astype(np.float32)
        values[3:8, 4:9] += 4
        mask = np.zeros(values.shape, dtype=np.uint8)
        mask[3:8, 4:9] = 7
        for part, array in (("images", values), ("masks", mask)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            volume = nibabel.Nifti1Image(array, np.diag([-2.0, 2.0, 3.0, 1.0]))
            volume.to_filename(folder / part / f"{name}.nii.gz")
    return {
        "source": "nifti",
        "root": str(folder / "images"),
        "masks": str(folder / "masks"),
        "group": "none",
        "image_size": 16,
        "classes": ["background", "organ"],
        "mask_values": {0: "background", 7: "organ"},
        "window": [-3, 6],
    }


def test_masks_of_volumes_lie_on_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = segmentation_of_volumes(tmp_path / "data")
    project = play(tmp_path / "run", recipe_of("segmentation", data=data))
    assert call("predict", tmp_path / "run", "-o", tmp_path / "out") == 0
    assert call("predict", tmp_path / "run", tmp_path / "data" / "images" / "a.nii.gz", "-o", tmp_path / "one") == 0
    image = nibabel.Nifti1Image.from_filename(tmp_path / "data" / "images" / "a.nii.gz")
    mask = nibabel.Nifti1Image.from_filename(tmp_path / "out" / "masks" / "a.nii.gz")
    again = nibabel.Nifti1Image.from_filename(tmp_path / "one" / "masks" / "a.nii.gz")
    assert mask.shape == image.shape and np.array_equal(mask.affine, image.affine)
    assert set(np.unique(np.asarray(mask.dataobj)).tolist()) <= {0, 7}
    assert np.array_equal(np.asarray(mask.dataobj), np.asarray(again.dataobj))
    assert len(table_of(tmp_path / "out" / "predictions.csv")) == 12
    assert call("predict", tmp_path / "run", "-o", tmp_path / "out.csv") == 2
    assert "expected a folder for the masks" in capsys.readouterr().err

    assert call("export", tmp_path / "run", "-o", tmp_path / "export") == 0
    rows = table_of(tmp_path / "export" / "labels.csv")
    assert len(rows) == 6 and {row["origin"] for row in rows} == {"simulated"}
    truth = np.asarray(nibabel.Nifti1Image.from_filename(tmp_path / "data" / "masks" / "a.nii.gz").dataobj)
    for row in rows:
        sample, z = row["id"].split("#")
        exported = nibabel.Nifti1Image.from_filename(tmp_path / "export" / row["label"])
        values = np.asarray(exported.dataobj)
        labeled = {int(r["id"].split("#")[1]) for r in rows if r["id"].startswith(sample)}
        for k in range(values.shape[2]):
            expected = truth[:, :, k] if k in labeled else np.full(values.shape[:2], 255)
            assert np.array_equal(values[:, :, k], expected), (sample, z)
    assert project.run.rounds()


def test_slices_of_three_axes_are_answered_alone_and_predicted_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = {**segmentation_of_volumes(tmp_path / "data"), "axis": "all"}, tmp_path / "run"
    recipe = recipe_of("segmentation", data=data, oracle="worklist", cold_start="representative", loop={"budgets": [6]})
    with pytest.raises(AwaitingLabels):
        play(run, recipe)
    assert call("query", run, "--format", "nifti", "-o", tmp_path / "asked") == 0
    assert not (tmp_path / "asked" / "slices.csv").exists(), "slices go out one by one"
    project = open_project(parse(recipe), run_dir=run)
    dataset, masks, given = project.dataset, project.dataset.masks, tmp_path / "given"
    assert masks is not None
    given.mkdir()
    for file in (tmp_path / "asked" / "images").iterdir():
        flat(masks.read(int(file.name[:6])) * np.uint8(7)).to_filename(given / file.name)
    whole = given / "a-12345678.nii.gz"
    shutil.copyfile(tmp_path / "data" / "masks" / "a.nii.gz", whole)
    capsys.readouterr()
    assert call("labels", run, given) == 2 and "a-12345678" in (line := capsys.readouterr().err), line
    whole.unlink()
    assert call("labels", run, given, "--empty") == 0
    play(run, recipe)

    assert call("export", run, "-o", tmp_path / "export") == 0
    rows = table_of(tmp_path / "export" / "labels.csv")
    assert len(rows) == 6, "an answer is of one slice alone"
    for row in rows:
        path, axis, z = row["id"].split("#")
        assert row["label"] == f"masks/{path.split('.')[0]}_{axis}_{int(z):04d}.png"
        exported = np.asarray(Image.open(tmp_path / "export" / row["label"]))
        np.testing.assert_array_equal(exported, masks.read(dataset.manifest.position[row["id"]]) * 7)

    image = tmp_path / "data" / "images" / "a.nii.gz"
    assert call("predict", run, "-o", tmp_path / "pool") == 0
    assert call("predict", run, image, "-o", tmp_path / "one") == 0
    sums = np.zeros((2, 12, 16, 4))
    probs = iter(model_of_run(run).predict([image]))
    for axis in AXES:
        reader, slices = Volumes(axis), sums.transpose(0, *(1 + side for side in AXES[axis]))
        for number in range(reader.probe(image).planes or 0):
            slices[:, number, ::-1] += own_probs(next(probs), *slices.shape[2:])
    expected = sums.argmax(axis=0) * 7
    for out in (tmp_path / "pool", tmp_path / "one"):
        np.testing.assert_array_equal(nibabel.load(out / "masks" / "a.nii.gz").dataobj, expected[::-1])
        table = [row for row in table_of(out / "predictions.csv") if row["mask"] == "masks/a.nii.gz"]
        assert len(table) == 12 + 16 + 4
        for axis, weight in zip(AXES, (4, 16, 12), strict=True):
            shares = [float(row["share/organ"]) for row in table if f"#{axis}#" in row["id"]]
            assert len(shares) == weight and abs(np.mean(shares) - (expected > 0).mean()) < 1e-5


@pytest.mark.parametrize("answer", ["points", "boxes", "scribbles"])
def test_points_and_boxes_are_tables_in_pixels_of_the_images(tmp_path: Path, answer: str) -> None:
    if answer == "scribbles":
        pytest.importorskip("skimage")
    play(tmp_path / "run", recipe_of("segmentation", oracle={"name": "simulated", "answer": answer}))
    assert call("export", tmp_path / "run", "-o", tmp_path / "export", "--quiet") == 0
    labels = table_of(tmp_path / "export" / "labels.csv")
    assert len(labels) == 6
    if answer == "scribbles":
        with Image.open(tmp_path / "export" / labels[0]["label"]) as mask:
            assert mask.size == (16, 16)
        return
    rows = table_of(tmp_path / "export" / f"{answer}.csv")
    assert {row["id"] for row in rows} == {row["id"] for row in labels if row["label"] == f"{answer}.csv"}
    numbers = [float(row[key]) for row in rows for key in list(row)[2:] if row[key]]
    assert numbers and min(numbers) >= 0 and max(numbers) <= 16


def test_an_export_says_who_labeled_and_its_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = tmp_path / "run", tmp_path / "export"
    project = play(run, recipe_of("classification", learner="frozen"))
    assert call("export", run, "-o", out) == 0
    names = {path.name for path in out.iterdir()}
    assert names - {"model.onnx"} == {
        "README.md",
        "labels.csv",
        "encoder.safetensors",
        "model.safetensors",
        "model.json",
    }
    rows = table_of(out / "labels.csv")
    assert list(rows[0]) == ["id", "label", "annotator", "round", "time", "origin"]
    held_out = {project.dataset.manifest.ids[i] for s in ("val", "test") for i in project.dataset.manifest.indices(s)}
    assert len(rows) == 6 and not held_out & {row["id"] for row in rows}
    text = (out / "README.md").read_text(encoding="utf-8")
    assert "all given by the simulated oracle" in text
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in example.splitlines() if line]) == 6
    result = subprocess.run([sys.executable, "-c", example], cwd=out, capture_output=True, text=True, check=True)
    assert str(project.dataset.classes) in result.stdout and "tensor" in result.stdout
    assert str(tmp_path) not in (out / "model.json").read_text(encoding="utf-8")
    if importlib.util.find_spec("onnxscript") is None:
        assert "no model.onnx: onnx and onnxscript not installed" in capsys.readouterr().out


def test_the_graph_says_what_the_model_says(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs pip install 'hybrid-al[onnx]'")
    pytest.importorskip("onnxscript", reason="needs pip install 'hybrid-al[onnx]'")
    project = play(tmp_path / "run", recipe_of("classification", calibration={"fit": "cross", "folds": 2}))
    assert call("export", tmp_path / "run", "-o", tmp_path / "export") == 0
    store = project.store()
    images = store.batch(np.arange(5, dtype=np.int64)).numpy()
    (probs,) = runtime.InferenceSession(tmp_path / "export" / "model.onnx").run(None, {"images": images})
    model = load_model(tmp_path / "export")
    (expected,) = (p for _, p in model.of_store(store, np.arange(5, dtype=np.int64)))
    assert np.allclose(probs, expected, atol=1e-5)


def test_labels_of_people_are_theirs_and_a_run_without_a_model_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = tmp_path / "run", tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe_of("classification", oracle="worklist", learner="linear")), encoding="utf-8")
    assert call("run", file, "--run-dir", run, "--quiet") == 3
    capsys.readouterr()
    for verb, out in (("predict", "p.csv"), ("export", "e")):
        assert call(verb, run, "-o", tmp_path / out) == 2
        assert capsys.readouterr().err == f"{run}: expected a run with a trained model, got no round is committed yet\n"
        assert not (tmp_path / out).exists()
    ids = [row["id"] for row in table_of(run / "rounds" / "000" / "query.csv")]
    words = ["skip", *(["0", "1"] * len(ids))]
    classes = model_classes(run)
    answers = tmp_path / "answers.csv"
    lines = [f"{i},{w if w == 'skip' else classes[int(w)]}" for i, w in zip(ids, words, strict=False)]
    answers.write_text("id,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    assert call("labels", run, answers, "--annotator", "jo") == 0
    assert call("run", file, "--run-dir", run, "--quiet") == 3
    assert call("export", run, "-o", tmp_path / "export") == 0
    rows = table_of(tmp_path / "export" / "labels.csv")
    assert {(row["annotator"], row["origin"]) for row in rows} == {("jo", "person")}
    assert [row["label"] for row in rows] == [line.split(",")[1] for line in lines] and rows[0]["time"]
    capsys.readouterr()
    again = tmp_path / "again.csv"
    assert call("audit", run, "--recheck", again) == 0
    assert re.search(r"Labels: .*again\.csv, \d of 3 doubtful; corrected, hybrid-al labels", capsys.readouterr().out)
    rows = table_of(again)
    assert {(row["id"], row["label"]) for row in rows} == {tuple(line.split(",")) for line in lines[1:]}
    assert [float(row["doubt"]) for row in rows] == sorted((float(row["doubt"]) for row in rows), reverse=True)
    assert call("audit", run, "--recheck", again) == 2 and "expected a new file" in capsys.readouterr().err
    assert call("labels", run, again, "--annotator", "jo", "--replace") == 0


def model_classes(run: Path) -> list[str]:
    import json

    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return [str(name) for name in facts["classes"]]


def test_a_loop_around_an_own_model_exports_its_labels_alone(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).normal(size=(40, 4))
    classes = (inputs[:, 0] > 0).astype(int)
    for query in hal.Loop(LogisticRegression(), inputs, ["no", "yes"], [6, 4], tmp_path / "run"):
        query.tell(classes[query.indices])
    said: list[str] = []
    export(tmp_path / "run", out=tmp_path / "export", say=said.append)
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == ["README.md", "labels.csv"]
    rows = table_of(tmp_path / "export" / "labels.csv")
    assert [row["label"] for row in rows] == [["no", "yes"][classes[int(row["id"])]] for row in rows]
    assert len(rows) == 10 and "the caller's own" in said[0]
