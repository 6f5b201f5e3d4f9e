"""Bags: samples that have one label together, such as the tiles of a slide or the slices of a volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..core.embeddings import Embeddings
from ..core.manifest import Manifest, Split
from ..core.types import FloatArray, IntArray
from ..errors import InputError, UnknownName
from .base import Dataset
from .paths import grouping

BLOCK = 8192  # rows of embeddings at a time: 16 MB of 512 numbers
GROUP, COLUMN, PATTERN, LABEL = "group", "column", "pattern", "label"
ONE, HIGHEST = "one", "highest"
"""What the label of a bag is: the one that its rows have, or the largest number of a class among them."""

BagSpec = str | Mapping[str, str]


@dataclass(frozen=True)
class Bags:
    """The bags of a manifest. A bag stands at its first row: labels, queries and predictions of bags have its position.

    of_row  (N,) the number of each row's bag, in order of first appearance
    """

    of_row: IntArray

    @classmethod
    def of(cls, dataset: Dataset) -> Bags:
        """The bags of a dataset that has some."""
        numbers: dict[str, int] = {}
        return cls(np.asarray([numbers.setdefault(name, len(numbers)) for name in dataset.bags], dtype=np.int64))

    @cached_property
    def first(self) -> IntArray:
        """The first row (B,) of each bag."""
        rows: IntArray = np.unique(self.of_row, return_index=True)[1]
        return rows

    @cached_property
    def sizes(self) -> IntArray:
        """Rows of each bag (B,)."""
        return np.bincount(self.of_row)

    def rows(self, sample: int) -> IntArray:
        """All rows (K,) of the bag in which a sample is, ascending."""
        order, ends = self._sorted
        bag = int(self.of_row[sample])
        return order[ends[bag] - self.sizes[bag] : ends[bag]]

    @cached_property
    def _sorted(self) -> tuple[IntArray, IntArray]:
        return np.argsort(self.of_row, kind="stable"), np.cumsum(self.sizes)

    def split(self, manifest: Manifest, split: Split) -> IntArray:
        """The first rows of the bags of a split (K,), ascending; copies of images are rows like others."""
        in_split = np.asarray([manifest.splits[i] == split for i in self.first.tolist()])
        return np.sort(self.first[in_split])

    def pooled(self, embeddings: Embeddings) -> Embeddings:
        """The mean embedding of each bag at its first row; other rows are 0, and take no memory until they are read."""
        means = np.zeros(embeddings.vectors.shape, dtype=np.float32)
        for sample in self.first.tolist():
            total, rows = 0.0, self.rows(sample)
            for block in _blocks(rows):
                total = total + np.asarray(embeddings.vectors[block], dtype=np.float64).sum(axis=0)
            means[sample] = total / len(rows)
        return replace(embeddings, vectors=means)


def _blocks(rows: IntArray) -> Iterator[IntArray]:
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]


def column_of(spec: BagSpec | None, source: str) -> str:
    """The column of the table that names the bags; "" where something else does. InputError for an unknown key."""
    if spec is None or spec == GROUP:
        return ""
    if isinstance(spec, str):
        return spec if source == "csv" else ""
    for key in spec:
        if key not in (COLUMN, PATTERN, LABEL):
            raise UnknownName("data.bag", key, (COLUMN, PATTERN, LABEL))
    if COLUMN in spec and source != "csv":
        raise InputError("data.bag.column", "a pattern: only a table (source: csv) has columns", spec[COLUMN])
    if COLUMN in spec and PATTERN in spec:
        raise InputError("data.bag", "a column or a pattern", "both")
    return spec.get(COLUMN, "")


def with_bags(dataset: Dataset, spec: BagSpec | None) -> Dataset:
    """The dataset with the bag of every row, and labels at the first rows of bags alone.

    spec  `group`; a column, whose values the dataset has; a pattern of ids; or {column or pattern: ..., label: ...}

    InputError: a row without a bag, a bag in several splits, labels that contradict each other.
    """
    if dataset.masks is not None or dataset.labels is not None:
        what = "masks" if dataset.masks is not None else "several labels a sample"
        raise InputError("data.bag", "data in which a sample has one class", what)
    manifest = dataset.manifest
    names = _names(dataset, spec)
    for sample, name in zip(manifest.ids, names, strict=True):
        if not name:
            raise InputError(f"data.bag: {sample}", "the name of its bag", "nothing")
    split_of: dict[str, tuple[str, str]] = {}
    for name, split, sample in zip(names, manifest.splits, manifest.ids, strict=True):
        split_before, first = split_of.setdefault(name, (split, sample))
        if split_before != split:
            expected = f"one split, as of {first} ({split_before}): bags are groups at least (data.group)"
            raise InputError(f"data.bag: bag {name!r}", expected, f"{sample} in {split}")
    dataset = replace(dataset, bags=names)
    rule = ONE if spec is None or isinstance(spec, str) else spec.get(LABEL, ONE)
    if rule not in (ONE, HIGHEST):
        raise UnknownName("data.bag.label", rule, (ONE, HIGHEST))
    return replace(dataset, truth=_truth(dataset, rule))


def _names(dataset: Dataset, spec: BagSpec | None) -> tuple[str, ...]:
    """The bag of each row: what a pattern says, then what the data says, then its group."""
    manifest = dataset.manifest
    if spec == GROUP:
        return manifest.groups
    pattern = spec.get(PATTERN) if isinstance(spec, Mapping) else None if dataset.bags else spec
    if pattern is None:
        return dataset.bags or manifest.groups
    find: Callable[[str, str], str] = grouping(pattern, "sample")
    return tuple(find(f"data.bag: {sample}", sample) for sample in manifest.ids)


def _truth(dataset: Dataset, rule: str) -> IntArray:
    """The label of each bag (N,) at its first row, -1 elsewhere and where no row has a label."""
    bags, truth = Bags.of(dataset), np.full_like(dataset.truth, -1)
    for sample in bags.first.tolist():
        rows = bags.rows(sample)
        labels = dataset.truth[rows]
        labeled = np.flatnonzero(labels >= 0)
        if not len(labeled):
            continue
        other = np.flatnonzero(labels[labeled] != labels[labeled[0]])
        if rule == ONE and len(other):
            a, b = labeled[0], labeled[other[0]]
            ids, words = dataset.manifest.ids, [dataset.classes[int(labels[k])] for k in (a, b)]
            expected = f"one label, as {words[0]} of {ids[rows[a]]} (data.bag.label: {HIGHEST} takes the last class)"
            raise InputError(f"data.bag: bag {dataset.bags[sample]!r}", expected, f"{words[1]} of {ids[rows[b]]}")
        truth[sample] = labels.max()
    return truth


def instance_rows(bags: Bags, sample: int, most: int, rng: np.random.Generator) -> IntArray:
    """At most `most` rows of a bag, drawn without replacement, in random order."""
    rows = bags.rows(sample)
    return rows[rng.choice(len(rows), min(most, len(rows)), replace=False)]


def block_means(vectors_ND: FloatArray, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation (D,) of some rows, a block of them at a time."""
    total, squares = np.zeros(vectors_ND.shape[1]), np.zeros(vectors_ND.shape[1])
    for block in _blocks(rows):
        values = np.asarray(vectors_ND[block], dtype=np.float64)
        total += values.sum(axis=0)
        squares += np.square(values).sum(axis=0)
    mean = total / len(rows)
    return mean, np.sqrt(np.maximum(squares / len(rows) - mean**2, 0))
