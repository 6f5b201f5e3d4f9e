"""The W&B mirror: offline nothing leaves the machine, nothing about it is recorded, and steps go on after a restart."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from hybrid_al.errors import InputError
from hybrid_al.track.base import BenchNumbers, Trackers
from hybrid_al.track.wandb import Wandb, axes, grouping, mode_of
from hybrid_al.track.wandb_files import records as _records

RECIPE: dict[str, object] = {
    "name": "chest xray",
    "seed": 3,
    "modality": "chest_xray",
    "task": {"name": "classification"},
    "learner": {"name": "finetune"},
    "data": {"source": "npz", "root": "/home/jane.doe/private/chest.npz"},
    "cold_start": {"name": "typiclust"},
    "query": {"name": "hybrid"},
    "train": {"name": "fixmatch"},
}

CHILD = """
import json, socket, sys
from pathlib import Path

families = []
for name in ("connect", "connect_ex"):
    def spy(self, address, inner=getattr(socket.socket, name)):
        families.append(self.family.name)
        return inner(self, address)
    setattr(socket.socket, name, spy)

from hybrid_al.track.base import Content, Picture, Trackers
from hybrid_al.track.jsonl import JsonlTracker
from hybrid_al.track.wandb import Wandb

run, recipe, jpeg, log_images = Path(sys.argv[1]), json.loads(sys.argv[2]), bytes.fromhex(sys.argv[3]), sys.argv[4]
truth = JsonlTracker(run / "metrics.jsonl")
wandb = Wandb(log_images=log_images == "1").open(run, recipe, digest="0123456789ab")
trackers = Trackers(truth, {"wandb": wandb})
first = int(sys.argv[5])
for r in range(first, first + 2):
    trackers.show(Content(r, pictures={"images/picks": [Picture(jpeg, "patient 1")]}))
    for step in (0, 10):
        trackers.log({"train/loss": 1.0, "bad": float("nan"), "hist": [1.0, 2.0]}, stage="train", round=r, step=step)
    trackers.log({"labels": 20 * (r + 1), "curve/auroc": 0.7}, stage="evaluate", round=r)
trackers.close()
print(json.dumps(families))
"""

BENCH = """
import json, sys
from pathlib import Path
from hybrid_al.track.base import BenchNumbers
from hybrid_al.track.wandb import Wandb

inf = float("inf")
tables = [
    ("malaria: AUBC / log2", ("arm", "AUBC"), (("random", "70.1"), ("/home/jane.doe/mine.py:Arm", "<b>1"))),
    ("malaria: AUBC, log2", ("arm",), ()),
    ("../../../escape", ("arm",), (("random",),)),
]
curves = [("malaria", "random", 10, 0.7, 0.6, 0.8), ("malaria", "entropy", 10, 0.75, -inf, inf)]
summary = {"malaria/random/aubc": 0.5 + int(sys.argv[2]), "v0.5/a.b/aubc": 0.25, "bad": float("nan")}
Wandb().log_bench(Path(sys.argv[1]), BenchNumbers("blood/smear", "0123456789ab", tables, curves, summary))
"""


def _jpeg() -> bytes:
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "JPEG")
    return out.getvalue()


def _start(run: Path, *, log_images: bool = False, first: int = 0) -> subprocess.Popen[str]:
    return _child(CHILD, str(run), json.dumps(RECIPE), _jpeg().hex(), str(int(log_images)), str(first))


def _child(code: str, *arguments: str) -> subprocess.Popen[str]:
    # an environment that would like it otherwise
    env = {**os.environ, "WANDB_MODE": "online", "WANDB_API_KEY": "0" * 40, "WANDB_ERROR_REPORTING": "true"}
    env["HOME"] = arguments[0]
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=env, stdout=subprocess.PIPE, text=True)


def _finish(child: subprocess.Popen[str]) -> str:
    out, _ = child.communicate(timeout=120)
    assert child.returncode == 0
    return out.strip()


# -- what goes over the network ---------------------------------------------------------------------------------------


def _family(root: int) -> set[int]:
    """The process and all that descend from it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # ended meanwhile
    processes = {root}
    while more := {pid for pid, parent in parents.items() if parent in processes} - processes:
        processes |= more
    return processes


def _inet_sockets(root: int) -> set[str]:
    """Lines of the kernel's tables of internet sockets that belong to the process tree."""
    inodes, tables = set(), set()
    for pid in _family(root):
        try:
            links = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
            tables |= {
                line
                for name in ("tcp", "tcp6", "udp", "udp6")
                for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
            }
        except OSError:
            continue
        inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    return {line for line in tables if line.split()[9] in inodes}


def _watch(child: subprocess.Popen[str]) -> set[str]:
    sockets: set[str] = set()
    while child.poll() is None:
        sockets |= _inet_sockets(child.pid)
        time.sleep(0.005)
    return sockets


linux = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads the socket tables of Linux")


@linux
def test_the_watch_sees_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        code = f"import socket, time; s = socket.create_connection({address!r}); time.sleep(1)"
        child = subprocess.Popen([sys.executable, "-c", code], text=True)
        assert _watch(child)


@linux
def test_offline_opens_no_internet_socket(tmp_path: Path) -> None:
    child = _start(tmp_path)
    sockets: set[str] = set()
    watcher = threading.Thread(target=lambda: sockets.update(_watch(child)))
    watcher.start()
    families = json.loads(_finish(child))
    watcher.join()
    assert not sockets
    assert set(families) <= {"AF_UNIX"}
    assert "AF_UNIX" in families  # else the spy saw nothing at all


# -- what is written --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[object]]]:
    """A run that was stopped in its second round and played it again: its directory, and the records of each start."""
    run = tmp_path_factory.mktemp("run")
    for first in (0, 1):
        _finish(_start(run, first=first))
    return run, [list(_records(path)) for path in sorted((run / "wandb").glob("offline-run-*/*.wandb"))]


def _history(records: list[object]) -> list[dict[str, object]]:
    rows = [record.history for record in records if record.WhichOneof("record_type") == "history"]  # type: ignore[attr-defined]
    return [{(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in row.item} for row in rows]


def test_steps_go_on_after_a_restart_and_nothing_is_twice(written: tuple[Path, list[list[object]]]) -> None:
    _, starts = written
    first, second = (_history(records) for records in starts)
    assert [row["_step"] for row in first] == [0, 1, 2, 3, 4, 5]
    # lines 6 to 8 are those of round 1 once more, in metrics.jsonl alone: only its evaluation has a row, an empty one
    assert [row["_step"] for row in second] == [8, 9, 10, 11]
    assert all("bad" not in row for row in first + second)
    assert [row["train/step"] for row in first + second if "train/loss" in row] == [0, 10, 11, 21, 22, 32]
    assert [row["labels"] for row in first + second if "curve/auroc" in row] == [20, 40, 60]


def test_axes_identity_and_config(written: tuple[Path, list[list[object]]]) -> None:
    _, starts = written
    for records in starts:
        defined = _kinds(records, "metric")
        metrics = {m.glob_name or m.name: m.step_metric for m in defined}  # type: ignore[attr-defined]
        assert metrics == {name: axis or "" for name, axis in axes().items()}
        assert "*" not in metrics  # W&B would write the labels beside every number
        for name, axis in (("curve/*", "labels"), ("val/*", "labels"), ("train/loss", "train/step")):
            assert metrics[name] == axis
        assert (metrics["train/seconds"], metrics["stage0/loss"]) == ("round", "stage0/step")
        run = next(r.run for r in records if r.WhichOneof("record_type") == "run")  # type: ignore[attr-defined]
        assert run.run_id == "chest-xray-s3-01234567"
        assert run.run_group == "chest xray typiclust+hybrid fixmatch"
        assert run.job_type == "finetune"
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        assert config["seed"] == 3
        assert config["data"]["root"] == "chest.npz"


def test_nothing_about_the_machine_is_recorded(written: tuple[Path, list[list[object]]]) -> None:
    run, _ = written
    files = list((run / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    secrets = ["jane.doe", str(run), str(Path.cwd()), str(Path.home()) + "/", socket.gethostname(), sys.executable]
    secrets = [s for s in secrets if len(s) > 4]  # a host called "vm" is found in checksums, now and then
    for file in files:
        data = file.read_bytes()
        assert not [s for s in secrets if s.encode() in data]
    uploads = [p for p in (run / "wandb").glob("offline-run-*/files/**/*") if p.is_file()]
    assert not uploads  # no requirements, code, console or images


def test_images_only_where_asked_for(tmp_path: Path) -> None:
    _finish(_start(tmp_path, log_images=True))
    contents = list((tmp_path / "wandb").glob("offline-run-*/files/media/**/*.*"))
    assert len(contents) == 2


def test_off_tracks_nothing_and_imports_nothing(tmp_path: Path) -> None:
    tracker = Wandb(mode="off").open(tmp_path, RECIPE, digest="0" * 64)
    assert isinstance(tracker, Trackers)
    tracker.log({"train/loss": 1.0}, stage="train")
    tracker.close()
    assert not list(tmp_path.iterdir())


def test_grouping_without_some_components() -> None:
    assert grouping({"name": "a", "cold_start": {"name": "random"}, "query": {"name": "random"}}) == {
        "group": "a random+random",
        "job_type": "",
        "tags": ["random"],
    }


# -- a bench ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[object]]:
    """A bench that was handed over twice: its folder, and the records of what is there."""
    folder = tmp_path_factory.mktemp("bench")
    for again in "01":
        _finish(_child(BENCH, str(folder), again))
    (path,) = (folder / "wandb").glob("offline-run-*/*.wandb")  # replaced, not piled up
    return folder, list(_records(path))


def _kinds(records: list[object], kind: str) -> list[object]:
    return [getattr(r, kind) for r in records if r.WhichOneof("record_type") == kind]  # type: ignore[attr-defined]


def _summary(records: list[object]) -> dict[str, object]:
    items = [item for part in _kinds(records, "summary") for item in part.update]  # type: ignore[attr-defined]
    return {item.key: json.loads(item.value_json) for item in items if item.key}


def test_a_bench_is_one_run_with_all_in_its_summary(bench: tuple[Path, list[object]]) -> None:
    folder, records = bench
    run = _kinds(records, "run")[0]
    assert (run.run_id, run.job_type) == ("bench-blood-smear-01234567", "bench")  # type: ignore[attr-defined]
    assert run.display_name == "blood/smear"  # type: ignore[attr-defined]
    assert not _history(records)  # a server would not take steps again
    summary = _summary(records)
    assert {k: v for k, v in summary.items() if isinstance(v, float)} == {
        "malaria/random/aubc": 1.5,
        "v0.5/a.b/aubc": 0.25,
    }
    files = folder / "wandb" / next((folder / "wandb").glob("offline-run-*")).name / "files"
    contents = {k: json.loads((files / v["path"]).read_text()) for k, v in summary.items() if isinstance(v, dict)}
    assert contents == {
        "curves": {
            "columns": ["variant", "arm", "labels", "mean", "low", "high"],
            "data": [["malaria", "random", 10, 0.7, 0.6, 0.8], ["malaria", "entropy", 10, 0.75, None, None]],
        },
        "tables/malaria-AUBC-log2": {"columns": ["arm", "AUBC"], "data": [["random", "70.1"], ["mine.py:Arm", "<b>1"]]},
        "tables/malaria-AUBC-log2-2": {"columns": ["arm"], "data": []},
        "tables/..-..-..-escape": {"columns": ["arm"], "data": [["random"]]},
    }
    paths = {file.path for part in _kinds(records, "files") for file in part.files}  # type: ignore[attr-defined]
    assert paths == {str(p.relative_to(files)) for p in files.rglob("*") if p.is_file()}
    assert len(paths) == 4


def test_a_bench_says_nothing_about_the_machine(bench: tuple[Path, list[object]]) -> None:
    folder, records = bench
    assert not _kinds(records, "artifact")  # these would hold the full path of the home directory
    assert not list(folder.rglob("artifacts"))
    secrets = ["jane.doe", str(folder), str(Path.cwd()), str(Path.home()) + "/", sys.executable]
    run = next((folder / "wandb").glob("offline-run-*"))
    files = [p for p in (run / "files").rglob("*") if p.is_file()]
    for file in (*run.glob("*.wandb"), *files):
        assert not [s for s in secrets if s.encode() in file.read_bytes()]
    # a short name of a machine may lie in a random id by chance: here whole words count
    text = "\n".join((*map(str, records), *(file.read_text() for file in files)))
    found = {s for s in ("blood", socket.gethostname()) if re.search(rf"(?<![^\W_]){re.escape(s)}(?![^\W_])", text)}
    assert found == {"blood"}  # a word that is there is found


@linux
def test_a_bench_opens_no_internet_socket(tmp_path: Path) -> None:
    child = _child(BENCH, str(tmp_path), "0")
    assert not _watch(child)
    _finish(child)


def test_a_bench_replaces_nothing_but_itself(tmp_path: Path) -> None:
    others = [
        tmp_path / "wandb" / f"offline-run-20260101_000000-{name}" for name in ("x", BenchNumbers("b", "1" * 9).id)
    ]
    for other in others:
        other.mkdir(parents=True)
    Wandb().log_bench(tmp_path, BenchNumbers("a", "0" * 9))
    assert all(other.is_dir() for other in others)


def test_a_bench_with_mode_off_imports_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hybrid_al.track.base import BenchNumbers; "
        "from hybrid_al.track.wandb import Wandb; "
        "Wandb(mode='off').log_bench(Path(sys.argv[1]), BenchNumbers('a', '0')); assert 'wandb' not in sys.modules"
    )
    _finish(_child(code, str(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_the_environment_may_turn_it_off_and_never_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for word, mode in (("disabled", "off"), ("offline", "offline"), ("online", "offline"), ("", "offline")):
        monkeypatch.setenv("WANDB_MODE", word)
        assert mode_of(Wandb()) == mode and mode_of(Wandb(mode="online")) == "online"


def test_nobody_logged_in_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import wandb

    def refuse(**_: object) -> None:
        raise wandb.errors.UsageError("No API key configured.\nUse `wandb login` to log in.")

    monkeypatch.setattr("wandb.init", refuse)
    expected = r"track\.wandb\.mode: online: expected .*wandb login.*, got No API key configured\. Use `wandb login`"
    with pytest.raises(InputError, match=expected):
        Wandb(mode="online").open(tmp_path, RECIPE, digest="0" * 64)
