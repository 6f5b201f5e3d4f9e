"""Volumes through the whole loop: stacks of slices from stage 0 to the report, and what `check` says of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from hybrid_al.assemble import Project, experiment, open_project
from hybrid_al.cli import main
from hybrid_al.errors import InputError
from hybrid_al.learners.segment import SegmentLearner
from hybrid_al.recipe import parse
from hybrid_al.regions.base import Regions
from hybrid_al.report.overview import draw_views, write_reports
from hybrid_al.track.base import Trackers
from pretrain.stage0 import ensure
from tests.helpers.played import play

SIDE, SLICES = 16, 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight volumes with a bright ball each, and their masks."""
    folder, rng = tmp_path_factory.mktemp("volumes"), np.random.default_rng(0)
    x, y, z = np.meshgrid(np.arange(SIDE), np.arange(SIDE), np.arange(SLICES), indexing="ij")
    lines = ["id,split"]
    for i in range(8):
        row, column = rng.integers(5, SIDE - 5, 2)
        ball = ((x - row) ** 2 + (y - column) ** 2 + (z - 1.5) ** 2 < 16).astype(np.uint8)
        grey = (ball * 100 + rng.normal(0, 10, ball.shape)).astype(np.float32)
        for kind, values in (("image", grey), ("mask", ball)):
            nib.save(nib.Nifti1Image(values, np.diag([1.0, 1.0, 2.0, 1.0])), folder / f"{kind}{i}.nii.gz")
        lines.append(f"{i},{'test' if i > 5 else 'train'}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder


def recipe(root: Path, **data: Any) -> dict[str, Any]:
    columns = {"path": "image{id}.nii.gz", "mask": "mask{id}.nii.gz", "split": "split"}
    source = {"source": "nifti", "root": str(root), "columns": columns, "group": "none", "image_size": SIDE}
    return {
        "name": "tiny",
        "modality": "mr",
        "data": {**source, "classes": ["background", "ball"], **data},
        "encoder": {"name": "test_resnet"},
        "task": {"name": "segmentation", "network": {"name": "unet", "decoder_channels": [8, 8, 8, 8, 8]}},
        "pretrain": {"name": "simclr", "epochs": 1, "batch": 8},
        "query": {"name": "hybrid", "batch": {"name": "per_group", "most": 1}},
        "train": {"name": "mean_teacher", "steps": 3, "batch": 4},
        "loop": {"budgets": [3, 3]},
        "track": {"wandb": {"mode": "off"}},
    }


def open_with(plain: dict[str, Any], path: Path) -> Project:
    project = open_project(parse(plain), run_dir=path)
    ensure(project, Trackers())
    return project


@pytest.mark.slow
def test_stacks_go_through_the_whole_loop(root: Path, tmp_path: Path) -> None:
    project = play(tmp_path / "run", recipe(root, stack=5))
    store, setup = project.store(), experiment(project)
    assert (store.channels, store.stack) == (5, 5) and len(project.run.rounds()) == 2
    assert isinstance(setup.learner, SegmentLearner)
    setup.learner.load(project.run.round_path(1) / "model.safetensors")
    (batch,) = setup.learner.predict(np.asarray([1, 30]))
    assert batch.probs.shape == (2, 1, 2, SIDE, SIDE)
    spread = store.batch(np.arange(len(store)))
    for i in range(len(store)):  # the neighbours are the middle slices of the samples beside it
        for c in range(5):
            z = min(max(i % SLICES + c - 2, 0), SLICES - 1)
            assert (spread[i, c] == spread[i - i % SLICES + z, 2]).all()
    labels = project.run.labels(len(project.dataset.manifest))
    masks = setup.learner.masks(labels)
    assert masks.maps.shape == (6, SIDE, SIDE)
    page = write_reports([project.run.path], None).read_text()
    assert page.count('alt="Prediction and truth on') > 0
    draw_views(project, store, tmp_path / "views.png")
    assert (tmp_path / "views.png").is_file()


def test_superpixels_are_those_of_the_middle_slice(root: Path, tmp_path: Path) -> None:
    task = {
        "name": "segmentation",
        "network": {"name": "unet", "decoder_channels": [8] * 5},
        "region": {"name": "superpixels", "count": 4},
    }
    maps = []
    for stack in (1, 5):
        plain = {**recipe(root, stack=stack), "pretrain": "none", "task": task}
        project = open_with(plain, tmp_path / str(stack) / "run")
        regions = experiment(project).task.regions
        assert isinstance(regions, Regions)
        maps.append(regions.maps(project.dataset.manifest.indices("pool")))
    np.testing.assert_array_equal(maps[0], maps[1])


@pytest.mark.slow
@pytest.mark.parametrize("stack", [1, 3])
def test_a_cold_start_keeps_to_slices_that_show_tissue_and_to_few_of_a_volume(tmp_path: Path, stack: int) -> None:
    """Heads in noisy air: five of their ten slices show nothing; plain random asks about some, `among` about none."""
    rng = np.random.default_rng(1)
    x, y, z = np.meshgrid(np.arange(SIDE), np.arange(SIDE), np.arange(10), indexing="ij")
    head = ((x - 8) ** 2 + (y - 8) ** 2 < 36) & (abs(z - 5) < 2.5)
    lines = ["id,split"]
    for i in range(5):
        grey = (abs(rng.normal(0, 5, head.shape)) + head * rng.uniform(60, 100, head.shape)).astype(np.float32)
        inside = (((x - 8) ** 2 + (y - 8) ** 2 < 4) & head).astype(np.uint8)
        for kind, values in (("image", grey), ("mask", inside)):
            nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / f"{kind}{i}.nii.gz")
        lines.append(f"{i},{'test' if i > 3 else 'train'}")
    (tmp_path / "index.csv").write_text("\n".join(lines) + "\n")
    strategy = {"name": "among", "strategy": {"name": "typiclust", "min_size": 1}, "tissue": 0.2, "most": 1}
    plain = {**recipe(tmp_path, stack=stack), "pretrain": "none", "loop": {"budgets": [4, 6]}}
    query = {"name": "among", "strategy": "foreground_random", "most": 2}
    project = play(tmp_path / "run", {**plain, "cold_start": strategy, "query": query})
    rounds, manifest = project.run.rounds(), project.dataset.manifest
    positions = [[manifest.position[i] for i in row.query] for row in rounds]
    assert all(abs(manifest.z[i] - 5) < 2.5 for picks in positions for i in picks)
    assert len({manifest.groups[i] for i in positions[0]}) == 4  # a slice of each volume
    assert max(Counter(manifest.groups[i] for i in positions[1]).values()) == 2
    assert [row.strategy for row in rounds] == ["among", "among"]
    tissue = experiment(project).tissue
    assert tissue is not None
    center = np.asarray([abs(s - 5) < 2.5 for s in manifest.z])
    pool = manifest.indices("pool")
    np.testing.assert_allclose(tissue[pool], np.where(center, head[:, :, 5].mean(), 0)[pool], atol=0.02)
    assert experiment(open_with(plain, tmp_path / "run2")).tissue is None  # nobody asks


@pytest.mark.parametrize(("stack", "repeats"), [(3, False), (7, True)])
def test_check_says_what_a_stack_is(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stack: int, repeats: bool
) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps(recipe(root, stack=stack)))
    with pytest.raises(SystemExit, match="0"):
        main(["check", str(file), "--run-dir", str(tmp_path / "run")])
    out = capsys.readouterr().out
    assert f"each slice is seen with {stack // 2} before and {stack // 2} behind it" in out
    assert ("8 of 8 volumes have fewer than 7 slices" in out) == repeats


def test_an_even_stack_and_channels_of_another_number_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.stack: expected an odd number of slices"):
        open_project(parse(recipe(root, stack=2)), run_dir=tmp_path / "run")
    project = open_project(parse(recipe(root, stack=5, channels=3)), run_dir=tmp_path / "run")
    with pytest.raises(InputError, match=r"data\.channels: expected null"):
        project.store()
