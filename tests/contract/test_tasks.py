"""The contract of every task: what it refuses, what it opens, and that the loop plays it to the end."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from hybrid_al.assemble import open_project
from hybrid_al.components import training
from hybrid_al.errors import InputError, UnknownName
from hybrid_al.oracles.inbox import INBOXES
from hybrid_al.query.strategies import STRATEGIES
from hybrid_al.recipe import parse
from hybrid_al.tasks import TASKS
from hybrid_al.train import Schedule
from tests.helpers.played import play
from tests.helpers.tiny import recipe_of, target_of


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_is_a_frozen_dataclass_whose_defaults_are_enough(task: str) -> None:
    instance = TASKS[task]()
    with pytest.raises(dataclasses.FrozenInstanceError):
        instance.strata = True  # type: ignore[misc]
    assert set(instance.baselines) <= set(STRATEGIES) and instance.units[0] == "labels"


def test_an_unknown_task_and_an_unknown_setting_of_one_are_refused(task: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=f"{task}s'; did you mean '{task}'"):
        open_project(parse({**recipe_of(task), "task": f"{task}s"}), run_dir=tmp_path)
    with pytest.raises(UnknownName, match="loudness"):
        open_project(parse({**recipe_of(task), "task": {"name": task, "loudness": 3}}), run_dir=tmp_path)


def test_data_of_another_task_is_refused(task: str, tmp_path: Path) -> None:
    for other in TASKS:
        plain = {**recipe_of(task), "data": recipe_of(other)["data"]}
        if target_of(other) == target_of(task):
            open_project(parse(plain), run_dir=tmp_path / other)
        else:
            with pytest.raises(InputError):
                open_project(parse(plain), run_dir=tmp_path / other)


@pytest.mark.slow
def test_what_it_opens_fits_the_data(task: str, tmp_path: Path) -> None:
    project = open_project(parse(recipe_of(task)), run_dir=tmp_path / "run")
    instance, setting, dataset = project.task, project.setting, project.dataset
    assert instance.answered(dataset).shape == (len(dataset.manifest),) and instance.answered(dataset).all()
    objectives, schedule = instance.objectives(setting)
    assert project.recipe.train.name in objectives and isinstance(schedule, Schedule)
    assert json.loads(json.dumps(instance.inbox(setting, dataset)))["name"] in INBOXES
    with pytest.raises(InputError):
        instance.check_metric("here", "train/auroc", dataset)  # of no split that is held out
    instance.rehearse(setting, dataset, *training(project.recipe), steps=1)
    open_task, _ = instance.open(setting, project.materials())
    assert open_task.regions.at(0).samples(open_task.regions.at(0).indices[:1]) in dataset.manifest.indices("pool")


@pytest.mark.slow
def test_the_loop_plays_it_to_the_end(task: str, tmp_path: Path) -> None:
    project = play(tmp_path / "run", recipe_of(task))
    rounds = project.run.rounds()
    assert len(rounds) == 2 and rounds[-1].labeled == 6
    assert all(np.isfinite(value) for value in rounds[-1].metrics.values() if value is not None)
    again = play(tmp_path / "again", recipe_of(task))
    assert [r.query for r in again.run.rounds()] == [r.query for r in rounds]
