"""The frozen list of samples: one row per sample, one index space for the whole toolkit."""

from __future__ import annotations

import csv
import hashlib
import io
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import eq
from typing import Any, Literal

import numpy as np

from ..errors import InputError
from .types import BoolArray, IntArray

Split = Literal["pool", "val", "test"]
SPLITS: tuple[Split, ...] = ("pool", "val", "test")
COLUMNS = ("id", "path", "group", "split", "z", "digest")
DOMAIN = "domain"
"""The column behind them, where samples have a domain."""


LISTED = 3
PART = 1_000_000  # characters that are read at a time


def first_of(ids: Sequence[str]) -> str:
    """The first of some ids, in words."""
    return ", ".join([*ids[:LISTED], *(["..."] if len(ids) > LISTED else [])])


@dataclass(frozen=True)
class Manifest:
    """Columns of equal length, one entry per sample; a sample is its position.

    ids      unique names, as people and CSV files see them
    paths    where the pixels are: a path relative to the data root, `key#row` inside an array file,
             or `file#axis` where slices of a volume are of several axes
    groups   patient, volume or slide; a group never straddles splits
    splits   pool, val or test ("train" is read as pool by the sources)
    digests  hash of the sample's content: shows that data changed under the same name
    z        slice number inside the file, -1 for a whole image
    domains  site, device or stain of each sample, where the data says it (`data.domain`); empty where it does not
    gone     positions of pool samples whose files vanished or changed since (`data.growth`): no part of the pool
    alias    plain id -> the id here, where ids are hashed (`core.hidden`)
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[Split, ...]
    digests: tuple[str, ...]
    z: tuple[int, ...] = ()
    alias: Callable[[str], str] | None = field(default=None, compare=False, repr=False)
    gone: frozenset[int] = field(default=frozenset(), compare=False, repr=False)
    domains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the invariants of a manifest."""
        n = len(self.ids)
        if not self.z:
            object.__setattr__(self, "z", (-1,) * n)
        for name in ("paths", "groups", "splits", "digests", "z", *(["domains"] if self.domains else [])):
            if len(getattr(self, name)) != n:
                raise InputError(f"manifest.{name}", f"{n} entries", str(len(getattr(self, name))))
        if len(self._position_of_normal) != n:
            counts = Counter(unicodedata.normalize("NFC", sample) for sample in self.ids)
            duplicates = [i for i, count in counts.items() if count > 1]
            raise InputError(
                "manifest.ids", "unique ids", f"{len(duplicates)} repeated, the first is {duplicates[0]!r}"
            )
        for name in ("ids", "paths", "groups", "domains"):
            texts = (text for text in getattr(self, name) if not text.isprintable())
            unprintable = [text for text in texts if any(ord(c) < 32 for c in text)]
            if unprintable:
                raise InputError(f"manifest.{name}", "no control characters", repr(unprintable[0]))
        unknown = set(self.splits) - set(SPLITS)
        if unknown:
            raise InputError("manifest.splits", "pool, val or test", repr(sorted(unknown)[0]))
        if "pool" not in self.splits:
            raise InputError("manifest", "at least one pool sample", f"{n} samples, none in the pool")
        self._check_groups()

    def _check_groups(self) -> None:
        split_of = dict(zip(self.groups, self.splits, strict=True))
        if all(map(eq, map(split_of.__getitem__, self.groups), self.splits)):
            return
        split_of = {}
        for sample, group, split in zip(self.ids, self.groups, self.splits, strict=True):
            if split_of.setdefault(group, split) != split:
                raise InputError(
                    f"manifest.groups: group {group!r}",
                    f"one split ({split_of[group]})",
                    f"sample {sample!r} in {split}",
                )

    def __len__(self) -> int:
        """Number of samples, all splits."""
        return len(self.ids)

    def indices(self, split: Split) -> IntArray:
        """Positions of a split's samples, ascending (K,); empty where the split is missing.

        The pool has each content once: nobody is asked about a copy, which its original stands for.
        """
        rows = np.flatnonzero(np.asarray(self.splits) == split).astype(np.int64)
        if split != "pool":
            return rows
        return np.setdiff1d(rows[self.originals[rows] == rows], np.asarray(sorted(self.gone), dtype=np.int64))

    @cached_property
    def originals(self) -> IntArray:
        """The first sample of the same split and content (N,): the sample itself where it is no copy."""
        first: dict[tuple[Split, str], int] = {}
        contents = zip(self.splits, self.digests, strict=True)
        rows = [
            first.setdefault(content, i) if content[1] and i not in self.gone else i
            for i, content in enumerate(contents)
        ]
        return np.asarray(rows, dtype=np.int64)

    @cached_property
    def group_codes(self) -> IntArray:
        """Groups as numbers 0..G-1 in order of first appearance (N,)."""
        codes: dict[str, int] = {}
        return np.asarray([codes.setdefault(g, len(codes)) for g in self.groups], dtype=np.int64)

    def of_domains(self, names: Iterable[str]) -> BoolArray:
        """Whether each sample is of one of these domains (N,)."""
        wanted = set(names)
        if not (wanted and self.domains):
            return np.zeros(len(self), dtype=np.bool_)
        return np.fromiter(map(wanted.__contains__, self.domains), dtype=np.bool_, count=len(self))

    @cached_property
    def position(self) -> dict[str, int]:
        """Sample id -> position."""
        return dict(zip(self.ids, range(len(self)), strict=True))

    def find(self, sample: str) -> int | None:
        """Position of an id, in whichever Unicode form its letters are written; None where there is no such sample.

        Where ids are hashed, a plain id is found too.
        """
        index = self._position_of_normal.get(unicodedata.normalize("NFC", sample))
        if index is None and self.alias is not None:
            index = self.position.get(self.alias(sample))
        return index

    @cached_property
    def _position_of_normal(self) -> dict[str, int]:
        if all(map(str.isascii, self.ids)):
            return self.position
        return {unicodedata.normalize("NFC", sample): i for i, sample in enumerate(self.ids)}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all rows; a chain: that of a longer manifest goes on from that of its first rows."""
        return self.fingerprint_of(len(self))

    def fingerprint_of(self, n: int) -> str:
        """Fingerprint of the first n rows."""
        digest = b""
        for row in self._rows(n):
            digest = hashlib.sha256(digest + "\x1f".join(row).encode()).digest()
        return digest.hex()

    def prefix(self, fingerprint: str) -> Manifest | None:
        """The manifest of the first rows that have a fingerprint; None where there are none."""
        digest = b""
        for n, row in enumerate(self._rows(len(self)), start=1):
            digest = hashlib.sha256(digest + "\x1f".join(row).encode()).digest()
            if digest.hex() == fingerprint:
                columns = (self.ids, self.paths, self.groups, self.splits, self.digests, self.z)
                rows = Manifest(*(column[:n] for column in columns))  # type: ignore[arg-type]
                return replace(rows, alias=self.alias, domains=self.domains[:n])
        return None

    def _rows(self, n: int) -> Iterable[tuple[str, ...]]:
        columns = (self.ids, self.paths, self.groups, self.splits, map(str, self.z), self.digests)
        rows = zip(*columns, *([self.domains] if self.domains else []), strict=True)
        return (row for row, _ in zip(rows, range(n), strict=False))

    def differences(self, later: Manifest) -> str:
        """What a later manifest has otherwise: how many samples are new, gone or changed, and which are the first."""
        before, after = (dict(zip(m.ids, m._rows(len(m)), strict=True)) for m in (self, later))
        both = [i for i in self.ids if i in after]
        changes = {
            "new": [i for i in later.ids if i not in before],
            "gone": [i for i in self.ids if i not in after],
        }
        columns = {5: "other content", 2: "another group", 3: "another split", 1: "another path", 6: "another domain"}
        for k, what in columns.items():
            changes[f"with {what}"] = [i for i in both if before[i][k : k + 1] != after[i][k : k + 1]]
        parts = [f"{len(ids)} {what} ({first_of(ids)})" for what, ids in changes.items() if ids]
        return ", ".join(parts) or "the same samples in another order"

    def leaks(self) -> list[tuple[str, str]]:
        """Pairs of sample ids with the same content in different splits (first pair of each content)."""
        by_content: dict[str, dict[Split, str]] = defaultdict(dict)
        for sample, split, digest in zip(self.ids, self.splits, self.digests, strict=True):
            by_content[digest].setdefault(split, sample)
        pairs = (list(ids.values()) for ids in by_content.values() if len(ids) > 1)
        return [(ids[0], ids[1]) for ids in pairs]

    def to_csv(self) -> str:
        """The manifest as CSV text with a header."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow((*COLUMNS, DOMAIN) if self.domains else COLUMNS)
        writer.writerows(self._rows(len(self)))
        return out.getvalue()

    @classmethod
    def from_csv(cls, text: str, fingerprint: str = "") -> Manifest:
        """Read what `to_csv` wrote.

        fingerprint  of a text that is known to be, to the letter, what `to_csv` wrote: then its rows are not checked
                     again, which takes as long as reading them
        """
        header, _, _ = text.partition("\n")
        names = tuple(header.split(","))
        if names not in (COLUMNS, (*COLUMNS, DOMAIN)):
            raise InputError("manifest.csv", f"columns {', '.join(COLUMNS)}", header)
        columns: list[list[Any]] = [[] for _ in (*COLUMNS, DOMAIN)]
        once: dict[str, str] = {}
        number: dict[str, int] = {}
        for part in _parts(text, len(header) + 1):
            cells = _cells(part, len(names), whole=bool(fingerprint))
            ids, paths, groups, splits, z, digests, *domains = (cells[k :: len(names)] for k in range(len(names)))
            number.update((value, int(value)) for value in set(z) - number.keys())
            columns[0] += ids
            columns[1] += ids if ids == paths else paths
            columns[2] += map(once.setdefault, groups, groups)
            columns[3] += map(once.setdefault, splits, splits)
            columns[4] += map(number.__getitem__, z)
            columns[5] += digests
            columns[6] += map(once.setdefault, *domains, *domains) if domains else ()
        made: list[tuple[Any, ...]] = [tuple(column) for column in columns]
        if not fingerprint:
            return cls(made[0], made[1], made[2], made[3], made[5], made[4], domains=made[6])
        fields = ("ids", "paths", "groups", "splits", "z", "digests", "domains")
        manifest = object.__new__(cls)
        manifest.__dict__.update(
            zip(fields, made, strict=True), alias=None, gone=frozenset[int](), fingerprint=fingerprint
        )
        return manifest


def _parts(text: str, begin: int) -> Iterable[str]:
    """Whole lines, some at a time, which bounds the memory of a long manifest."""
    while begin < len(text):
        end = text.find("\n", begin + PART) + 1 or len(text)
        yield text[begin:end]
        begin = end


def _cells(lines: str, count: int, *, whole: bool = False) -> list[str]:
    """The cells of lines, row after row; each row has `count`, as `whole` lines are known to."""
    if '"' in lines or "\r" in lines:
        rows = list(csv.reader(io.StringIO(lines)))
        if any(len(row) != count for row in rows):
            raise ValueError("rows of other lengths")
        return [cell for row in rows for cell in row]
    lines = lines.removesuffix("\n")
    if not whole and any(line.count(",") != count - 1 for line in lines.split("\n")):
        raise ValueError("rows of other lengths")
    return lines.replace("\n", ",").split(",")
