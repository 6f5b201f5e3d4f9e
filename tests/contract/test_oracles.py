"""The contract of every oracle, in every task: killed and called again it answers the same, and asks for the same."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hybrid_al.assemble import Project, open_project
from hybrid_al.core.types import Annotation, IntArray, Query
from hybrid_al.errors import AwaitingLabels, InputError, UnknownName
from hybrid_al.experiment import OpenTask
from hybrid_al.oracles import ORACLES, Simulated
from hybrid_al.oracles.base import Oracle
from hybrid_al.oracles.inbox import INBOXES, inbox
from hybrid_al.recipe import parse
from hybrid_al.tasks import TASKS
from tests.helpers.tiny import recipe_of

WINDOWS = {"name": "windows", "side": 8}


def _recipes() -> dict[str, dict[str, Any]]:
    """Every task by itself, and masks in every other way in which they are answered."""
    masks = recipe_of("segmentation")
    every = {task: recipe_of(task) for task in TASKS}
    every["windows"] = {**masks, "task": {**masks["task"], "region": WINDOWS}}
    for answer in ("points", "scribbles", "boxes"):
        every[answer] = {**masks, "oracle": {"answer": answer}}
    return every


@pytest.fixture(params=ORACLES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=_recipes())
def recipe(request: pytest.FixtureRequest, name: str) -> dict[str, Any]:
    plain = _recipes()[request.param]
    return {**plain, "oracle": {**plain.get("oracle", {}), "name": name}}


def open_all(path: Path, plain: dict[str, Any]) -> tuple[Project, OpenTask, Oracle]:
    project = open_project(parse(plain), run_dir=path)
    project.run.path.mkdir(parents=True, exist_ok=True)
    project.claim()
    return project, *project.task.open(project.setting, project.materials())


def picks_for(project: Project, task: OpenTask) -> IntArray:
    """A committed query of the first round."""
    regions = task.regions.at(0)
    picks = regions.indices[[1, 4, 6, 2]]
    project.run.commit_query(0, Query(picks), project.dataset.manifest, regions.parts)
    return picks


def answer(oracle: Oracle, picks: IntArray, project: Project, folder: Path) -> tuple[Annotation, ...]:
    """What the oracle says; where it asks people, they answer."""
    try:
        return oracle.annotate(picks, 0)
    except AwaitingLabels as error:
        with pytest.raises(AwaitingLabels) as again:
            oracle.annotate(picks, 0)
        assert str(again.value) == str(error)
    spec = project.run.facts()["inbox"]
    assert isinstance(spec, dict)
    inbox(project.run).take(PEOPLE[spec["name"]](project, folder), "ann")
    return oracle.annotate(picks, 0)


def _words(project: Project, folder: Path) -> Path:
    ids = project.run.query_ids(0) or ()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *((i, project.dataset.classes[0]) for i in ids)])
    return folder / "labels.csv"


def _masks(project: Project, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for image in (project.run.round_path(0) / "images").glob("*.png"):
        with Image.open(image) as picture:
            mask = np.zeros(picture.size[::-1], dtype=np.uint8)
        mask[3:9, 3:9] = 1
        Image.fromarray(mask).save(folder / image.name)
    return folder


def _boxes(project: Project, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    images, structure = (project.run.round_path(0) / "images").glob("*.png"), project.dataset.classes[1]
    rows = [(image.name, structure, 2, 3, 9, 8) for image in images]
    with (folder / "boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "class", "left", "top", "right", "bottom"), *rows])
    return folder / "boxes.csv"


PEOPLE: dict[str, Callable[[Project, Path], Path]] = {"words": _words, "masks": _masks, "boxes": _boxes}


def test_people_are_played_in_every_way_that_there_is() -> None:
    assert set(PEOPLE) == set(INBOXES)


def without_times(annotations: tuple[Annotation, ...]) -> list[Annotation]:
    return [dataclasses.replace(a, time=None) for a in annotations]


def test_it_answers_about_all_that_was_asked_and_nothing_else(tmp_path: Path, recipe: dict[str, Any]) -> None:
    project, task, oracle = open_all(tmp_path / "run", recipe)
    picks = picks_for(project, task)
    annotations = answer(oracle, picks, project, tmp_path / "answers")
    samples = task.regions.at(0).samples(picks)
    assert sorted(a.index for a in annotations) == sorted(set(samples.tolist()))
    assert all(a.round == 0 and a.annotator and a.cost >= 0 for a in annotations)
    for a in annotations:
        if isinstance(a.target, str):
            assert (project.run.path / a.target).is_file()
    pseudo_labels = np.zeros(len(samples), dtype=np.int64)
    assert all(0 <= share <= 1 for share in oracle.score(samples, pseudo_labels).values())


def test_called_again_it_answers_the_same(tmp_path: Path, recipe: dict[str, Any]) -> None:
    project, task, oracle = open_all(tmp_path / "run", recipe)
    picks = picks_for(project, task)
    first = answer(oracle, picks, project, tmp_path / "answers")
    assert oracle.annotate(picks, 0) == first
    _, _, other = open_all(tmp_path / "run", recipe)  # another process
    assert other.annotate(picks, 0) == first


@pytest.mark.slow
def test_killed_while_it_writes_it_answers_the_same(
    tmp_path: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, task, oracle = open_all(tmp_path / "whole", recipe)
    expected = answer(oracle, picks_for(project, task), project, tmp_path / "answers")
    files = sorted(p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole" / "rounds").rglob("*") if p.is_file())
    for count in (1, 3):
        run, calls = tmp_path / str(count), [0]
        project, task, oracle = open_all(run, recipe)
        picks, sync = picks_for(project, task), os.fsync

        def dying(handle: int, calls: list[int] = calls, count: int = count, sync: Any = sync) -> None:
            calls[0] += 1
            if calls[0] > 2 * count:  # a file and its folder each time
                raise KeyboardInterrupt
            sync(handle)

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", dying)
            with contextlib.suppress(KeyboardInterrupt):
                answer(oracle, picks, project, tmp_path / f"answers-{count}")
        _, _, again = open_all(run, recipe)
        assert without_times(answer(again, picks, project, tmp_path / f"answers-{count}")) == without_times(expected)
        assert files == sorted(p.relative_to(run) for p in (run / "rounds").rglob("*") if p.is_file())


def test_what_a_run_keeps_of_its_answers_is_plain(tmp_path: Path, recipe: dict[str, Any]) -> None:
    project, _, _ = open_all(tmp_path / "run", recipe)
    assert json.loads((project.run.path / "run.json").read_text())["inbox"]["name"] in INBOXES
    assert callable(inbox(project.run).take)


def test_settings_that_there_are_not_are_refused(tmp_path: Path, name: str) -> None:
    plain = recipe_of("classification", oracle={"name": name, "cost": "prices.csv"})
    with pytest.raises(UnknownName, match=rf"oracle \({name}\): .*'cost'; did you mean 'costs'"):
        open_project(parse(plain), run_dir=tmp_path / "run")


@dataclasses.dataclass(frozen=True)
class Grumpy(Simulated):
    """From outside: it skips every other sample."""

    every: int = 2

    def open(self, answers: Any) -> Oracle:
        inner, every = answers.simulated(), self.every

        class Skipping:
            def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
                response = inner.annotate(query, round)
                return tuple(
                    Annotation(a.index, "skip", None, "grumpy", round) if i % every else a
                    for i, a in enumerate(response)
                )

            def score(self, indices: IntArray, pseudo_labels: IntArray) -> dict[int, float]:
                return {}

        return Skipping()


def test_one_from_outside_is_named_by_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("my_oracles")
    module.Grumpy = Grumpy  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_oracles", module)
    plain = recipe_of("classification", oracle={"name": "my_oracles:Grumpy", "every": 3})
    project, task, oracle = open_all(tmp_path / "run", plain)
    kinds = [a.kind for a in oracle.annotate(picks_for(project, task), 0)]
    assert kinds == ["class", "skip", "skip", "class"]
    with pytest.raises(InputError, match="oracle"):
        open_project(parse({**plain, "oracle": {"name": "my_oracles:Grumpy", "every": "no"}}), run_dir=tmp_path / "b")
