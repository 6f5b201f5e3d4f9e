"""The contract of every tracker: it takes all that a run says, goes on after a restart, and names no user."""

from __future__ import annotations

import dataclasses
import getpass
import re
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hybrid_al.assemble import open_project
from hybrid_al.components import trackers_of
from hybrid_al.errors import InputError, UnknownName
from hybrid_al.recipe import parse
from hybrid_al.track import TRACKERS
from hybrid_al.track.base import BenchNumbers, Content, Histogram, Picture, Table, Tracker
from hybrid_al.track.jsonl import JsonlTracker, read
from hybrid_al.track.names import NAMES
from tests.helpers.tiny import recipe_of

JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")


@pytest.fixture(params=TRACKERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def open_tracker(name: str, run: Path) -> Tracker:
    recipe = parse(recipe_of("classification", track={name: {}}))
    return trackers_of(recipe)[name].open(run, recipe.plain(), "0" * 64)


def content(round: int) -> Content:
    """Something of every kind, with cells that look like markup."""
    tables = {"table/picks": Table(("reason", "score"), (('<b>"near" | far</b>', None), ("x", 0.5)))}
    histograms = {"histogram/score": Histogram((1, 0, 2), (0.0, 0.1, 0.2, 0.3))}
    return Content(round, tables, histograms, {"images/picks": [Picture(JPEG, "id")] * 2}, ("a",))


def say(tracker: Tracker, round: int) -> None:
    """One value of every documented name, a histogram and what is not finite."""
    words = {"split": "val", "metric": "auroc", "class": 'a b/c <b>"x"</b>', "set": "plain", "label": "mass"}
    numbers = [entry for entry, name in NAMES.items() if name.kind == "number"]
    values = {re.sub("<(.*?)>", lambda m: words.get(m[1], "x"), entry): 0.5 for entry in numbers}
    for step in (0, 1):
        tracker.log({"train/loss": 1.0 / (step + 1)}, stage="train", round=round, step=step)
    tracker.show(content(round))
    tracker.alert("a title", "a text")
    tracker.log(
        {**values, "train/weights": [0.1, 0.2, float("nan")], "test/ece": float("inf")}, stage="evaluate", round=round
    )


def test_it_takes_all_names_and_goes_on_after_a_restart(name: str, tmp_path: Path) -> None:
    folder = Path.cwd()
    for round in (0, 1):
        jsonl, tracker = JsonlTracker(tmp_path / "metrics.jsonl"), open_tracker(name, tmp_path)
        for mirror in (jsonl, tracker):
            say(mirror, round)
            mirror.close()
    assert {row["round"] for row in read(tmp_path / "metrics.jsonl")} == {0, 1}
    assert Path.cwd() == folder


def test_nothing_of_the_user_is_in_its_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = "somebody-with-a-long-name"
    monkeypatch.setenv("USER", user)
    monkeypatch.setenv("LOGNAME", user)
    assert getpass.getuser() == user
    JsonlTracker(tmp_path / "metrics.jsonl").close()
    tracker = open_tracker(name, tmp_path)
    say(tracker, 0)
    tracker.close()
    for file in tmp_path.rglob("*"):
        assert user not in str(file) and (not file.is_file() or user.encode() not in file.read_bytes()), file


def test_settings_that_there_are_not_are_refused(name: str, tmp_path: Path) -> None:
    plain = recipe_of("classification", track={name: {"projekt": "x"}})
    with pytest.raises(UnknownName, match=f"track.{name}"):
        open_project(parse(plain), run_dir=tmp_path)


def test_an_unknown_tracker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"'wandbb'; did you mean 'wandb'"):
        open_project(parse(recipe_of("classification", track={"wandbb": {}})), run_dir=tmp_path)


class Recorder:
    """Keeps what it is told."""

    rows: ClassVar[list[Mapping[str, Any]]] = []

    def log(self, values: Mapping[str, Any], *, stage: str, round: int | None = None, step: int | None = None) -> None:
        self.rows.append(values)

    def show(self, content: Content) -> None: ...

    def alert(self, title: str, text: str) -> None: ...

    def close(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Mine:
    """From outside."""

    log_images: bool = False

    def check(self) -> None: ...

    def log_bench(self, folder: Path, bench: BenchNumbers) -> None: ...

    def open(self, run_dir: Path, recipe: Mapping[str, object], digest: str) -> Tracker:
        return Recorder()


def test_one_from_outside_is_named_by_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("my_trackers")
    module.Mine = Mine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_trackers", module)
    project = open_project(parse(recipe_of("classification", track={"my_trackers:Mine": {}})), run_dir=tmp_path)
    tracker = project.trackers()
    tracker.log({"labels": 3.0}, stage="evaluate", round=0)
    tracker.close()
    assert {"labels": 3.0} in Recorder.rows
    with pytest.raises(InputError, match="track"):
        open_project(parse(recipe_of("classification", track={"my_trackers:Nobody": {}})), run_dir=tmp_path)
