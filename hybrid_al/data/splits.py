"""Give a split to the samples that have none: by group, seeded, and by class where groups allow it."""

from __future__ import annotations

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
    "pool": "pool",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""How people call the splits, in lower case."""


def read_split(where: object, text: str) -> Split | None:
    """The split that a text means; None where it is empty, UnknownName where it means none."""
    name = text.strip().lower()
    if not name:
        return None
    if name not in NAMES:
        raise UnknownName(where, text, NAMES)
    return NAMES[name]


def assign(
    groups: Sequence[str],
    given: Sequence[Split | None],
    holdout: Mapping[str, float],
    *,
    seed: int,
    labels: IntArray | None = None,
) -> tuple[Split, ...]:
    """The split of every sample (N,), no group in two of them unless it was given so.

    given    the splits that the data came with; None where it says nothing. A given val or test is kept as it is.
    holdout  {val: f, test: f}: shares to draw from all samples that are in neither val nor test; a split that the data
             has already cannot be drawn as well. What is not drawn is the pool.
    labels   class numbers (N,), -1 unknown: where every group is one sample, each class gives the same share, within
             one sample. Where groups are larger, whole groups are drawn at random until the share is met.

    The draw hangs on the seed and on the names of the groups, not on their order in the data.
    """
    _check(holdout, given)
    placed = {group: split for group, split in zip(groups, given, strict=True) if split is not None}
    splits = [split or placed.get(group, "pool") for group, split in zip(groups, given, strict=True)]
    sizes = Counter(group for group, split in zip(groups, splits, strict=True) if split == "pool")
    rng = derive(seed, "split")
    order = [str(group) for group in rng.permutation(sorted(sizes))]
    by_class = labels is not None and all(size == 1 for size in sizes.values())
    if by_class and labels is not None:
        label_of = dict(zip(groups, labels.tolist(), strict=True))
        order.sort(key=lambda group: label_of[group])
    drawn: dict[str, Split] = {}
    wanted: tuple[Split, ...] = ("test", "val")
    for split in wanted:
        target = holdout.get(split, 0.0) * sizes.total()
        if target:
            chosen = _every_nth(order, round(target)) if by_class else _until(order, sizes, target)
            if not chosen:
                raise InputError(f"data.holdout.{split}", "a share of at least one group", f"{target:.1f} samples")
            drawn.update(dict.fromkeys(chosen, split))
            order = [group for group in order if group not in drawn]
    return tuple(
        drawn.get(group, split) if split == "pool" else split for group, split in zip(groups, splits, strict=True)
    )


def _check(holdout: Mapping[str, float], given: Sequence[Split | None]) -> None:
    for name, share in holdout.items():
        if name not in ("val", "test"):
            raise UnknownName("data.holdout", name, ("val", "test"))
        if not 0.0 <= share < 1.0:
            raise InputError(f"data.holdout.{name}", "a share from 0 to below 1", str(share))
        if share and name in given:
            raise InputError(
                f"data.holdout.{name}", "no share: the data has this split", f"{given.count(name)} samples"
            )
    if sum(holdout.values()) >= 1.0:
        raise InputError("data.holdout", "shares that leave a pool", f"a sum of {sum(holdout.values()):g}")


def _every_nth(order: Sequence[str], count: int) -> list[str]:
    """`count` entries at equal steps along the list: sorted by class, each class gives its share within one."""
    steps = (np.arange(count) + 0.5) * len(order) / max(count, 1)
    return [order[int(i)] for i in steps]


def _until(order: Sequence[str], sizes: Mapping[str, int], target: float) -> list[str]:
    """Groups in the order given, each taken if it brings the number of samples nearer to the target."""
    chosen: list[str] = []
    total = 0
    for group in order:
        if abs(total + sizes[group] - target) < abs(total - target):
            chosen.append(group)
            total += sizes[group]
    return chosen
