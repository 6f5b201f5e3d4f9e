"""Two rounds answered in a real server of Label Studio: the labels are those of a simulated oracle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_al.api.query import propose
from hybrid_al.assemble import Project
from hybrid_al.data.answers import read_answer
from hybrid_al.data.drawn.shapes import pack_brush
from hybrid_al.errors import AwaitingLabels
from hybrid_al.oracles.label_studio import KEY as VARIABLE
from tests.helpers.label_studio_server import KEY, PROGRAM, RealServer, real_server
from tests.helpers.played import play
from tests.helpers.tiny import recipe_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM.is_file(), reason="no server of Label Studio: make labelstudio installs it"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    with real_server(tmp_path_factory.mktemp("label_studio")) as one:
        yield one


def labels(project: Project) -> dict[int, tuple[str, object, int]]:
    """Sample -> kind, what it says, round."""

    def said(target: object) -> object:
        return read_answer(project.run.path / target).tolist() if isinstance(target, str) else target

    answers = project.run.labels(len(project.dataset.manifest)).current
    return {i: (a.kind, said(a.target), a.round) for i, a in answers.items()}


def results(project: Project, index: int) -> list[dict[str, Any]]:
    """What a person would send who knows the truth."""
    to: dict[str, object] = {"to_name": "image"}
    truth, classes, masks = project.dataset.truth, project.dataset.classes, project.dataset.masks
    if masks is None:
        return [{**to, "type": "choices", "from_name": "label", "value": {"choices": [classes[truth[index]]]}}]
    labels = np.asarray(masks.read(index))
    to |= {"original_height": labels.shape[0], "original_width": labels.shape[1], "image_rotation": 0}
    return [
        {**to, "type": "brushlabels", "from_name": "brush",
         "value": {"format": "rle", "rle": pack_brush(labels == k), "brushlabels": [name]}}
        for k, name in enumerate(classes) if k and (labels == k).any()
    ]  # fmt: skip


def mistaken(project: Project, index: int) -> list[dict[str, Any]]:
    """What a person would send by mistake: nothing drawn, or the other class."""
    if project.dataset.masks is not None:
        return []
    (one,), classes = results(project, index), project.dataset.classes
    other = classes[1 - project.dataset.truth[index]]
    return [{**one, "value": {"choices": [other]}}]


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_two_rounds(tmp_path: Path, server: RealServer, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    number = server.add_project(task)
    plain = recipe_of(task, learner="frozen") if task == "classification" else recipe_of(task)
    expected = play(tmp_path / "simulated", plain)
    asked = {**plain, "oracle": {"name": "label_studio", "url": server.url, "project": number}}
    for round in range(2):
        with pytest.raises(AwaitingLabels, match=f"projects/{number}"):
            play(tmp_path / "run", asked)
        assert [propose(tmp_path / "run") for _ in range(2)] == [(0, 2)[round], 0]
        waiting = [one for one in server.tasks(number) if not one["annotations"]]
        assert len(waiting) == (4, 2)[round]
        for one in waiting:
            assert len(one["predictions"]) == round
            index = int(one["data"]["name"][:6])
            if not round and one is waiting[0]:  # a wrong answer, changed later
                wrong = server.annotate(one["id"], mistaken(expected, index))
                with pytest.raises(AwaitingLabels, match="waits for 3 of 4"):
                    play(tmp_path / "run", asked)
                server.ask("PATCH", f"/api/annotations/{wrong}/", {"result": results(expected, index)})
            else:
                server.annotate(one["id"], results(expected, index))
    assert labels(play(tmp_path / "run", asked)) == labels(expected)
    assert len(server.tasks(number)) == 6


def test_a_task_that_is_skipped_and_a_personal_token(
    tmp_path: Path, server: RealServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, server.personal_token())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.add_project("by its title")
    oracle = {"name": "label_studio", "url": server.url, "project": "by its title"}
    plain = recipe_of("classification", learner="frozen", oracle=oracle)
    with pytest.raises(AwaitingLabels, match="waits for 4 of 4"):
        play(tmp_path / "run", plain)
    number = next(one["id"] for one in server.ask("GET", "/api/projects/")["results"] if one["title"] == "by its title")
    for one in server.tasks(number):
        server.annotate(one["id"], [], was_cancelled=True)
    with pytest.raises(AwaitingLabels, match="waits for 4 of 8"):
        play(tmp_path / "run", plain)
    monkeypatch.setenv(VARIABLE, "wrong")
    with pytest.raises(AwaitingLabels, match="refused the key"):
        play(tmp_path / "run", plain)
