"""Mirrors of metrics.jsonl: one that fails stops nobody, and what it missed it gets at the next start, once."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from hybrid_al.errors import InputError
from hybrid_al.track import TRACKERS
from hybrid_al.track.base import Content, Picture, Table, Tracker, Trackers, Value, log_to, open_mirrors, run_id
from hybrid_al.track.jsonl import JsonlTracker, read
from hybrid_al.track.mlflow import ID, MLflow
from hybrid_al.track.tensorboard import TensorBoard
from hybrid_al.track.wandb import Wandb
from hybrid_al.track.wandb_files import next_step, records
from tests.helpers.command import call
from tests.helpers.tiny import recipe_of
from tests.unit.track.test_wandb import RECIPE, _jpeg

Steps = dict[str, list[int]]


class Failing:
    """A mirror whose server is away from its `after`-th call on."""

    def __init__(self, inner: Tracker | None = None, after: int = 0) -> None:
        self.inner, self.left = inner, after

    def log(self, values: Mapping[str, Value], **place: Any) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError("no\nconnection")
        if self.inner is not None:
            self.inner.log(values, **place)

    def show(self, content: Content) -> None: ...

    def alert(self, title: str, text: str) -> None: ...

    def close(self) -> None:
        raise OSError("disk full")


def play(trackers: Trackers, rounds: range) -> None:
    for r in rounds:
        for step in (10, 20):
            trackers.log({"train/loss": 1.0 / step}, stage="train", round=r, step=step)
        values = {
            "labels": 5.0 * (r + 1),
            "curve/auroc": 0.5,
            "pseudo/accuracy": 1.0,
            'pseudo/accuracy/<b>"x"</b>': 0.5,
        }
        trackers.log(values, stage="evaluate", round=r)


def test_all_are_reached_and_closed_and_the_truth_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [JsonlTracker(tmp_path / name) for name in "ab"]
    trackers = Trackers(files[0], {"broken": Failing(), "b": files[1], "at the end": Failing(after=9)})
    log = log_to(trackers, stage="train", round=2)
    log({"train/loss": 1.0}, 7)
    log({"train/loss": 1.0}, 8)
    trackers.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(";")[0] for line in lines] == ["track.broken: no connection", "track.at the end: disk full"]
    for name, tracker in zip("ab", files, strict=True):
        assert [row["step"] for row in read(tmp_path / name)] == [7, 8]
        with pytest.raises(ValueError, match="closed"):
            tracker.log({}, stage="train")


def test_the_truth_failing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no\nconnection"):
        Trackers(Failing()).log({"labels": 1.0}, stage="evaluate")


def test_what_is_not_finite_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trackers = Trackers(JsonlTracker(tmp_path / "metrics.jsonl"))
    for r in range(2):
        trackers.log({"test/hd95": float("nan"), "hist": [1.0, float("inf")]}, stage="evaluate", round=r)
    trackers.close()
    expected = "evaluate, round 0: test/hd95 is not finite; such values are null in metrics.jsonl, trackers lack them\n"
    assert capsys.readouterr().err == expected
    assert [row["test/hd95"] for row in read(tmp_path / "metrics.jsonl")] == [None, None]


def test_one_that_cannot_be_opened_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @dataclasses.dataclass(frozen=True)
    class Away(TensorBoard):
        def open(self, run_dir: Path, recipe: Mapping[str, object], digest: str) -> Tracker:
            raise ConnectionError("the server is away")

    mirrors = open_mirrors({"away": Away(), "tensorboard": TensorBoard()}, tmp_path, RECIPE, "0" * 8)
    assert list(mirrors) == ["tensorboard"]
    assert capsys.readouterr().err.startswith("track.away: the server is away; the run goes on")
    mirrors["tensorboard"].close()


@pytest.mark.parametrize(("name", "extra"), [("mlflow", "mlflow"), ("tensorboard", "tensorboard")])
def test_a_missing_package_names_its_extra(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(InputError, match=rf"track\.{name}: expected .*pip install 'hybrid-al\[{extra}\]'"):
        TRACKERS[name]().check()


# -- what each has, by its own reader ---------------------------------------------------------------------------------


def mlflow_steps(run: Path) -> Steps:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(run / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("hybrid-al")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    id = found.info.run_id
    return {name: [m.step for m in client.get_metric_history(id, name)] for name in found.data.metrics}


def tensorboard_steps(run: Path) -> Steps:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {name: [s.step for s in events.Scalars(name)] for name in events.Tags()["scalars"]}


def wandb_steps(run: Path) -> Steps:
    steps: Steps = {}
    for file in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        for record in records(file):
            row = {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item}
            for name in row.keys() & {"train/loss", "curve/auroc", "pseudo/accuracy"}:
                steps.setdefault(name, []).append(row["train/step"] if name == "train/loss" else row["round"])
    return steps


READERS: dict[str, Callable[[Path], Steps]] = {
    "mlflow": mlflow_steps,
    "tensorboard": tensorboard_steps,
    "wandb": wandb_steps,
}


def test_every_tracker_has_a_reader() -> None:
    assert READERS.keys() == TRACKERS.keys()


@pytest.mark.parametrize("name", TRACKERS)
def test_it_catches_up_once(name: str, tmp_path: Path) -> None:
    settings = TRACKERS[name]()
    mirror = Failing(settings.open(tmp_path, RECIPE, "0" * 8), after=2)
    trackers = Trackers(JsonlTracker(tmp_path / "metrics.jsonl"), {name: mirror})
    play(trackers, range(2))  # the mirror sees two lines of round 0
    assert mirror.inner is not None
    mirror.inner.close()
    trackers.close()
    for rounds in (range(1, 3), range(2, 3)):  # round 1 was not committed and is played again, then round 2
        truth = JsonlTracker(tmp_path / "metrics.jsonl")
        trackers = Trackers(truth, open_mirrors({name: settings}, tmp_path, RECIPE, "0" * 8))
        play(trackers, rounds)
        trackers.close()
    steps = READERS[name](tmp_path)
    assert steps["train/loss"] == [10, 20, 31, 41, 52, 62]
    assert steps["curve/auroc"] == steps["pseudo/accuracy"] == [0, 1, 2]


def test_mlflow_that_was_killed_between_points_and_their_count_adds_none_twice(tmp_path: Path) -> None:
    for rounds in (range(1), range(1, 2)):
        trackers = Trackers(
            JsonlTracker(tmp_path / "metrics.jsonl"), {"mlflow": MLflow().open(tmp_path, RECIPE, "0" * 8)}
        )
        play(trackers, rounds)
        trackers.close()
        for count in tmp_path.glob("mlruns/*/*/tags/hybrid_al.points"):
            count.write_text("1")
    assert mlflow_steps(tmp_path)["train/loss"] == [10, 20, 31, 41]


def test_tensorboard_that_was_cut_short_goes_on(tmp_path: Path) -> None:
    for rounds in (range(1), range(1, 2)):
        trackers = Trackers(
            JsonlTracker(tmp_path / "metrics.jsonl"), {"tensorboard": TensorBoard().open(tmp_path, RECIPE, "0" * 8)}
        )
        play(trackers, rounds)
        trackers.close()
        if rounds == range(1):
            (file,) = (tmp_path / "tensorboard").iterdir()
            file.write_bytes(file.read_bytes()[:-20])
    steps = tensorboard_steps(tmp_path)
    assert steps["train/loss"] == [10, 20, 31, 41]
    assert all(steps[name] == [0, 1] for name in steps if name != "train/loss")


# -- which run it is, and what is in it -------------------------------------------------------------------------------


def test_two_directories_of_one_recipe_are_two_runs(tmp_path: Path) -> None:
    ids = []
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"id": f"{name}" * 12}))
        ids.append(run_id(tmp_path / name, RECIPE, "0" * 8))
        MLflow(uri=str(tmp_path / "shared")).open(tmp_path / name, RECIPE, "0" * 8).close()
    assert ids == ["chest-xray-s3-aaaaaaaaaaaa", "chest-xray-s3-bbbbbbbbbbbb"]
    assert run_id(tmp_path, {"name": "a/b c", "seed": 1}, "f" * 64) == "a-b-c-s1-ffffffff"  # begun before ids
    tags = sorted(path.read_text() for path in tmp_path.glob(f"shared/*/*/tags/{ID}"))
    assert tags == ids


def test_nothing_says_host_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "a-telling-host")
    monkeypatch.setenv("USER", "a-telling-user")
    JsonlTracker(tmp_path / "metrics.jsonl").close()
    for settings in (MLflow(), TensorBoard()):
        tracker = settings.open(tmp_path, RECIPE, "0" * 8)
        tracker.show(
            Content(0, {"table/picks": Table(("sample",), ((1,),))}, pictures={"images/picks": [Picture(_jpeg(), "p")]})
        )
        tracker.log({"labels": 1.0}, stage="evaluate", round=0)
        tracker.close()
    files = [p for folder in ("mlruns", "tensorboard") for p in (tmp_path / folder).rglob("*")]
    secrets = ["a-telling-host", "a-telling-user", "jane.doe"]
    for file in files:
        data = str(file).encode() + (file.read_bytes() if file.is_file() else b"")
        assert not [s for s in secrets if s.encode() in data], file
        assert file.suffix not in (".jpg", ".png") and b"JFIF" not in data
    # MLflow's own record of where its folder lies, which a server never sees, is the one path
    assert {file.name for file in files if file.is_file() and str(tmp_path).encode() in file.read_bytes()} <= {
        "meta.yaml"
    }


def test_pictures_only_where_asked_for(tmp_path: Path) -> None:
    for settings in (MLflow(log_images=True), TensorBoard(log_images=True)):
        tracker = settings.open(tmp_path, RECIPE, "0" * 8)
        tracker.show(Content(0, pictures={"images/picks": [Picture(_jpeg(), "p")]}))
        tracker.close()
    assert len(list(tmp_path.glob("mlruns/*/*/artifacts/images/picks/000/*.jpg"))) == 1
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert b"JFIF" in file.read_bytes()


def test_an_address_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"track\.mlflow\.uri: expected a folder or the address of a server"):
        MLflow(uri="nonsense://x").open(tmp_path, RECIPE, "0" * 8)


@pytest.mark.slow
def test_records_of_many_blocks_are_read(tmp_path: Path) -> None:
    JsonlTracker(tmp_path / "metrics.jsonl").close()
    tracker = Wandb().open(tmp_path, RECIPE, "0" * 8)
    for step in range(40):
        tracker.log({f"train/{'x' * 400}_{k}": 0.5 for k in range(10)}, stage="train", round=0, step=step)
    tracker.close()
    assert next_step(tmp_path / "wandb", run_id(tmp_path, RECIPE, "0" * 8)) == 40


@pytest.mark.slow
def test_wandb_takes_many_rows_and_pictures_of_the_first(tmp_path: Path) -> None:
    JsonlTracker(tmp_path / "metrics.jsonl").close()
    tracker = Wandb(log_images=True).open(tmp_path, RECIPE, "0" * 8)
    table = Table(("sample", "reason"), tuple((k, '<b>"near"</b>') for k in range(12_000)))
    tracker.show(Content(0, {"table/picks": table}, pictures={"images/picks": [Picture(_jpeg(), "p")] * 2}))
    tracker.log({"labels": 1.0}, stage="evaluate", round=0)
    tracker.close()
    (file,) = tmp_path.glob("wandb/*/files/media/table/table/picks*.json")
    plain = json.loads(file.read_text(encoding="utf-8"))
    assert plain["columns"] == ["sample", "reason", "id", "image"] and len(plain["data"]) == 12_000
    assert [row[2] for row in plain["data"][:3]] == ["p", "p", None]


def test_check_says_what_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(yaml.safe_dump(recipe_of("classification", track={"mlflow": {}})))
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    assert call("check", file) == 2
    assert capsys.readouterr().err.startswith("track.mlflow: expected its package (pip install 'hybrid-al[mlflow]')")
    file.write_text(yaml.safe_dump(recipe_of("classification", track={}, report={"map": "umap"})))
    assert call("check", file) == 2
    assert capsys.readouterr().err.startswith("report.map: expected its package (pip install 'hybrid-al[umap]')")
