"""The oracle `label_studio` against a stand-in of its server: tasks are pushed once, answers pulled as they come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hybrid_al.assemble import open_project
from hybrid_al.core.types import IntArray, Query
from hybrid_al.data.drawn.shapes import pack_brush
from hybrid_al.errors import AwaitingLabels, InputError
from hybrid_al.oracles.base import Oracle
from hybrid_al.oracles.formats.base import image_name
from hybrid_al.oracles.label_studio import KEY as VARIABLE
from hybrid_al.oracles.label_studio import LabelStudio
from hybrid_al.recipe import parse
from hybrid_al.report.overview import standing
from tests.helpers.command import call
from tests.helpers.label_studio import KEY, TOKEN, StandIn, stand_in
from tests.helpers.tiny import SIZE, recipe_of


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with stand_in() as state:
        yield state


def opened(path: Path, url: str, task: str = "classification", **settings: Any) -> tuple[Any, Oracle, IntArray]:
    oracle = {"name": "label_studio", "url": url, **settings}
    project = open_project(parse(recipe_of(task, oracle=oracle)), run_dir=path)
    path.mkdir(parents=True, exist_ok=True)
    project.claim()
    task_, answers = project.task.open(project.setting, project.materials())
    picks = task_.regions.at(0).indices[[1, 4]]
    if project.run.query_ids(0) is None:
        project.run.commit_query(0, Query(picks), project.dataset.manifest)
    return project, answers, picks


def waits(oracle: Oracle, picks: IntArray, line: str) -> None:
    with pytest.raises(AwaitingLabels, match=line) as error:
        oracle.annotate(picks, 0)
    assert "\n" not in str(error.value) and KEY not in str(error.value) and TOKEN not in str(error.value)


def choice(name: str) -> list[dict[str, Any]]:
    return [{"type": "choices", "from_name": "label", "to_name": "image", "value": {"choices": [name]}}]


@pytest.mark.parametrize("key", [KEY, TOKEN])
def test_tasks_are_pushed_once_and_answers_are_pulled(
    tmp_path: Path, server: StandIn, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(VARIABLE, key)
    number = server.add_project("tiny")
    project, oracle, picks = opened(tmp_path / "run", server.url)
    waits(oracle, picks, rf"round 0 waits for 2 of 2 answers in Label Studio \({server.url}/projects/{number}\): call")
    waits(oracle, picks, "waits for 2 of 2")
    assert len(server.tasks) == 2 and "Choices" in server.projects[number]["label_config"]
    manifest = project.dataset.manifest
    assert {t["data"]["name"] for t in server.tasks.values()} == {image_name(manifest, i) for i in picks.tolist()}
    assert server.tasks[1]["data"]["image"].startswith("data:image/png;base64,")
    line = standing(project.run)[-1]
    assert f"waits for 2 of 2 labels in Label Studio at {server.url}; go on with: hybrid-al run" in line
    first, second = project.dataset.classes
    server.annotate(1, choice(first), by=7)
    waits(oracle, picks, "waits for 1 of 2")
    waits(oracle, picks, "waits for 1 of 2")
    assert len(list((project.run.round_path(0) / "answers").glob("*.csv"))) == 1, "what is known is not taken twice"
    server.annotate(1, choice(second), by=7)
    server.annotate(2, choice("skip"), by=8)
    _, oracle, _ = opened(tmp_path / "run", server.url)  # another process
    answers = {a.index: a for a in oracle.annotate(picks, 0)}
    assert [(answers[i].kind, answers[i].target, answers[i].annotator) for i in picks.tolist()] == [
        ("class", 1, "7"),
        ("skip", None, "8"),
    ]
    assert len(server.tasks) == 2
    server.broken = 500
    assert len(oracle.annotate(picks, 0)) == 2, "what is answered needs no server"


def test_masks_and_a_project_by_its_number(tmp_path: Path, server: StandIn) -> None:
    server.add_project("another")
    number = server.add_project("mine")
    project, oracle, picks = opened(tmp_path / "run", server.url, "segmentation", project=number)
    waits(oracle, picks, f"projects/{number}")
    mask = np.zeros((SIZE, SIZE), dtype=np.bool_)
    mask[2:5, 3:9] = True
    value = {"format": "rle", "rle": pack_brush(mask), "brushlabels": [project.dataset.classes[1]]}
    size = {"original_width": SIZE, "original_height": SIZE}
    server.annotate(1, [{**size, "type": "brushlabels", "value": value}])
    server.annotate(2, [], was_cancelled=True)
    answers = {a.index: a for a in oracle.annotate(picks, 0)}
    assert [answers[i].kind for i in picks.tolist()] == ["mask", "skip"]


def test_tasks_of_others_are_left(tmp_path: Path, server: StandIn) -> None:
    number = server.add_project("tiny")
    others = [{"data": {"image": "x", "name": f"000001-{'0' * 8}"}}, {"data": {"text": "y"}}]
    server.answer("POST", f"/api/projects/{number}/import", {}, others)
    server.annotate(1, choice("whatever"))
    _, oracle, picks = opened(tmp_path / "run", server.url)
    waits(oracle, picks, "waits for 2 of 2")
    assert len(server.tasks) == 4


def test_an_answer_that_is_none_is_named(tmp_path: Path, server: StandIn) -> None:
    server.add_project("tiny")
    project, oracle, picks = opened(tmp_path / "run", server.url)
    waits(oracle, picks, "waits for 2 of 2")
    server.annotate(2, choice("sell"))
    with pytest.raises(InputError, match=r"(?s)annotations of 1: .*task 2: class: expected one of .*'sell'"):
        oracle.annotate(picks, 0)
    assert not list((project.run.round_path(0) / "answers").glob("*.csv"))


def test_a_server_that_is_down_or_refuses_is_one_line_and_goes_on_later(
    tmp_path: Path, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, oracle, picks = opened(tmp_path / "run", server.url)
    waits(
        oracle, picks, r"has no projects called 'tiny': name one by its number; nothing is lost\): call the run again"
    )
    number = server.add_project("tiny", '<View><Choices name="a" toName="b"><Choice value="cat"/></Choices></View>')
    waits(oracle, picks, r"projects/1 has no label '\w+': paste the config.xml")
    server.projects[number]["label_config"] = "<View"
    waits(oracle, picks, "has a labeling interface that is no XML")
    for code, line in ((500, "answered 500 to GET /api/projects/"), (302, "sends requests on to another address")):
        server.broken = code
        waits(oracle, picks, line)
    server.broken = 0
    monkeypatch.setenv(VARIABLE, "wrong")
    waits(oracle, picks, rf"{server.url} refused the key in {VARIABLE} \(401\)")
    monkeypatch.setenv(VARIABLE, "wro.ng.x")
    waits(oracle, picks, "refused the key")
    monkeypatch.delenv(VARIABLE)
    waits(oracle, picks, f"no key in the environment variable {VARIABLE}")
    monkeypatch.setenv(VARIABLE, KEY)
    _, away, _ = opened(tmp_path / "away", "http://127.0.0.1:9")
    waits(away, picks, "http://127.0.0.1:9 cannot be reached: ")
    _, lacking, _ = opened(tmp_path / "lacking", server.url, project=12)
    waits(lacking, picks, f"{server.url} has no project 12")
    server.add_project("tiny")
    waits(oracle, picks, "has 2 projects called 'tiny'")
    server.projects[number]["title"] = "older"
    waits(oracle, picks, r"projects/2\): call the run again")
    assert len(server.tasks) == 2


@pytest.mark.parametrize("url", ["ftp://x", "localhost:8080", "http://", "http://u:p@host", "http://host/?a=b"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(InputError, match=r"oracle.url"):
        LabelStudio(url)


def test_projects_are_found_on_every_page(tmp_path: Path, server: StandIn) -> None:
    for i in range(120):
        server.add_project(f"p{i}")
    number = server.add_project("tiny")
    _, oracle, picks = opened(tmp_path / "run", server.url)
    waits(oracle, picks, f"projects/{number}")


@pytest.mark.slow
def test_a_whole_run_of_two_rounds_with_proposals(
    tmp_path: Path, server: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    server.add_project("tiny")
    oracle = {"name": "label_studio", "url": server.url}
    plain = recipe_of("classification", oracle=oracle, learner="frozen", loop={"budgets": [4, 2]})
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(plain), encoding="utf-8")
    command = ("run", tmp_path / "r.yaml", "--run-dir", tmp_path / "run", "--quiet")
    assert call(*command) == 3
    assert "waits for 4 of 4 answers in Label Studio" in capsys.readouterr().err
    truth = open_project(parse(plain), run_dir=tmp_path / "run").dataset
    for round, count in ((0, 4), (1, 2)):
        for number, task in server.tasks.items():
            if not task["annotations"]:
                index = int(task["data"]["name"][:6])
                server.annotate(number, choice(truth.classes[truth.truth[index]]))
                assert bool(task["predictions"]) == bool(round)
        assert call(*command) == (0 if round else 3)
        assert count
    assert len(server.tasks) == 6
    assert server.tasks[6]["predictions"][0]["result"][0]["type"] == "choices"
    assert server.tasks[6]["predictions"][0]["model_version"] == "tiny-s0 round 1"
