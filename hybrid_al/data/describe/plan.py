"""What fits the size of the data: shares to hold out, and budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.manifest import SPLITS, Split
from ...errors import InputError
from ..splits import assign

SHARES: dict[str, float] = {"val": 0.1, "test": 0.2}
# where 0.2 is one class alone
LARGER: tuple[Mapping[str, float], ...] = ({"test": 0.25}, {"test": 0.3}, {"test": 0.4}, {"test": 0.5})
MOST_LABELS = {"segmentation": 10}  # of a round, where a label is dear
FIRST = 20


@dataclass(frozen=True)
class Rows:
    """The samples that a recipe would have: group, split (None: to be drawn), class (-1: none), and if it has labels.

    planes  slices a row, where rows are volumes
    """

    groups: Sequence[str]
    splits: Sequence[Split | None]
    labels: Sequence[int]
    answered: Sequence[bool]
    planes: float = 1.0


@dataclass(frozen=True)
class Plan:
    """Shares to hold out, samples in each split, answered samples of the pool, and why shares are missing."""

    holdout: Mapping[str, float]
    counts: Mapping[str, int]
    pool: int
    why: str = ""


def make_plan(rows: Rows) -> Plan:
    """The first shares to hold out that leave two classes in each split; none without labels."""
    here = {split for split in rows.splits if split}
    missing = [split for split in SHARES if split not in here]
    if here and "pool" not in here and None not in rows.splits:
        raise InputError("splits", "a train split, whose images are the pool", ", ".join(sorted(here)) + " alone")
    wishes: list[Mapping[str, float]] = []
    if any(rows.answered):
        wishes = [{split: SHARES[split] for split in missing}, *([{"test": 0.2}, *LARGER] if "test" in missing else [])]
    why = "too few images or groups for it" if wishes else "without labels there is no measure"
    for shares in wishes:
        if plan := _drawn(rows, shares):
            return plan
    plan = _drawn(rows, {}, f"no {' and no '.join(missing)} split: {why}" if missing else "")
    assert plan is not None  # nothing is drawn
    return plan


def budgets(pool: int, task: str) -> list[int]:
    """Labels to buy in each round, half of the pool's answered images at most."""
    unit = min(MOST_LABELS.get(task, FIRST), pool // 10)
    if unit >= 2:
        return [unit, unit, unit, 2 * unit]
    step = max(1, pool // 4)
    return [step, step] if pool >= 4 else [step]


def _drawn(rows: Rows, shares: Mapping[str, float], why: str = "") -> Plan | None:
    """The plan of some shares; None where they leave a split without a group, or with less than two classes."""
    labels, answered = np.asarray(rows.labels, dtype=np.int64), np.asarray(rows.answered)
    try:
        splits = np.asarray(assign(rows.groups, rows.splits, shares, seed=0, labels=labels))
    except InputError:
        return None
    least = min(2, len(np.unique(labels[answered])))
    if shares and any(len(np.unique(labels[answered & (splits == s)])) < least for s in ("pool", *shares)):
        return None
    counts: dict[str, int] = {
        split: round(int((splits == split).sum()) * rows.planes) for split in SPLITS if split in splits
    }
    pool = int((answered & (splits == "pool")).sum()) or int((splits == "pool").sum())
    return Plan(shares, counts, round(pool * rows.planes), why)
