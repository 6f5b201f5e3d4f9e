"""Bags from a table to a report: tiles of drawn slides, of which one tile decides."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hybrid_al.api.deployed import model_of_run
from hybrid_al.api.export import export
from hybrid_al.assemble import experiment, open_project
from hybrid_al.cli import main
from hybrid_al.errors import InputError
from hybrid_al.learners.attention import attention_of
from hybrid_al.learners.network import NetworkLearner
from hybrid_al.recipe import parse

SIZE, BAGS = 16, {"pool": 16, "val": 6, "test": 8}


def draw(folder: Path) -> Path:
    """Slides of 1 to 7 grey tiles; every other slide has one tile with a bright square, and is ill."""
    rng, rows = np.random.default_rng(0), list[list[str]]()
    (folder / "tiles").mkdir(parents=True)
    for split, count in BAGS.items():
        for slide in range(count):
            tiles, ill = 1 + slide % 7, slide % 2
            for tile in range(tiles):
                pixels = rng.integers(60, 90, (SIZE, SIZE, 3)).astype(np.uint8)
                if ill and tile == tiles // 2:
                    pixels[4:12, 4:12] = 250
                name = f"tiles/{split}{slide:02d}_{tile}.png"
                Image.fromarray(pixels).save(folder / name)
                rows.append([name, f"{split}{slide:02d}", split, "ill" if ill else "well"])
    with (folder / "tiles.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", "slide", "split", "label"], *rows])
    return folder / "tiles.csv"


def recipe_of(table: Path, **changes: Any) -> dict[str, Any]:
    data = {"source": "csv", "root": str(table), "image_size": SIZE, "group": "slide", "bag": "slide"}
    return {
        "name": "slides",
        "task": "bags",
        "modality": "microscopy",
        "data": data,
        "encoder": {"name": "test_resnet"},
        "pretrain": "none",
        "learner": "attention",
        "cold_start": "random",
        "query": "entropy",
        "train": {"name": "supervised", "steps": 150, "batch": 8},
        "loop": {"budgets": [8, 3]},
        "track": {},
        **changes,
    }


def play(tmp_path: Path, **changes: Any) -> Path:
    import yaml

    file, run = tmp_path / "recipe.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(recipe_of(draw(tmp_path / "data"), **changes)), encoding="utf-8")
    with pytest.raises(SystemExit) as code:
        main(["run", str(file), "--run-dir", str(run)])
    assert code.value.code in (0, None)
    return run


@pytest.mark.slow
def test_bags_are_asked_about_and_the_attention_falls_on_the_tile_that_decides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = play(tmp_path)
    project = open_project(parse(recipe_of(tmp_path / "data" / "tiles.csv")), run_dir=run)
    setup, rounds = experiment(project), project.run.rounds()
    assert [row.labeled for row in rounds] == [8, 11]
    bags = {project.dataset.bags[project.dataset.manifest.position[i]] for row in rounds for i in row.query}
    assert len(bags) == 11 and all(bag.startswith("pool") for bag in bags)
    assert rounds[-1].metrics["test/auroc"] == 1
    setup.learner.load(project.run.round_path(1) / "model.safetensors")
    assert isinstance(setup.learner, NetworkLearner)
    for sample in np.flatnonzero(project.dataset.truth == list(project.dataset.classes).index("ill")).tolist():
        weights = attention_of(setup.learner, sample)
        assert weights.sum() == pytest.approx(1) and (len(weights) < 3 or weights.argmax() == len(weights) // 2)
    with (project.run.round_path(1) / "tiles.csv").open(encoding="utf-8") as file:
        tiles = list(csv.DictReader(file))
    assert {row["bag"] for row in tiles} == set(rounds[1].query) and all(row["name"] in row["id"] for row in tiles)
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert "What the attention falls on" in page and "attention 0." in page
    with pytest.raises(InputError, match="a run whose model is of single images, got one of bags"):
        model_of_run(run)
    said = list[str]()
    assert (export(run, out=tmp_path / "out", say=said.append) / "labels.csv").is_file() and "no model" in said[0]
    assert "16 bags in pool, 16 with a label; 1 to 7 rows" in _check(tmp_path, capsys)


def _check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["check", str(tmp_path / "recipe.yaml"), "--run-dir", str(tmp_path / "run")])
    return capsys.readouterr().out


@pytest.mark.slow
def test_the_plainest_learner_is_logistic_regression_on_the_mean(tmp_path: Path) -> None:
    run = play(tmp_path, learner="linear", query="badge", loop={"budgets": [6, 2]})
    project = open_project(
        parse(recipe_of(tmp_path / "data" / "tiles.csv", learner="linear")), run_dir=run.parent / "x"
    )
    assert project.task.summary(project.setting, project.dataset, tmp_path)[-1].endswith("mean of a bag's embeddings")
    assert not (run / "rounds" / "001" / "tiles.csv").exists()
