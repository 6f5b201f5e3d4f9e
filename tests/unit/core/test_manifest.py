"""The frozen list of samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_al.core.manifest import Manifest
from hybrid_al.core.rundir import FACTS, RunDir
from hybrid_al.errors import InputError

FOUR = Manifest(
    ids=("a", "b", "c", "d"),
    paths=("a.png", "b.png", "c.png", "d.png"),
    groups=("p1", "p1", "p2", "p3"),
    splits=("pool", "pool", "val", "test"),
    digests=("1", "2", "3", "4"),
)


def test_columns() -> None:
    assert len(FOUR) == 4 and FOUR.z == (-1, -1, -1, -1)
    assert FOUR.indices("pool").tolist() == [0, 1] and FOUR.indices("test").dtype == np.int64
    assert FOUR.group_codes.tolist() == [0, 0, 1, 2]
    assert FOUR.position == {"a": 0, "b": 1, "c": 2, "d": 3}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"ids": ("a", "b", "b", "d")}, "unique ids"),
        ({"paths": ("a.png",)}, "4 entries"),
        ({"z": (1, 2)}, "4 entries"),
        ({"groups": ("p1", "p1", "p1", "p3")}, r"group 'p1': expected one split \(pool\), got sample 'c' in val"),
        ({"splits": ("pool", "pool", "val", "train")}, "pool, val or test"),
        ({"splits": ("val", "val", "val", "test")}, "at least one pool sample"),
    ],
)
def test_broken_invariants(change: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        replace(FOUR, **change)  # type: ignore[arg-type]


def test_an_empty_manifest_has_no_pool() -> None:
    with pytest.raises(InputError, match="at least one pool sample"):
        Manifest((), (), (), (), ())


def test_missing_splits_are_empty() -> None:
    only = replace(FOUR, splits=("pool",) * 4)
    assert only.indices("val").shape == (0,)


def test_leaks_are_same_content_in_different_splits() -> None:
    assert FOUR.leaks() == []
    leaking = replace(FOUR, digests=("1", "1", "1", "4"))
    assert leaking.leaks() == [("a", "c")]


def test_fingerprint_is_a_prefix_chain() -> None:
    grown = Manifest(
        (*FOUR.ids, "e"), (*FOUR.paths, "e.png"), (*FOUR.groups, "p4"), (*FOUR.splits, "pool"), (*FOUR.digests, "5")
    )
    assert grown.fingerprint_of(4) == FOUR.fingerprint != grown.fingerprint
    assert grown.prefix(FOUR.fingerprint) == FOUR and grown.prefix("other") is None


@pytest.mark.parametrize("column", ["ids", "paths", "digests", "groups"])
def test_fingerprint_sees_every_column(column: str) -> None:
    changed: dict[str, Any] = {column: (*getattr(FOUR, column)[:3], "other")}
    assert replace(FOUR, **changed).fingerprint != FOUR.fingerprint


def test_csv_round_trip() -> None:
    assert Manifest.from_csv(FOUR.to_csv()) == FOUR


def test_csv_with_other_columns() -> None:
    with pytest.raises(InputError, match="columns id, path"):
        Manifest.from_csv("id,path\na,b\n")


def test_an_id_is_found_in_either_form_of_its_letters() -> None:
    composed, apart = "b\u00f6se.png", "bo\u0308se.png"
    manifest = Manifest((apart, "x"), (apart, "x"), ("1", "2"), ("pool", "pool"), ("1", "2"))
    assert manifest.find(composed) == manifest.find(apart) == 0 and manifest.find("y") is None
    with pytest.raises(InputError, match="unique ids"):
        Manifest((apart, composed), ("1", "2"), ("1", "2"), ("pool", "pool"), ("1", "2"))


def test_a_manifest_is_read_in_parts_with_quotes_and_letters_in_some(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ('plain, "quoted"', "é.png", "x\u2028\u0085.png", *(f"{i}.png" for i in range(40)))
    manifest = Manifest(names, names, names, ("pool",) * 43, ("d",) * 43, tuple(range(-1, 42)))
    monkeypatch.setattr("hybrid_al.core.manifest.PART", 50)
    assert Manifest.from_csv(manifest.to_csv()) == manifest
    monkeypatch.setattr("hybrid_al.core.manifest.PART", 5000)
    for lines in (
        "a,a,a,pool,-1\n",
        "a,a,a,pool,-1,d,d\n",
        '"a",a,a,pool,-1\n',
        "a,a,a,pool,x,d\n",
        "\n",
        "a,a,a,pool,-1\na,a,a,a,pool,-1,d\n",
    ):
        with pytest.raises(ValueError):
            Manifest.from_csv("id,path,group,split,z,digest\nb,b,b,pool,-1,d\n" + lines + "c,c,c,pool,-1,d\n")


def test_rows_of_a_manifest_that_is_as_written_are_not_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest(("a", 'b "x", y'), ("a", "p"), ("g", "h"), ("pool", "test"), ("1", "2"), (-1, 3))
    run = RunDir(tmp_path)
    run.claim(dict.fromkeys(FACTS, "") | {"manifest": manifest.fingerprint}, "", manifest)
    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "__post_init__", lambda self: pytest.fail("checked"))
        patch.setattr(Manifest, "fingerprint_of", lambda self, n: pytest.fail("hashed"))
        read = run.manifest()
        assert read == manifest and read.fingerprint and len(read) == 2
    assert read.fingerprint == manifest.fingerprint and read.indices("pool").tolist() == [0]
    file = tmp_path / "manifest.csv"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))  # as an editor saves it: the same rows
    assert run.manifest() == manifest
    file.write_bytes(file.read_bytes().replace(b"pool", b"test"))
    with pytest.raises(InputError, match=r"manifest\.csv: manifest: expected at least one pool sample"):
        run.manifest()
