"""A project: what every command starts from is opened once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from hybrid_al.assemble import open_project
from hybrid_al.core.rundir import RunDir
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.errors import InputError
from hybrid_al.recipe import parse

RECIPE = {
    "name": "tiny",
    "data": {"source": "phantom", "n_pool": 12, "n_val": 0, "n_test": 6, "size": 16, "image_size": 16},
    "pretrain": "none",
    "loop": {"budgets": [4]},
}


def test_the_images_are_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds: list[int] = []
    inner = ImageStore.build

    def counting(*args: object, **kwargs: object) -> ImageStore:
        builds.append(1)
        return inner(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageStore, "build", counting)
    project = open_project(parse(RECIPE), run_dir=tmp_path / "a")
    first = project.store()
    cell = replace(project, run=RunDir(tmp_path / "b"), base=project.run.path)
    assert project.store() is first and cell.store() is first and len(builds) == 1
    smaller = replace(project, recipe=parse({**RECIPE, "data": {**RECIPE["data"], "image_size": 8}}))  # type: ignore[dict-item]
    assert smaller.store().size == 8 and project.store() is first and len(builds) == 2


def test_a_run_whose_data_moved_says_how_to_name_their_place_and_then_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "scans"
    for i in range(8):
        file = data / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), 20 * i).save(file)
    plain = {"source": "folder", "labels": "parents", "group": "none", "image_size": 16, "holdout": {"test": 0.5}}
    recipe = parse({**RECIPE, "data": {**plain, "root": str(data)}, "loop": {"budgets": [2]}})
    first = open_project(recipe, run_dir=tmp_path / "run")
    with first.run.lock():
        first.claim()
    moved = (tmp_path / "run").rename(tmp_path / "moved run")
    open_project(recipe, run_dir=moved).check_run()
    data.rename(tmp_path / "archive")
    with pytest.raises(InputError, match=r"hybrid-al run '.*moved run' data\.root=PATH, got nothing there"):
        open_project(recipe, run_dir=moved)
    with pytest.raises(InputError, match="expected a folder, got nothing there"):
        open_project(recipe, run_dir=tmp_path / "none")
    with RunDir(moved).lock():
        open_project(parse({**RECIPE, "data": {**plain, "root": str(tmp_path / "archive")}, "loop": {"budgets": [2]}}),
                     run_dir=moved).claim()  # fmt: skip
    assert "archive" in (moved / "recipe.yaml").read_text()
