"""`data.grow: true`: new files come behind the old ones between rounds, and nothing that was asked is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hybrid_al as hal
from hybrid_al.api.answers import take
from hybrid_al.assemble import open_project
from hybrid_al.core.consistency import Consistency
from hybrid_al.core.files import write_atomic
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.verify import verify
from hybrid_al.errors import AwaitingLabels, InputError
from hybrid_al.learners.predict import embed
from hybrid_al.recipe import load
from hybrid_al.report.overview import write_reports
from tests.helpers.tiny import recipe_of


def _images(root: Path, names: str, n: int, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for k in range(n):
        folder = root / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(folder / f"{names}{k:02d}.png")


def _recipe(root: Path, *budgets: int, **changes: Any) -> dict[str, Any]:
    data = {"source": "folder", "root": str(root), "group": "none", "holdout": {"test": 0.25}, "image_size": 16,
            "grow": True}  # fmt: skip
    return recipe_of("classification", data=data, loop={"budgets": list(budgets)}, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["frozen", "finetune"])
def test_new_files_join_the_pool_between_rounds(tmp_path: Path, learner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root, folder = tmp_path / "data", tmp_path / "runs" / "r"
    _images(root, "m", 16)
    changes = {"learner": learner, "query": {"name": "hybrid"}}
    first = hal.run(_recipe(root, 4, **changes), run_dir=folder)
    began, disk = RunDir(folder).manifest(), RunDir(folder)
    _images(root, "c", 8, seed=1)  # sorts before the others
    embedded: list[int] = []
    original = embed

    def counted(*args: Any, **kwargs: Any) -> Any:
        embedded.append(len(args[1]))
        return original(*args, **kwargs)

    monkeypatch.setattr("pretrain.export.embed", counted)
    second = hal.run(_recipe(root, 4, 6, 4, **changes), run_dir=folder)
    now = disk.manifest()
    assert now.ids[: len(began)] == began.ids and now.splits[: len(began)] == began.splits
    assert now.prefix(began.fingerprint) == began and len(now) == len(began) + 8 and set(now.splits[16:]) == {"pool"}
    assert second.rounds[0] == first.rounds[0] and len(second.rounds) == 3
    assert embedded == [8]
    assert verify(disk)[1] == []
    write_reports([folder], None)
    again = open_project(load(_recipe(root, 4, 6, 4, **changes)), run_dir=folder)
    assert again.dataset.manifest.fingerprint == now.fingerprint


@pytest.mark.slow
def test_a_run_of_people_keeps_its_open_query(tmp_path: Path) -> None:
    root, folder = tmp_path / "data", tmp_path / "runs" / "r"
    _images(root, "m", 16)
    recipe = _recipe(root, 4, 4, oracle="worklist", learner="frozen")
    with pytest.raises(AwaitingLabels):
        hal.run(recipe, run_dir=folder)
    asked = RunDir(folder).query_ids(0) or ()
    _images(root, "c", 4, seed=1)
    with pytest.raises(AwaitingLabels):
        hal.run(recipe, run_dir=folder)
    assert RunDir(folder).query_ids(0) == asked
    answers = tmp_path / "answers.csv"
    answers.write_text("id,label\n" + "".join(f"{i},{i[0]}\n" for i in asked), encoding="utf-8")
    assert take(folder, answers, "me") == (4, 0)
    with pytest.raises(AwaitingLabels, match="round 1"):
        hal.run(recipe, run_dir=folder)
    assert len(RunDir(folder).manifest()) == 20 and len(RunDir(folder).labels(20).labeled) == 4


@pytest.mark.slow
def test_a_kill_between_manifest_and_embeddings_is_made_good(tmp_path: Path) -> None:
    root, folder = tmp_path / "data", tmp_path / "runs" / "r"
    _images(root, "m", 16)
    hal.run(_recipe(root, 4, learner="frozen"), run_dir=folder)
    _images(root, "c", 4, seed=1)
    recipe = load(_recipe(root, 4, 4, learner="frozen"))
    project, disk = open_project(recipe, run_dir=folder), RunDir(folder)
    write_atomic(folder / "manifest.csv", project.dataset.manifest.to_csv())  # killed before run.json
    assert len(disk.manifest()) == 16 and verify(disk)[1] == []
    open_project(recipe, run_dir=folder).claim()  # killed before the embeddings
    assert len(disk.manifest()) == 20
    assert len(hal.run(_recipe(root, 4, 4, learner="frozen"), run_dir=folder).rounds) == 2


def test_files_that_vanished_or_changed_leave_the_pool_or_are_refused(tmp_path: Path) -> None:
    root, folder = tmp_path / "data", tmp_path / "runs" / "r"
    _images(root, "m", 16)
    recipe = load(_recipe(root, 4))
    project = open_project(recipe, run_dir=folder)
    project.claim()
    pool = project.dataset.manifest.indices("pool").tolist()
    ids = project.dataset.manifest.ids
    (root / ids[pool[0]]).unlink()
    (root / ids[pool[1]]).write_bytes((root / ids[pool[2]]).read_bytes())
    grown = open_project(recipe, run_dir=folder)
    manifest = grown.dataset.manifest
    assert manifest.fingerprint == project.dataset.manifest.fingerprint
    assert manifest.indices("pool").tolist() == pool[2:] and "2 images" in grown.dataset.notes[-1]
    assert grown.store().images[pool[0]].max() == 0
    grown.check_run()
    test = manifest.indices("test").tolist()
    _images(root, "z", 1, seed=3)
    (root / "a" / "copy.png").write_bytes((root / ids[test[0]]).read_bytes())
    with_copy = open_project(recipe, run_dir=folder).dataset
    assert with_copy.manifest.ids[16:] == ("a/z00.png",) and "a/copy.png" in " ".join(with_copy.notes)
    (root / ids[test[0]]).unlink()
    with pytest.raises(InputError, match=r"val and test.* gone"):
        open_project(recipe, run_dir=folder)


def test_without_grow_other_data_are_refused(tmp_path: Path) -> None:
    root, folder = tmp_path / "data", tmp_path / "runs" / "r"
    _images(root, "m", 16)
    plain = _recipe(root, 4)
    plain["data"]["grow"] = False
    open_project(load(plain), run_dir=folder).claim()
    _images(root, "z", 2, seed=1)
    with pytest.raises(InputError, match="other data"):
        open_project(load(plain), run_dir=folder).check_run()
    open_project(load(_recipe(root, 4)), run_dir=folder).check_run()


def _masked(root: Path, names: str, n: int, height: int) -> None:
    """Images of a bright rectangle, with masks; of `height` pixels, so that others have another number of windows."""
    rng = np.random.default_rng(height)
    for k in range(n):
        truth = np.zeros((height, 16), dtype=np.uint8)
        truth[2 : height // 2 + 2, 3 + k % 4 : 11] = 1
        for folder, pixels in (("images", 40 + 150 * truth + rng.integers(0, 30, truth.shape)), ("masks", truth)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(root / folder / f"{names}{k}.png")


@pytest.mark.slow
@pytest.mark.parametrize("region", [{"name": "windows", "side": 8}, {"name": "ripu", "side": 6, "most": 2}])
def test_regions_of_images_that_came_later_are_asked_about(tmp_path: Path, region: dict[str, Any]) -> None:
    root, folder = tmp_path / "data", tmp_path / "run"

    def recipe(*budgets: int) -> dict[str, Any]:
        data = {"source": "folder", "root": str(root / "images"), "masks": str(root / "masks"), "group": "none",
                "classes": ["none", "thing"], "holdout": {"test": 0.25}, "image_size": 16, "grow": True}  # fmt: skip
        plain = recipe_of("segmentation", data=data, loop={"budgets": list(budgets)}, query={"name": "hybrid"})
        return {**plain, "task": {**plain["task"], "region": region}}

    _masked(root, "m", 8, height=8)
    hal.run(recipe(6), run_dir=folder)
    before = RunDir(folder).labels(8).annotations
    _masked(root, "c", 6, height=16)  # sorts before the others, and fills more of the windows
    hal.run(recipe(6, 12), run_dir=folder)
    store = RunDir(folder).labels(14)
    assert store.annotations[: len(before)] == before and len(RunDir(folder).manifest()) == 14
    assert any(a.index >= 8 for a in store.annotations) and verify(RunDir(folder))[1] == []
    record = Consistency.load(folder / "rounds" / "001" / "consistency.npz")
    assert len(record.seen) == 14 * record.parts and record.parts > 1
