"""Loops with a source whose labels are given and a target that is asked about, of classes and of masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import hybrid_al as hal
from hybrid_al.api.deployed import model_of_run
from hybrid_al.components import check_components
from hybrid_al.core.rundir import RunDir
from hybrid_al.errors import InputError
from hybrid_al.recipe import load
from tests.helpers.tiny import recipe_of


def _images(root: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(36):
        folder = root / "xy"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        level = 60 + 90 * (k % 2) + 40 * (k % 3 == 0)
        picture = rng.integers(level - 40, level + 40, (16, 16), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{'a' if k % 3 == 0 else 'b'}{k:02d}.png")
        masks = root.parent / "masks" / "xy"[k % 2]
        masks.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture > level).astype(np.uint8)).save(masks / f"{'a' if k % 3 == 0 else 'b'}{k:02d}.png")


def _recipe(root: Path, task: str = "classification", **changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"source": "folder", "root": str(root), "group": "none", "domain": "/([ab])[0-9]",
            "holdout": {"test": 0.3}, "image_size": 16}  # fmt: skip
    if task == "segmentation":
        data |= {"masks": str(root.parent / "masks"), "classes": ["background", "cell"]}
    return recipe_of(
        task, data=data, domains={"source": "a"}, **{"loop": {"budgets": [0, 3, 2]}, "learner": "frozen", **changes}
    )


def test_given_labels_are_there_from_round_0_and_only_the_target_is_asked(tmp_path: Path) -> None:
    _images(root := tmp_path / "images")
    result = hal.run(_recipe(root, query="aada"), run_dir=tmp_path / "run")
    disk = RunDir(tmp_path / "run")
    manifest = disk.manifest()
    labels = disk.labels(len(manifest))
    given = [a for a in labels.annotations if a.annotator == "given"]
    source = manifest.of_domains(["a"])[manifest.indices("pool")]
    assert len(given) == source.sum() and {manifest.domains[a.index] for a in given} == {"a"}
    assert [r.labeled for r in disk.rounds()] == [len(given), len(given) + 3, len(given) + 5]
    assert {manifest.domains[manifest.position[i]] for r in disk.rounds() for i in r.query} == {"b"}
    assert disk.rounds()[0].query == () and labels.cost == 5
    last = result.rounds[-1].metrics
    for part in ("domain/a", "domain/b", "source", "target"):
        assert f"{part}/test/accuracy" in last
    assert last["target/test/accuracy"] == last["domain/b/test/accuracy"]


def test_a_source_free_loop_goes_on_from_the_model_of_the_source(tmp_path: Path) -> None:
    """With an adapter, whose weights come back from the disk, in an export too."""
    _images(root := tmp_path / "images")
    train = {"name": "shot", "start": "last", "target_share": 1, "steps": 4, "min_steps": 4, "batch": 4, "ratio": 1}
    recipe = _recipe(root, train=train, query="stdr", learner={"name": "frozen", "strong_views": 1, "adapter": 3})
    result = hal.run(recipe, run_dir=tmp_path / "run")
    assert [r.metrics.keys() >= {"target/test/accuracy"} for r in result.rounds] == [True] * 3
    adapters = [
        load_file(tmp_path / "run" / "rounds" / f"00{r}" / "model.safetensors")["teacher.encoder.1.up.weight"]
        for r in (0, 1, 2)
    ]
    assert all(a.abs().max() > 0 for a in adapters) and not torch.equal(adapters[1], adapters[2])
    assert model_of_run(tmp_path / "run").members[0].get_parameter("encoder.1.up.weight").equal(adapters[2])


@pytest.mark.slow
def test_masks_of_the_source_are_given(tmp_path: Path) -> None:
    """With MADA's pair of query and training."""
    _images(root := tmp_path / "images")
    train = {"name": "anchors", "steps": 6, "min_steps": 6, "batch": 4, "anchors": 3}
    query = {"name": "mada", "by": "classes"}
    changes = {"learner": "finetune", "query": query, "train": train, "loop": {"budgets": [0, 2]}}
    result = hal.run(_recipe(root, "segmentation", **changes), run_dir=tmp_path / "run")
    labels = RunDir(tmp_path / "run").labels(36)
    kinds = {(a.kind, a.annotator) for a in labels.annotations}
    assert kinds == {("mask", "given"), ("mask", "simulated")}
    assert {"target/test/dice", "domain/a/test/dice"} <= set(result.rounds[-1].metrics)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"domains": {}, "query": "tqs", "loop": {"budgets": [2, 2]}},
            r"query: expected domains whose labels are given",
        ),
        (
            {"train": "mme", "learner": "linear"},
            r"^train: expected learner: finetune, or frozen with an adapter, as this .*, got linear$",
        ),
        ({"train": "dann", "learner": {"name": "frozen", "adapter": 0}}, r"^train: expected learner: .* got frozen$"),
        (
            {"train": "dann", "domains": {}, "loop": {"budgets": [2, 2]}},
            r"^train: expected domains whose labels are given \(data.domain and domains.source\), for .*, got dann$",
        ),
        (
            {"train": {"name": "shot", "target_share": 1}},
            r"^train\.start: expected last, where .*, got stage0$",
        ),
        (
            {"train": {"name": "shot", "target_share": 1, "start": "last"}, "loop": {"budgets": [2, 2]}},
            r"^loop\.budgets: expected 0 first, so that round 0 learns from the source .*, got 2$",
        ),
        (
            {"train": {"name": "fixmatch", "target_share": 1, "start": "last"}},
            r"^learner: expected finetune, or frozen with an objective that trains the features, .*, got frozen$",
        ),
        (
            {"cold_start": {"name": "mada", "by": "classes"}},
            r"^cold_start: expected a strategy that needs embeddings alone, got one that needs features$",
        ),
        ({"data.grow": True}, r"data\.grow: expected false, where labels of a source are given"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    plain = _recipe(tmp_path)
    for key, value in changes.items():
        if key == "data.grow":
            plain["data"]["grow"] = value
        else:
            plain[key] = value
    with pytest.raises(InputError, match=words):
        check_components(load(plain))


@pytest.mark.slow
def test_regions_of_the_target_are_asked_about_beside_whole_masks_of_the_source(tmp_path: Path) -> None:
    _images(root := tmp_path / "images")
    recipe = _recipe(
        root,
        "segmentation",
        learner="finetune",
        train={"name": "mean_teacher", "steps": 4, "batch": 4},
        query={"name": "d2ada", "by": "features"},
        loop={"budgets": [0, 3, 2]},
    )
    recipe["task"] = {**recipe["task"], "region": {"name": "windows", "side": 8}}
    hal.run(recipe, run_dir=tmp_path / "run")
    disk = RunDir(tmp_path / "run")
    manifest = disk.manifest()
    given = manifest.of_domains(["a"])[manifest.indices("pool")].sum()
    assert [r.labeled for r in disk.rounds()] == [4 * given, 4 * given + 3, 4 * given + 5]
    assert {manifest.domains[manifest.position[i]] for r in disk.rounds() for i in r.query} == {"b"}
    pixels = [r.metrics["cost/pixels"] for r in disk.rounds()]
    assert pixels == [256 * given, 256 * given + 3 * 64, 256 * given + 5 * 64]
    labels = disk.labels(len(manifest))
    assert {(a.annotator, a.region is None) for a in labels.annotations} == {("given", True), ("simulated", False)}
    assert labels.cost == 5 and "target/test/dice" in disk.rounds()[-1].metrics


@pytest.mark.parametrize(
    ("task", "query", "words"),
    [
        (
            {"region": {"name": "ripu", "side": 4}},
            "random",
            r"^domains\.source: expected whole images, windows or superpixels to ask about .*, got ripu$",
        ),
        ({"region": "superpixels"}, "d2ada", r"^query \(d2ada\): .*by: expected features, where samples have masks"),
        (
            {"region": "superpixels"},
            {"name": "mada", "by": "classes"},
            r"^query\.by: expected embeddings, where regions of images are asked about, got classes$",
        ),
    ],
)
def test_regions_and_queries_that_do_not_fit_a_source(tmp_path: Path, task: Any, query: Any, words: str) -> None:
    plain = _recipe(tmp_path, "segmentation", learner="finetune", query=query)
    plain["task"] = {**plain["task"], **task}
    with pytest.raises(InputError, match=words):
        check_components(load(plain))


def test_a_training_by_anchors_of_masks_wants_a_source(tmp_path: Path) -> None:
    plain = _recipe(tmp_path, "segmentation", learner="finetune", train="anchors", loop={"budgets": [2, 2]})
    plain["domains"] = {}
    with pytest.raises(InputError, match=r"^train: expected domains whose labels are given .*, got anchors$"):
        check_components(load(plain))


def test_masks_must_be_whole(tmp_path: Path) -> None:
    plain = _recipe(tmp_path, "segmentation", learner="finetune", oracle={"name": "simulated", "answer": "points"})
    with pytest.raises(InputError, match=r"domains\.source: expected masks as answers"):
        check_components(load(plain))
