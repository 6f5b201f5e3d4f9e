"""Rows by what they were made from, in shards on disk: new images are computed alone, damage is found and redone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from ...core.rundir import replacing, seal, sealed
from ...core.types import IntArray

SHARD = 8192  # rows; what is lost at most when a process dies

Rows = npt.NDArray[Any]
Compute = Callable[[IntArray], Rows]
"""Positions (B,) -> their rows (B, ...)."""


@dataclass
class RowCache:
    """Rows of one kind in a folder, found by a key each (the digest of the sample's content).

    The folder is named by the caller after all else that decides a row (encoder, transform, reader). A shard is a
    `.npy` with a JSON beside it, which is written last and holds the keys and the hash of the rows. A shard that is
    cut short or damaged is taken away, and its path noted in `damaged`. Several processes may share a folder.
    """

    folder: Path
    damaged: list[Path] = field(default_factory=list)

    def fill(self, keys: Sequence[str], compute: Compute, out: Callable[[tuple[int, ...]], Rows]) -> int:
        """Write the row of every key into an array (N, ...), computing those that no shard has; how many those were.

        `compute` gets positions in `keys`, at most `SHARD` at a time; the same key is computed once. `out` makes the
        array once the shape (N, ...) is known; no more than a shard of rows is held in memory.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "lock"):
            known = self._index()
            missing = _first_of_each(keys, known)
            for start in range(0, len(missing), SHARD):
                block = missing[start : start + SHARD]
                self._write([keys[i] for i in block.tolist()], compute(block))
            if len(missing):
                known = self._index()
        self._copy(keys, known, out)
        return len(missing)

    def _index(self) -> dict[str, tuple[Path, int]]:
        """Key -> (shard, row) of every whole shard."""
        found: dict[str, tuple[Path, int]] = {}
        for note in sorted(self.folder.glob("*.json")):
            shard = note.with_suffix(".npy")
            facts = sealed(shard)
            if facts is None:
                self.damaged.append(shard)
                note.unlink()
                shard.unlink(missing_ok=True)
                continue
            found |= {key: (shard, row) for row, key in enumerate(facts["keys"])}
        return found

    def _write(self, keys: list[str], rows: Rows) -> None:
        shard = self.folder / f"{hashlib.sha256(chr(10).join(keys).encode()).hexdigest()[:24]}.npy"
        with replacing(shard) as file:
            np.save(file, np.ascontiguousarray(rows), allow_pickle=False)
        seal(shard, keys=keys)

    def _copy(
        self, keys: Sequence[str], known: dict[str, tuple[Path, int]], out: Callable[[tuple[int, ...]], Rows]
    ) -> None:
        array: Rows | None = None
        for shard, where, rows in _by_shard(keys, known):
            stored = np.load(shard, mmap_mode="r", allow_pickle=False)
            if array is None:
                array = out((len(keys), *stored.shape[1:]))
            array[where] = stored[rows]
        if isinstance(array, np.memmap):
            array.flush()


def _first_of_each(keys: Sequence[str], known: dict[str, tuple[Path, int]]) -> IntArray:
    """Positions of the keys that nothing has, each key once."""
    first: dict[str, int] = {}
    for i, key in enumerate(keys):
        if key not in known:
            first.setdefault(key, i)
    return np.asarray(list(first.values()), dtype=np.int64)


def _by_shard(keys: Sequence[str], known: dict[str, tuple[Path, int]]) -> Iterator[tuple[Path, list[int], list[int]]]:
    """(shard, positions in `keys`, rows in the shard), shard by shard."""
    groups: dict[Path, tuple[list[int], list[int]]] = {}
    for i, key in enumerate(keys):
        shard, row = known[key]
        where, rows = groups.setdefault(shard, ([], []))
        where.append(i)
        rows.append(row)
    for shard, (where, rows) in groups.items():
        yield shard, where, rows
