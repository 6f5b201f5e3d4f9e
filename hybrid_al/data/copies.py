"""Copies, samples of the same content: drawn into one split, and said, above all where their answers differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..core.manifest import Manifest, Split
from ..core.types import IntArray
from .base import Dataset

NAMED = 3  # pairs that a remark names


def joined_groups(groups: Sequence[str], digests: Sequence[str], splits: Sequence[Split | None]) -> list[str]:
    """A name for each sample's group (N,), one name for groups that share a content.

    Without a digest a sample shares nothing. Groups with a sample whose split the data gives keep to themselves.
    """
    given = {group for group, split in zip(groups, splits, strict=True) if split is not None}
    parent = {group: group for group in groups}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = group = parent[parent[group]]
        return group

    first: dict[str, str] = {}
    for group, digest in zip(groups, digests, strict=True):
        if digest and group not in given:
            parent[root(group)] = root(first.setdefault(digest, group))
    return [root(group) for group in groups]


def copy_notes(manifest: Manifest, answers: Sequence[object], words: Callable[[int], str]) -> list[str]:
    """Remarks on copies, none where there are none.

    answers  of the data about each sample (N,), None where unknown
    words    position -> its answer in words
    """
    original: dict[str, int] = {}
    labeled: dict[str, int] = {}
    copies, pairs = 0, list[str]()
    for i, digest in enumerate(manifest.digests):
        if not digest:
            continue
        copies += original.setdefault(digest, i) != i
        if answers[i] is not None and answers[j := labeled.setdefault(digest, i)] != answers[i]:
            pairs.append(f"{manifest.ids[j]} ({words(j)}) = {manifest.ids[i]} ({words(i)})")
    notes = []
    if copies:
        left_out = int((manifest.originals != range(len(manifest))).sum())
        notes.append(f"{copies} images are copies of others, {left_out} in the same split: nobody is asked twice")
    if pairs:
        more = f", and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
        notes.append(f"{len(pairs)} copies have another answer than the first: {'; '.join(pairs[:NAMED])}{more}")
    return notes


def near_notes(dataset: Dataset, pairs: IntArray) -> tuple[str, list[str]]:
    """Remarks on pairs (M, 2) of near-identical images: on those in two splits, "" where there are none, and on others.

    Masks are not compared: those of a picture that was scaled anew are never the same.
    """
    manifest, (left, right) = dataset.manifest, pairs.T
    labels = dataset.truth[:, None] if dataset.labels is None else dataset.labels
    one, other = labels[left], labels[right]
    splits = np.asarray(manifest.splits)
    across = splits[left] != splits[right]
    kinds = {
        "in two splits": across,
        "of two groups in one split": ~across,
        "under two labels": ((one != other) & (one >= 0) & (other >= 0)).any(axis=1),
    }
    texts = []
    for kind, chosen in kinds.items():
        named = [" = ".join(manifest.ids[i] for i in pair) for pair in pairs[chosen][:1].tolist()]
        texts.append(f"{chosen.sum()} pairs of near-identical images {kind}, the first is {named[0]}" if named else "")
    return texts[0], [text for text in texts[1:] if text]
