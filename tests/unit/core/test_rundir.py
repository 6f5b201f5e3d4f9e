"""The run directory: atomic commits, one process, same recipe, same data."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from hybrid_al.core.files import read_seal, replacement, seal, write_atomic
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.manifest import Manifest, Split
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.seals import damage, sha256_of
from hybrid_al.core.types import Annotation, Query, Round, Scores
from hybrid_al.errors import HybridALError, InputError, RunLocked
from hybrid_al.oracles.ledger import files_of_answers
from hybrid_al.recipe import of_run


def manifest(n: int = 4, tag: str = "") -> Manifest:
    ids, pool = tuple(f"s{i}" for i in range(n)), cast(tuple[Split, ...], ("pool",) * n)
    return Manifest(ids, ids, ids, pool, tuple(f"{tag}{i}" for i in range(n)))


def facts(m: Manifest, **recipe: object) -> dict[str, object]:
    return {
        "name": "x",
        "seed": 0,
        "task": "classification",
        "classes": ["a", "b"],
        "recipe": recipe,
        "manifest": m.fingerprint,
    }


def test_a_claimed_directory_takes_the_same_run_again_and_no_other(tmp_path: Path) -> None:
    run, m = RunDir(tmp_path / "run"), manifest()
    run.claim(facts(m, lr=1, data={"size": 28}), "name: x\n", m)
    run.claim(facts(m, lr=1, data={"size": 28}), "name: x\n", m)
    assert run.manifest() == m
    with pytest.raises(InputError, match=r"other values for data\.size, lr"):
        run.claim(facts(m, lr=2, data={"size": 32}), "name: x\n", m)
    with pytest.raises(InputError, match="other data"):
        run.claim(facts(manifest(tag="z"), lr=1, data={"size": 28}), "name: x\n", manifest(tag="z"))


def test_no_file_of_a_person_is_overwritten(tmp_path: Path) -> None:
    """As by --run-dir . in a folder with a recipe, or with a table of images of this name."""
    m = manifest()
    for name in ("recipe.yaml", "manifest.csv"):
        (file := tmp_path / name).write_text("mine\n")
        with pytest.raises(InputError, match=f"{name}: expected a folder for a run .* that hybrid-al did not write"):
            RunDir(tmp_path).claim(facts(m), "name: x\n", m)
        assert file.read_text() == "mine\n" and not (tmp_path / "run.json").exists()
        file.unlink()
    RunDir(tmp_path).claim(facts(m), "name: x\n", m)
    (tmp_path / "run.json").unlink()  # as by a kill in front of it
    RunDir(tmp_path).claim(facts(m), "name: x\n", m)
    with pytest.raises(InputError, match=r"a folder for a run .*, got a file"), RunDir(tmp_path / "run.json").lock():
        pass


def test_copies_that_a_person_or_a_file_manager_left_change_nothing(tmp_path: Path) -> None:
    run, m = RunDir(tmp_path / "run"), manifest()
    run.claim(facts(m), "name: x\n", m)
    run.commit_query(0, Query(np.array([1])), m)
    for name in ("random/s0", "random/s0 (copy)"):
        (run.path / name).mkdir(parents=True)
        (run.path / name / "run.json").write_bytes((run.path / "run.json").read_bytes())
    assert [one.path.name for one in run.random_runs()] == ["s0"]
    for name in ("000/answers/000.csv", "000/answers/000 - Copy.csv", "000 (copy)/answers/000.csv"):
        (run.path / "rounds" / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / "rounds" / name).write_text("id,label\n")
    assert files_of_answers(run) == [run.path / "rounds/000/answers/000.csv"]
    run.commit_round(Round(0, "random", 1, ("s1",), 0, {}, 0, {}), LabelStore(4))
    (run.path / "rounds/000/.DS_Store").write_bytes(b"x")
    assert damage(run.round_path(0), "round.json")[1] == []
    (late := run.path / "rounds/000/Thumbs.db").write_bytes(b"x")
    assert damage(run.round_path(0), "round.json")[1] == [
        f"{late}: expected no such file in a round that is committed; move it away, got one that came later"
    ]


def test_a_second_process_is_turned_away(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with run.lock(), pytest.raises(RunLocked, match="another process"), RunDir(run.path).lock():
        pass
    with RunDir(run.path).lock():
        pass


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "round.json"
    write_atomic(file, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HybridALError, match="No space left"):
        write_atomic(file, "new")
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["round.json"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "images"
    with replacement(file) as out:
        out.write(b"old")
        assert not file.exists()
    with pytest.raises(KeyboardInterrupt), replacement(file) as out:
        out.write(b"half of the n")
        raise KeyboardInterrupt
    assert file.read_bytes() == b"old" and [p.name for p in file.parent.iterdir()] == ["images"]
    assert sha256_of(file) == hashlib.sha256(b"old").hexdigest()


def test_a_seal_holds_for_the_bytes_that_it_was_put_on(tmp_path: Path) -> None:
    file = tmp_path / "rows.npy"
    assert read_seal(file) is None
    file.write_bytes(b"rows")
    assert read_seal(file) is None
    seal(file, keys=["a"])
    assert read_seal(file) == {"sha256": sha256_of(file), "keys": ["a"]}
    file.write_bytes(b"rowS")
    assert read_seal(file) is None
    for text in ("{", "[]", "{}", "\xff"):
        file.with_suffix(".json").write_bytes(text.encode("latin-1"))
        assert read_seal(file) is None


def test_query_and_round_come_back_as_they_were_committed(tmp_path: Path) -> None:
    run, m = RunDir(tmp_path / "run"), manifest()
    candidates = np.arange(4)
    scores = Scores(candidates, np.asarray([0.1, 0.9, 0.3, 0.2]), {"entropy": np.linspace(0, 1, 4)})
    assert run.query_ids(0) is None
    run.commit_query(0, Query(np.asarray([1, 2]), scores=scores, reasons=("a, b", "c")), m)
    assert run.query_ids(0) == ("s1", "s2")
    assert (run.round_path(0) / "query.csv").read_text().splitlines()[1] == '0,s1,s1,0.9,"a, b",'
    assert run.rounds() == [] and run.labels(4) == LabelStore(4)

    labels = LabelStore(4).add([Annotation(1, "class", 0, "me", 0), Annotation(2, "skip", None, "me", 0)])
    row = Round(0, "typiclust", 2, ("s1", "s2"), 1, {"test/auroc": 0.5}, 0, {"query": 0.1})
    run.commit_round(row, labels)
    assert [replace(r, digests={}) for r in run.rounds()] == [row]
    assert set(run.rounds()[0].digests) == {"labels.jsonl", "query.csv", "query.json", "scores.npz"}
    assert run.labels(4) == labels


def test_a_round_without_its_commit_is_not_there(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    write_atomic(run.round_path(0) / "labels.jsonl", LabelStore(4).to_jsonl())
    assert run.rounds() == [] and run.labels(4) == LabelStore(4)


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a run directory, got no run\.json"):
        RunDir(tmp_path).facts()


@pytest.mark.parametrize(
    ("classes", "came"),
    [
        (["b", "normal"], r"got classes b, normal \(a gone; normal new\)"),
        (["b", "a"], r"got classes b, a \(another order\)"),
        (["a", "b", "c"], r"got classes a, b, c \(c new\)"),
        ([], r"got classes without names \(a, b gone\)"),
    ],
)
def test_other_classes_or_another_order_of_them_are_refused(tmp_path: Path, classes: list[str], came: str) -> None:
    run, m = RunDir(tmp_path / "run"), manifest()
    run.claim(facts(m), "name: x\n", m)
    with pytest.raises(InputError, match=f"began with classes a, b, {came}"):
        run.claim({**facts(m), "classes": classes}, "name: x\n", m)


def test_other_data_are_said_with_the_first_ids(tmp_path: Path) -> None:
    run, m = RunDir(tmp_path / "run"), manifest(6)
    run.claim(facts(m), "name: x\n", m)
    ids, pool = ("s0", "s2", "s3", "s4", "s5", "ö"), cast(tuple[Split, ...], ("pool",) * 6)
    other = Manifest(ids, ids, ("s0", "p", *ids[2:]), pool, ("x", "x", "3", "x", "x", "new"))
    expected = (
        r"got other data: 1 new \(ö\), 1 gone \(s1\), 4 with other content \(s0, s2, s4, \.\.\.\), "
        r"1 with another group \(s2\)"
    )
    with pytest.raises(InputError, match=expected):
        run.claim(facts(other), "name: x\n", other)
    turned = Manifest(m.ids[::-1], m.paths[::-1], m.groups[::-1], m.splits, m.digests[::-1])
    with pytest.raises(InputError, match="got other data: the same samples in another order"):
        run.claim(facts(turned), "name: x\n", turned)


@pytest.mark.parametrize("content", [None, "", "{", "[1", "null", "\x00"])
def test_files_of_a_run_that_are_gone_or_cut_are_named(tmp_path: Path, content: str | None) -> None:
    run, m = RunDir(tmp_path / "run"), manifest()
    run.claim(facts(m), "name: x\n", m)
    run.commit_round(
        Round(0, "random", 1, ("s0",), 1, {}, 0, {}), LabelStore(4).add([Annotation(0, "class", 1, "a", 0)])
    )
    reads: dict[str, Callable[[], object]] = {
        "rounds/000/labels.jsonl": lambda: run.labels(4),
        "manifest.csv": run.manifest,
        "recipe.yaml": lambda: of_run(run.path),
        "rounds/000/round.json": run.rounds,
        "run.json": run.facts,
    }
    for name, read in reads.items():
        file = run.path / name
        text = file.read_text(encoding="utf-8")
        file.unlink()
        if content is not None:
            file.write_text(content, encoding="utf-8")
        elif name in ("rounds/000/round.json", "run.json"):
            continue  # no round, no run
        with pytest.raises(InputError, match=r"as hybrid-al wrote it|expected columns id|expected YAML") as error:
            read()
        assert name in str(error.value) and "\n" not in str(error.value)
        file.write_text(text, encoding="utf-8")


def test_a_round_may_have_more_regions_than_labeled_samples(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    store = LabelStore(4).add([Annotation(0, "mask", None, "a", 0, region=(0, 3))])
    run.commit_round(Round(0, "random", 2, ("s0", "s0"), 2, {}, 0, {}), store)
    assert run.labels(4) == store
