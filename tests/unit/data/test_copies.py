"""Copies: one content is asked about once, lies in one split, and is never under two labels without a word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybrid_al.core.manifest import Manifest
from hybrid_al.data.base import Dataset
from hybrid_al.data.copies import joined_groups
from hybrid_al.data.samples import Sample, make_dataset
from hybrid_al.data.sources.npz import Npz
from hybrid_al.data.sources.table import Csv

HOLDOUT = {"val": 0.2, "test": 0.3}


def samples(copies: int) -> list[Sample]:
    """Ten contents of two classes, each with some copies in groups of their own."""
    return [
        Sample(f"{i}-{k}", f"{i}-{k}.png", f"{i}-{k}", None, i % 2, digest=str(i))
        for i in range(10)
        for k in range(1 + copies)
    ]


def dataset(rows: list[Sample], holdout: dict[str, float] | None = None) -> Dataset:
    def read(index: int) -> np.ndarray:
        return np.zeros((2, 2, 1), dtype=np.uint8)

    return make_dataset(rows, read, classes=("no", "yes"), channels=1, holdout=holdout or {}, seed=0)


@pytest.mark.parametrize("seed", range(3))
def test_copies_are_drawn_into_one_split_and_change_no_draw(seed: int) -> None:
    alone, copied = dataset(samples(0), HOLDOUT), dataset(samples(3), HOLDOUT)
    assert alone.notes == () and copied.manifest.leaks() == []
    splits = dict(zip(copied.manifest.digests, copied.manifest.splits, strict=True))
    assert [splits[digest] for digest in alone.manifest.digests] == list(alone.manifest.splits)
    assert [alone.manifest.splits.count(split) for split in ("pool", "val", "test")] == [5, 2, 3]


def test_of_copies_in_the_pool_the_first_is_asked_about() -> None:
    data = dataset(samples(3))
    assert [data.manifest.ids[i] for i in data.manifest.indices("pool").tolist()] == [f"{i}-0" for i in range(10)]
    assert data.notes == ("30 images are copies of others, 30 in the same split: nobody is asked twice",)
    assert Manifest.from_csv(data.manifest.to_csv()).indices("pool").tolist() == list(range(0, 40, 4))


def test_held_out_samples_all_count_and_what_has_no_digest_is_no_copy() -> None:
    manifest = replace(dataset(samples(1)).manifest, splits=("pool",) * 10 + ("test",) * 10)
    assert len(manifest.indices("pool")) == 5 and len(manifest.indices("test")) == 10
    assert len(replace(manifest, digests=("",) * 20).indices("pool")) == 10


def test_groups_that_share_an_image_are_drawn_together() -> None:
    groups, digests = ["p", "p", "q", "q", "r", "s"], ["1", "2", "2", "3", "4", ""]
    names = joined_groups(groups, digests, [None] * 6)
    assert names[0] == names[1] == names[2] == names[3] and len({*names}) == 3
    assert joined_groups(groups, digests, [None, None, None, "test", None, None]) == groups  # the data has said it


def test_two_labels_of_one_image_are_named() -> None:
    rows = [
        *samples(1),
        Sample("wrong", "wrong.png", "wrong", None, 1, digest="4"),
        Sample("x", "x", "x", None, -1, "4"),
    ]
    note = dataset(rows).notes[-1]
    assert note == "1 copies have another answer than the first: 4-0 (no) = wrong (yes)"


def test_slices_without_anything_in_them_join_no_volumes() -> None:
    rows = [Sample(f"v{v}#{z}", f"v{v}", f"v{v}", None, z % 2, digest="blank" if z else f"{v}", z=z)
            for v in range(6) for z in range(2)]  # fmt: skip
    data = dataset(rows, {"test": 0.5})
    assert data.manifest.splits.count("test") == 6 and len(data.manifest.indices("pool")) == 4


def test_masks_of_copies(tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(tmp_path / f"{i}.png")
        Image.fromarray(np.full((4, 4), i == 2, dtype=np.uint8)).save(tmp_path / f"m{i}.png")
    (tmp_path / "t.csv").write_text("f,m\n0.png,m0.png\n1.png,m1.png\n2.png,m2.png\n")
    data = Csv(tmp_path / "t.csv", {"path": "f", "mask": "m"}, group="none", classes=("rest", "thing")).load()
    assert data.notes[-1].endswith("than the first: 0.png (mask m0.png) = 2.png (mask m2.png)")


def test_rows_of_an_archive(tmp_path: Path) -> None:
    images = np.repeat(np.arange(4, dtype=np.uint8), 2)[:, None, None] * np.ones((3, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(8) % 2)
    data = Npz(tmp_path / "a.npz", group="none").load()
    assert data.manifest.indices("pool").tolist() == [0, 2, 4, 6] and data.notes[-1].startswith("4 copies have another")
