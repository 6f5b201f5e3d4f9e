"""Seals: damage to a run is said, with the way out, and never taken for a shorter or another run."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from hybrid_al.core.consistency import Consistency
from hybrid_al.core.files import memory_mapped, write_atomic, write_json
from hybrid_al.core.manifest import Manifest
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import PredictionBatch, Query
from hybrid_al.core.verify import verify
from hybrid_al.errors import ECHO, LINE, HybridALError, InputError, UnknownName, reading
from hybrid_al.recipe import of_run
from hybrid_al.report.runview import RunView
from tests.helpers.command import call
from tests.helpers.fake_run import fake_run


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(fake_run(tmp_path / "run", pool=40, budgets=(4, 4, 4), committed=2))


def read_all(run: RunDir) -> None:
    run.facts()
    of_run(run.path)
    n = len(run.manifest())
    for row in run.rounds():
        run.picks(row.index, run.manifest())
        Consistency.load(run.round_path(row.index) / "consistency.npz")
    run.picks(2, run.manifest())
    run.labels(n)


def test_a_whole_run_is_whole(run: RunDir) -> None:
    read_all(run)
    count, lines = verify(run)
    assert count > 15 and not lines


@pytest.mark.parametrize("name", ["query.csv", "query.json", "labels.jsonl", "consistency.npz", "round.json"])
@pytest.mark.parametrize("how", ["half", "empty", "flip", "other"])
def test_a_damaged_file_of_a_round_is_named(
    run: RunDir, name: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run.round_path(1) / name
    data = file.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    other = (run.round_path(0) / name).read_bytes()
    file.write_bytes({"half": data[:middle], "empty": b"", "flip": flipped, "other": other}[how])
    with pytest.raises(InputError, match=name.replace(".", r"\.")) as error:
        read_all(run)
    assert "as hybrid-al wrote it" in str(error.value) and "\n" not in str(error.value)
    assert call("status", run.path, "--verify") == 2
    assert str(file) in capsys.readouterr().err


def test_what_to_do_depends_on_what_is_damaged(run: RunDir) -> None:
    folder = run.round_path(1)
    for name, way in (("consistency.npz", "plays the round again"), ("labels.jsonl", "nothing else has it")):
        shutil.copy(run.round_path(0) / name, folder / name)
        _, lines = verify(run)
        assert any(name in line and way in line for line in lines)


def test_ids_that_changed_places_in_the_manifest_are_refused(run: RunDir) -> None:
    file = run.path / "manifest.csv"
    rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8"))))
    rows[1][0], rows[2][0] = rows[2][0], rows[1][0]
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out, lineterminator="\n").writerows(rows)
    with pytest.raises(InputError, match=r"manifest\.csv: expected the file as hybrid-al wrote it"):
        run.manifest()


def test_values_in_run_json_and_in_the_recipe_of_a_run_are_not_edited(run: RunDir) -> None:
    for name in ("run.json", "recipe.yaml"):
        file = run.path / name
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("seed: 0", "seed: 1").replace('"seed": 0', '"seed": 1'), encoding="utf-8")
        assert file.read_text(encoding="utf-8") != text
        with pytest.raises(InputError, match=name):
            read_all(run)
        file.write_text(text, encoding="utf-8")
    read_all(run)


def test_a_query_that_was_filled_in_is_refused_and_comes_back(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    file = run.round_path(2) / "query.csv"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(",", ";"), encoding="utf-8")
    expected = r"people fill in a copy, .*worklist/round_002\.csv: move this file away"
    with pytest.raises(InputError, match=expected):
        run.query_ids(2)
    assert call("status", run.path) == 2
    file.rename(run.path / "mine.csv")
    assert len(run.query_ids(2) or ()) == 4 and file.read_text(encoding="utf-8") == text
    assert "gone; written again" in capsys.readouterr().err


def test_a_query_whose_extension_was_cut_off_is_finished(run: RunDir) -> None:
    file, note = run.round_path(2) / "query.csv", run.round_path(2) / "query.json"
    before, sealed = file.read_text(encoding="utf-8"), note.read_text(encoding="utf-8")
    run.commit_query(2, Query(run.manifest().indices("pool")[:1]), run.manifest())
    assert run.query_starts(2) == [0, 4] and run.worklist(2).name == "round_002_from_004.csv"
    file.write_text(before, encoding="utf-8")  # killed between the two
    assert len(run.query_ids(2) or ()) == 5 and sealed != note.read_text(encoding="utf-8")


def test_a_run_of_a_version_without_seals_goes_on(run: RunDir) -> None:
    for r in range(3):
        (run.round_path(r) / "query.json").unlink()
        if r < 2:
            row = json.loads((run.round_path(r) / "round.json").read_text(encoding="utf-8"))
            row = {k: v for k, v in row.items() if k != "digest"}
            write_json(run.round_path(r) / "round.json", {**row, "digests": {"model": "x"}})
    facts = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    write_json(run.path / "run.json", {k: v for k, v in facts.items() if k != "digest"})
    read_all(run)
    assert not verify(run)[1]


def test_a_line_repeats_little_of_what_came() -> None:
    error = InputError("x" * 100_000, "a class", "y" * 100_000)
    assert len(str(error)) < 3 * ECHO
    assert len(str(UnknownName("label", "z" * 140_000, ["a", "b"]))) < 2 * LINE
    assert len(str(error.at("w" * 5000))) < 3 * ECHO


def test_whatever_a_library_raises_is_one_line_with_the_file() -> None:
    errors = {"KeyError: 'a'": KeyError("a"), "RecursionError: deep": RecursionError("deep"), "memory": MemoryError()}
    for said, raised in errors.items():
        with pytest.raises(InputError, match=said) as error, reading("a file", "YAML"):
            raise raised
        assert str(error.value).startswith("a file: expected YAML")
    with pytest.raises(KeyboardInterrupt), reading("a file", "YAML"):
        raise KeyboardInterrupt


def test_a_disk_without_room_for_a_mapped_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert memory_mapped(tmp_path / "a.npy", np.float32, (3, 2)).shape == (3, 2)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(HybridALError, match=r"b\.npy: 0\.00 GiB could not be written \(No space left on device\)"):
        memory_mapped(tmp_path / "b.npy", np.float32, (3, 2))
    assert not (tmp_path / "b.npy").exists()


def test_probabilities_that_are_not_finite_are_refused_with_their_sample() -> None:
    probs = np.full((2, 1, 2), 0.5)
    probs[1, 0, 0] = np.nan
    with pytest.raises(InputError, match="predictions of sample 7: expected finite probabilities"):
        PredictionBatch(np.asarray([3, 7]), probs)


def test_permissions_that_a_person_gave_stay(tmp_path: Path) -> None:
    file = tmp_path / "run" / "recipe.yaml"
    write_atomic(file, "old")
    file.chmod(0o600)
    write_atomic(file, "new")
    assert file.stat().st_mode & 0o777 == 0o600


def test_another_number_of_threads_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = Manifest(("a",), ("a",), ("a",), ("pool",), ("1",))
    facts: dict[str, object] = {
        **{"name": "x", "seed": 0, "task": "classification", "classes": [], "recipe": {}},
        "manifest": manifest.fingerprint,
    }
    run = RunDir(tmp_path / "run")
    for threads in (1, 1, 2):
        run.claim({**facts, "threads": threads}, "name: x\n", manifest)
        said = capsys.readouterr().err
    assert "begun with 1 threads, goes on with 2" in said and "(OMP_NUM_THREADS=1 goes on as it began)" in said


def test_scores_that_are_damaged_stop_no_report_and_may_be_removed(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    for r in (1, 2):  # committed and open
        file = run.round_path(r) / "scores.npz"
        file.write_bytes(file.read_bytes()[:-30])
        assert RunView.read(run.path).rounds[r].scores is None
        said = capsys.readouterr().err
        assert "or remove it: the query stands" in said and "the report goes without them" in said
        file.unlink()
    assert [row.index for row in run.rounds()] == [0, 1]
