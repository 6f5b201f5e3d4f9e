"""A pool that grows (`data.grow: true`): new samples stand behind those that a run began with, whose rows stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ..core.manifest import Manifest, first_of
from ..core.types import IntArray, LabelMap
from ..errors import InputError
from .base import Dataset, Masks, Pixels

T = TypeVar("T")
GONE = -1


def grow(dataset: Dataset, began: Manifest, asked: set[int], *, drawn: bool) -> Dataset:
    """The dataset with the rows of `began` first, as they were, and new samples of the pool behind them.

    Val and test stay as they were: left out are new samples that the data puts there, that belong to their groups, or
    that have their content. A row whose file vanished or changed stays, and is no part of the pool any more.

    asked  positions in `began` that were asked about or labeled
    drawn  whether the splits of the data are drawn (`data.holdout`): then what is new goes to the pool

    InputError: a file of an asked sample, or of one of val or test, vanished or changed.
    """
    now = dataset.manifest
    rows = [_same(now, began, i) for i in range(len(began))]
    lost = [i for i, row in enumerate(rows) if row == GONE]
    _refuse(began, now, [i for i in lost if i in asked or began.splits[i] != "pool"])
    new, notes = _new(now, began, drawn)
    order = np.asarray([*rows, *new], dtype=np.int64)

    def grown(now: Manifest, began: Manifest, gone: Sequence[int]) -> Manifest:
        def column(before: tuple[T, ...], after: tuple[T, ...]) -> tuple[T, ...]:
            return (*before, *(after[i] for i in new))

        return Manifest(
            column(began.ids, now.ids),
            column(began.paths, now.paths),
            column(began.groups, now.groups),
            (*began.splits, *("pool",) * len(new)),  # type: ignore[arg-type]
            column(began.digests, now.digests),
            column(began.z, now.z),
            now.alias,
            frozenset(gone),
            column(began.domains, now.domains) if now.domains else (),
        )

    if lost:
        notes.append(f"{_count(lost, began)} vanished or changed since the run began: left out of the pool")
    if new:
        notes.append(
            f"{len(new)} new images behind the {len(began)} of the run ({first_of([now.ids[i] for i in new])})"
        )
    return replace(
        dataset,
        manifest=grown(now, began, lost),
        names=None if dataset.names is None else _names(dataset.names, order, began),
        truth=np.where(order < 0, -1, dataset.truth[order]),
        read=_Rows(dataset.read, order, dataset.channels),
        locator=None if dataset.locator is None else _Locators(dataset.locator, order),
        scaled=lambda index: dataset.scaled(int(order[index])) if order[index] >= 0 else "",
        masks=None if dataset.masks is None else _masks(dataset.masks, order),
        series=tuple(dataset.series[row] if row >= 0 else "" for row in order.tolist()) if dataset.series else (),
        labels=None if dataset.labels is None else np.where(order[:, None] < 0, -1, dataset.labels[order]),
        notes=(*dataset.notes, *notes),
    )


def _same(now: Manifest, began: Manifest, i: int) -> int:
    """Where a row is now; `GONE` where its file vanished or changed."""
    row = now.position.get(began.ids[i], GONE)
    same = row != GONE and _content(now, row) == _content(began, i)
    return row if same else GONE


def _content(manifest: Manifest, i: int) -> tuple[object, ...]:
    columns = (manifest.digests, manifest.z, manifest.groups, manifest.paths, manifest.domains)
    return tuple(column[i] for column in columns if column)


def _refuse(began: Manifest, now: Manifest, lost: Sequence[int]) -> None:
    if lost:
        vanished = [i for i in lost if began.ids[i] not in now.position]
        changed = [i for i in lost if began.ids[i] in now.position]
        parts = ((vanished, "gone"), (changed, "with other content, group or path"))
        came = ", ".join(f"{_count(rows, began)} {what}" for rows, what in parts if rows)
        raise InputError("data", "the images that were asked about or labeled, and those of val and test", came)


def _new(now: Manifest, began: Manifest, drawn: bool) -> tuple[list[int], list[str]]:
    """Samples that are new to the pool, and a remark on others."""
    held = {g for g, split in zip(began.groups, began.splits, strict=True) if split != "pool"}
    contents = {d for d, split in zip(began.digests, began.splits, strict=True) if split != "pool" and d}
    others = [i for i, sample in enumerate(now.ids) if sample not in began.position]
    beside = {
        i
        for i in others
        if now.groups[i] in held or now.digests[i] in contents or (not drawn and now.splits[i] != "pool")
    }
    note = f"{_count(sorted(beside), now)} belong to val or test, which stay as they were: left out"
    return [i for i in others if i not in beside], [note] if beside else []


def _count(rows: Sequence[int], manifest: Manifest) -> str:
    return f"{len(rows)} image{'s' * (len(rows) != 1)} ({first_of([manifest.ids[i] for i in rows])})"


def _names(names: Manifest, order: IntArray, began: Manifest) -> Manifest:
    """Plain names in the order of the rows; those of rows that are gone are not known any more."""

    def column(plain: Sequence[str], hidden: Sequence[str]) -> tuple[str, ...]:
        return tuple(plain[row] if row >= 0 else hidden[i] for i, row in enumerate(order.tolist()))

    ids, paths, groups = (
        column(names.ids, began.ids),
        column(names.paths, began.paths),
        column(names.groups, began.groups),
    )
    splits = (*began.splits, *("pool",) * (len(order) - len(began)))
    digests = tuple(names.digests[row] if row >= 0 else began.digests[i] for i, row in enumerate(order.tolist()))
    z = tuple(names.z[row] if row >= 0 else began.z[i] for i, row in enumerate(order.tolist()))
    return Manifest(ids, paths, groups, splits, digests, z)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Rows:
    """Reads by the rows of a run; what is gone is black, and nobody looks at it."""

    read: Callable[[int], Pixels]
    order: IntArray
    channels: int

    def __call__(self, index: int) -> Pixels:
        row = int(self.order[index])
        return self.read(row) if row >= 0 else np.zeros((8, 8, self.channels), dtype=np.uint8)


@dataclass(frozen=True)
class _Locators:
    locator: Callable[[int], Pixels | None]
    order: IntArray

    def __call__(self, index: int) -> Pixels | None:
        row = int(self.order[index])
        return self.locator(row) if row >= 0 else None


@dataclass(frozen=True)
class _MaskRows:
    read: Callable[[int], LabelMap]
    order: IntArray

    def __call__(self, index: int) -> LabelMap:
        return self.read(int(self.order[index]))


def _masks(masks: Masks, order: IntArray) -> Masks:
    there = order >= 0
    return Masks(
        labeled=masks.labeled[order] & there,
        read=_MaskRows(masks.read, order),
        keys=tuple(masks.keys[row] if row >= 0 else "" for row in order.tolist()),
        sizes=masks.sizes[order],
        spacing=masks.spacing[order],
        values=masks.values,
    )
