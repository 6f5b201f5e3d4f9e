"""A project: what every command starts from is opened once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hybrid_al.assemble import open_project
from hybrid_al.core.rundir import RunDir
from hybrid_al.data.stores.images import ImageStore
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
