"""Domains of samples: where they are read from, whose labels are given, and domains that make no sense."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hybrid_al.core.manifest import Manifest
from hybrid_al.data import domains
from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.sources.npz import Npz
from hybrid_al.data.sources.table import Csv
from hybrid_al.errors import InputError

ROWS = [  # file, site, label, patient, split
    ("a1.png", "A", "x", "p1", "train"),
    ("a2.png", "A", "y", "p2", "train"),
    ("b1.png", "B", "x", "p3", "train"),
    ("b2.png", "B", "y", "p4", "train"),
    ("b3.png", "B", "z", "p5", "train"),
    ("c1.png", "C", "y", "p6", "test"),
]


def table(folder: Path, rows: Sequence[tuple[str, ...]] = ROWS, **settings: Any) -> Csv:
    for k, (name, *_) in enumerate(rows):
        Image.fromarray(np.full((8, 8), 40 * k, dtype=np.uint8)).save(folder / name)
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file", "site", "label", "patient", "split"), *rows])
    columns = {"path": "file", "label": "label", "group": "patient", "split": "split"}
    return Csv(folder, columns, **{"domain": "site", **settings})


def test_a_column_a_pattern_and_nothing(tmp_path: Path) -> None:
    assert table(tmp_path).load().manifest.domains == ("A", "A", "B", "B", "B", "C")
    by_name = table(tmp_path, domain={"column": "file", "pattern": "^([abc])"}).load().manifest
    assert by_name.domains == ("a", "a", "b", "b", "b", "c")
    assert by_name.fingerprint != table(tmp_path, domain="").load().manifest.fingerprint
    assert table(tmp_path, domain="").load().manifest.domains == ()


def test_folders_and_archives(tmp_path: Path) -> None:
    for site in ("one", "two"):
        for k, label in enumerate(("x", "y")):
            (tmp_path / "f" / label / site).mkdir(parents=True)
            picture = Image.fromarray(np.full((8, 8), 9 * k + len(site), dtype=np.uint8))
            picture.save(tmp_path / "f" / label / site / f"{site}{k}.png")
    folder = Folder(tmp_path / "f", group="none", domain="/(one|two)/", holdout={}).load().manifest
    assert folder.domains == ("one", "two", "one", "two")
    images = np.random.default_rng(0).integers(0, 255, (4, 8, 8), dtype=np.uint8)
    names = np.asarray(["s1_a", "s2_a", "s1_b", "s2_b"])
    np.savez(tmp_path / "d.npz", images=images, labels=[0, 1, 0, 1], files=names, site=[1, 2, 1, 2])
    assert Npz(tmp_path / "d.npz", group="none", domain="site").load().manifest.domains == ("1", "2", "1", "2")
    pattern = {"key": "files", "pattern": "s[12]"}
    assert Npz(tmp_path / "d.npz", group="none", domain=pattern).load().manifest.domains == ("s1", "s2", "s1", "s2")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"domain": "scanner"}, r"data\.domain: expected one of file, .*, got 'scanner'"),
        ({"domain": {"column": "site", "pattern": "Q"}}, r"line 2, column site: expected a text in which 'Q' finds a"),
        ({"domain": {"colum": "site"}}, r"data\.domain: expected one of column, pattern, tag, got 'colum'"),
        ({"domain": {"tag": "Manufacturr"}}, r"data\.domain\.tag: expected one of .*, got 'Manufacturr'"),
    ],
)
def test_domains_that_cannot_be_read(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        table(tmp_path, **settings).load()


def test_an_empty_cell_is_no_domain(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 3, column site: expected a domain, got an empty cell"):
        table(tmp_path, [ROWS[0], ("a2.png", "", "y", "p2", "train")]).load()


def test_given_and_asked(tmp_path: Path) -> None:
    manifest = table(tmp_path).load().manifest
    assert domains.given(manifest, ("A",)).tolist() == [0, 1]
    assert domains.asked(manifest, ("A",)).tolist() == [2, 3, 4]
    assert domains.asked(manifest, ()).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("rows", "sources", "words"),
    [
        (ROWS, ("D",), r"domains\.source: expected one of A, B, C, got 'D'"),
        (ROWS, ("A", "A"), r"domains\.source: expected each domain once, got A, A"),
        (ROWS, ("A", "B", "C"), r"domains\.source: expected a domain that is left to ask about in the pool"),
        (ROWS, ("A", "B"), r"domains\.source: expected a domain that is left to ask about in the pool"),
        (ROWS, ("C",), r"domains\.source: expected labels of the source in the pool, which are given, got none"),
        ([(f, "A", *rest) for f, _, *rest in ROWS], (), r"data\.domain: expected two domains at least, got 'A' for"),
    ],
)
def test_sources_that_leave_nothing(
    tmp_path: Path, rows: Sequence[tuple[str, ...]], sources: tuple[str, ...], words: str
) -> None:
    dataset = table(tmp_path, rows).load()
    with pytest.raises(InputError, match=words) as caught:
        domains.check(dataset, sources, dataset.truth >= 0)
    assert "\n" not in str(caught.value)


def test_a_source_without_domains_or_labels(tmp_path: Path) -> None:
    dataset = table(tmp_path).load()
    with pytest.raises(InputError, match="which are given, got none in the data"):
        domains.check(dataset, ("A",), np.arange(6) > 1)
    without = table(tmp_path, domain="").load()
    with pytest.raises(InputError, match=r"domains\.source: expected a domain of each sample \(data\.domain\)"):
        domains.check(without, ("A",), without.truth >= 0)


def test_what_a_person_should_know(tmp_path: Path) -> None:
    rows = [*ROWS[:3], ("b2.png", "B", "y", "p1", "train"), *ROWS[4:]]
    notes = domains.notes(table(tmp_path, rows).load(), ("A",))
    assert notes[0] == "3 domains: A 2 (source), B 3, C 1"
    assert notes[1].startswith("domains of one sample: C;")
    assert notes[2].startswith("1 groups are in several domains (p1), 1 of them in source and target")
    assert notes[3] == "classes of the target that the source lacks: z; answers alone teach them"


def test_a_manifest_with_domains_survives_the_disk() -> None:
    ids = ("1", "2,", "3")
    manifest = Manifest(ids, ids, ids, ("pool", "pool", "test"), ("a", "b", "c"), domains=("A", "B, C", "A"))
    assert Manifest.from_csv(manifest.to_csv()) == manifest
    prefix = manifest.prefix(manifest.fingerprint_of(2))
    assert prefix is not None and prefix.domains == ("A", "B, C")
    other = Manifest(ids, ids, ids, ("pool", "pool", "test"), ("a", "b", "c"), domains=("A", "A", "A"))
    assert manifest.differences(other) == "1 with another domain (2,)"
    with pytest.raises(InputError, match=r"manifest\.domains: expected 3 entries, got 1"):
        Manifest(ids, ids, ids, ("pool", "pool", "test"), ("a", "b", "c"), domains=("A",))
