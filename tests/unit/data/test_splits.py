"""Splits for samples that have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest

from hybrid_al.core.manifest import Split
from hybrid_al.data.splits import assign, read_split
from hybrid_al.errors import InputError, UnknownName


def alone(n: int) -> tuple[list[str], list[Split | None]]:
    return [f"s{i:03d}" for i in range(n)], [None] * n


def test_names_that_people_use() -> None:
    assert [read_split("x", name) for name in ("train", "Validation", " TEST ", "")] == ["pool", "val", "test", None]
    with pytest.raises(UnknownName, match="did you mean 'train'"):
        read_split("labels.csv, line 3", "trian")


def test_splits_by_more_names() -> None:
    names = ("dev", "Development", "test-set", "Hold out", "train_set")
    assert [read_split("x", name) for name in names] == ["val", "val", "test", "test", "pool"]


def test_no_holdout_is_all_pool() -> None:
    groups, no_splits = alone(5)
    assert assign(groups, no_splits, {}, seed=0) == ("pool",) * 5
    assert assign(groups, no_splits, {"val": 0.0, "test": 0}, seed=0) == ("pool",) * 5


def test_each_class_gives_its_share_within_one() -> None:
    groups, no_splits = alone(200)
    labels = np.asarray([0] * 150 + [1] * 40 + [2] * 10)
    splits = assign(groups, no_splits, {"val": 0.1, "test": 0.2}, seed=3, labels=labels)
    assert Counter(splits) == {"pool": 140, "val": 20, "test": 40}
    for label, count in enumerate((150, 40, 10)):
        counts = Counter(split for split, y in zip(splits, labels, strict=True) if y == label)
        assert abs(counts["test"] - 0.2 * count) <= 1 and abs(counts["val"] - 0.1 * count) <= 1


def test_groups_stay_together_and_shares_are_met() -> None:
    rng = np.random.default_rng(0)
    groups = [f"p{i}" for i in rng.integers(40, size=500)]
    splits = assign(groups, [None] * 500, {"val": 0.2, "test": 0.2}, seed=0, labels=rng.integers(2, size=500))
    assert all(len({s for s, g in zip(splits, groups, strict=True) if g == group}) == 1 for group in set(groups))
    counts = Counter(splits)
    assert abs(counts["test"] - 100) < 20 and abs(counts["val"] - 100) < 20


def test_the_draw_hangs_on_seed_and_names_not_on_order() -> None:
    groups, no_splits = alone(60)
    labels = np.arange(60) % 3
    first = assign(groups, no_splits, {"test": 0.3}, seed=0, labels=labels)
    assert first == assign(groups, no_splits, {"test": 0.3}, seed=0, labels=labels)
    assert first != assign(groups, no_splits, {"test": 0.3}, seed=1, labels=labels)
    backwards = assign(groups[::-1], no_splits, {"test": 0.3}, seed=0, labels=labels[::-1])
    assert first == backwards[::-1]


def test_what_is_given_is_kept_and_the_rest_is_drawn_from() -> None:
    groups, _ = alone(100)
    val: Split = "val"
    pool: Split = "pool"
    splits = assign(groups, [*[val] * 20, *[pool] * 40, *[None] * 40], {"test": 0.25}, seed=0)
    assert splits[:20] == ("val",) * 20
    assert Counter(splits[20:]) == {"test": 20, "pool": 60}


def test_a_sample_without_split_follows_its_group() -> None:
    assert assign(["a", "a", "b"], ["val", None, None], {}, seed=0) == ("val", "val", "pool")


@pytest.mark.parametrize(
    ("holdout", "match"),
    [
        ({"tset": 0.1}, "did you mean 'test'"),
        ({"train": 0.1}, "one of test, val"),
        ({"test": 1.0}, "from 0 to below 1"),
        ({"test": -0.1}, "from 0 to below 1"),
        ({"val": 0.5, "test": 0.5}, "leave a pool"),
    ],
)
def test_shares_that_make_no_sense(holdout: Mapping[str, float], match: str) -> None:
    with pytest.raises(InputError, match=match):
        assign(["a", "b"], [None, None], holdout, seed=0)


def test_a_split_that_exists_is_not_drawn_again() -> None:
    with pytest.raises(InputError, match="the data has this split, got 1 samples"):
        assign(["a", "b", "c"], ["test", None, None], {"test": 0.5}, seed=0)


def test_a_share_too_small_for_any_group() -> None:
    with pytest.raises(InputError, match="at least one group"):
        assign(["a"] * 50 + ["b"] * 50, [None] * 100, {"test": 0.1}, seed=0)


def test_one_sample_per_group_without_labels() -> None:
    groups, no_splits = alone(10)
    assert Counter(assign(groups, no_splits, {"test": 0.2}, seed=0)) == {"pool": 8, "test": 2}
