"""Give a split to the samples that have none: by group, seeded, and by class where groups allow it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ..core.manifest import Split
from ..core.rng import derive
from ..core.types import IntArray
from ..errors import InputError, UnknownName

NAMES: dict[str, Split] = {
    "train": "pool",
    "training": "pool",
    "train_set": "pool",
    "trainset": "pool",
    "pool": "pool",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
    "tuning": "val",
    "val_set": "val",
    "test": "test",
    "testing": "test",
    "test_set": "test",
    "testset": "test",
    "holdout": "test",
    "hold_out": "test",
}
"""Usual names of the splits, in lower case, words joined by _ -> the split."""


def split_named(text: str) -> Split | None:
    """The split that a text names, in any case, its words apart, joined by _ or by -; None where it names none."""
    return NAMES.get(re.sub(r"[\s-]+", "_", text.strip().lower()))


def read_split(where: object, text: str) -> Split | None:
    """The split that a text names; None where it is empty, UnknownName for another name."""
    if not text.strip():
        return None
    split = split_named(text)
    if split is None:
        raise UnknownName(where, text, NAMES)
    return split


def by_first_folder(paths: Sequence[str]) -> tuple[list[Split | None], list[str]]:
    """Split of each path, and the path below it; None and the path where not all first folders are called splits."""
    parts = [path.partition("/") for path in paths]
    splits = [split_named(folder) if slash else None for folder, slash, _ in parts]
    if None in splits:
        return [None] * len(paths), list(paths)
    return splits, [rest for *_, rest in parts]


def assign(
    groups: Sequence[str],
    source_splits: Sequence[Split | None],
    holdout: Mapping[str, float],
    *,
    seed: int,
    labels: IntArray | None = None,
) -> tuple[Split, ...]:
    """The split of every sample (N,), no group in two splits unless the data has it so.

    source_splits  the splits that the data came with, None where it has none; its val and test stay as they are
    holdout  {val: f, test: f}: shares to draw from all samples that are in neither val nor test; a split that the data
             has already cannot be drawn as well. What is not drawn is the pool.
    labels   class numbers (N,), -1 unknown: where every group is one sample, each class gives the same share, within
             one sample. Where groups are larger, whole groups are drawn at random until the share is met.

    The draw depends on the seed and on the names of the groups, not on their order in the data.
    """
    _check(holdout, source_splits)
    split_of = {group: split for group, split in zip(groups, source_splits, strict=True) if split is not None}
    splits = [split or split_of.get(group, "pool") for group, split in zip(groups, source_splits, strict=True)]
    sizes = Counter(group for group, split in zip(groups, splits, strict=True) if split == "pool")
    rng = derive(seed, "split")
    order = [str(group) for group in rng.permutation(sorted(sizes))]
    by_class = labels is not None and all(size == 1 for size in sizes.values())
    if by_class and labels is not None:
        label_of = dict(zip(groups, labels.tolist(), strict=True))
        order.sort(key=lambda group: label_of[group])
    draws: dict[str, Split] = {}
    holdout_splits: tuple[Split, ...] = ("test", "val")
    for split in holdout_splits:
        target = holdout.get(split, 0.0) * sizes.total()
        if target:
            members = _every_nth(order, round(target)) if by_class else _groups_until(order, sizes, target)
            if not members:
                came = f"{target:.1f} of {sizes.total()}"
                raise InputError(f"data.holdout.{split}", "a share of at least one group", came)
            draws.update(dict.fromkeys(members, split))
            order = [group for group in order if group not in draws]
    return tuple(
        draws.get(group, split) if split == "pool" else split for group, split in zip(groups, splits, strict=True)
    )


def _check(holdout: Mapping[str, float], source_splits: Sequence[Split | None]) -> None:
    for name, share in holdout.items():
        if name not in ("val", "test"):
            raise UnknownName("data.holdout", name, ("val", "test"))
        if not 0.0 <= share < 1.0:
            raise InputError(f"data.holdout.{name}", "a share from 0 to below 1", str(share))
        if share and name in source_splits:
            raise InputError(
                f"data.holdout.{name}", "no share: the data has this split", f"{source_splits.count(name)} samples"
            )
    if sum(holdout.values()) >= 1.0:
        raise InputError("data.holdout", "shares that leave a pool", f"a sum of {sum(holdout.values()):g}")


def _every_nth(order: Sequence[str], count: int) -> list[str]:
    """`count` entries at equal steps along the list: sorted by class, each class gives its share within one."""
    steps = (np.arange(count) + 0.5) * len(order) / max(count, 1)
    return [order[int(i)] for i in steps]


def _groups_until(order: Sequence[str], sizes: Mapping[str, int], target: float) -> list[str]:
    """Groups from `order`, each one that brings the number of samples nearer to the target."""
    members: list[str] = []
    total = 0
    for group in order:
        if abs(total + sizes[group] - target) < abs(total - target):
            members.append(group)
            total += sizes[group]
    return members
