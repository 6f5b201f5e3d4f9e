"""A cache of rows in shards on disk: only rows of new images are computed, damaged shards are computed again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from ...core.files import read_seal, replacement, seal
from ...core.types import IntArray

SHARD = 8192  # rows; at most so many are lost when a process dies

Rows = npt.NDArray[Any]
Compute = Callable[[IntArray], Rows]
"""Positions (B,) -> their rows (B, ...)."""


@dataclass
class RowCache:
    """Rows of one kind in a folder, each under a key, the digest of the sample's content.

    The caller names the folder after all else that a row depends on (encoder, transform, reader). A shard is a `.npy`
    with a JSON beside it, which is written last and holds the keys and the hash of the rows. A shard that is cut short
    or damaged is deleted, and its path is added to `damaged`. Several processes may share a folder.
    """

    folder: Path
    damaged: list[Path] = field(default_factory=list)

    def fill(self, keys: Sequence[str], compute: Compute, out: Callable[[tuple[int, ...]], Rows]) -> int:
        """Write the row of every key into an array (N, ...); returns how many rows had to be computed.

        `compute` gets positions in `keys`, at most `SHARD` at a time; equal keys are computed once. `out` makes the
        array from its shape (N, ...); no more than a shard of rows is in memory.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "lock"):
            places = self._index()
            missing = _first_of_each(keys, places)
            for start in range(0, len(missing), SHARD):
                block = missing[start : start + SHARD]
                self._write([keys[i] for i in block.tolist()], compute(block))
            if len(missing):
                places = self._index()
        self._copy(keys, places, out)
        return len(missing)

    def _index(self) -> dict[str, tuple[Path, int]]:
        """Key -> (shard, row) of every whole shard."""
        places: dict[str, tuple[Path, int]] = {}
        for note in sorted(self.folder.glob("*.json")):
            shard = note.with_suffix(".npy")
            facts = read_seal(shard)
            if facts is None:
                self.damaged.append(shard)
                note.unlink()
                shard.unlink(missing_ok=True)
                continue
            places |= {key: (shard, row) for row, key in enumerate(facts["keys"])}
        return places

    def _write(self, keys: list[str], rows: Rows) -> None:
        shard = self.folder / f"{hashlib.sha256(chr(10).join(keys).encode()).hexdigest()[:24]}.npy"
        with replacement(shard) as file:
            np.save(file, np.ascontiguousarray(rows), allow_pickle=False)
        seal(shard, keys=keys)

    def _copy(
        self, keys: Sequence[str], places: dict[str, tuple[Path, int]], out: Callable[[tuple[int, ...]], Rows]
    ) -> None:
        array: Rows | None = None
        for shard, positions, rows in _by_shard(keys, places):
            shard_rows = np.load(shard, mmap_mode="r", allow_pickle=False)
            if array is None:
                array = out((len(keys), *shard_rows.shape[1:]))
            array[positions] = shard_rows[rows]
        if isinstance(array, np.memmap):
            array.flush()


def _first_of_each(keys: Sequence[str], places: dict[str, tuple[Path, int]]) -> IntArray:
    """Positions of the keys without a row in a shard, each key once."""
    first: dict[str, int] = {}
    for i, key in enumerate(keys):
        if key not in places:
            first.setdefault(key, i)
    return np.asarray(list(first.values()), dtype=np.int64)


def _by_shard(keys: Sequence[str], places: dict[str, tuple[Path, int]]) -> Iterator[tuple[Path, list[int], list[int]]]:
    """(shard, positions in `keys`, rows in the shard), shard by shard."""
    groups: dict[Path, tuple[list[int], list[int]]] = {}
    for i, key in enumerate(keys):
        shard, row = places[key]
        positions, rows = groups.setdefault(shard, ([], []))
        positions.append(i)
        rows.append(row)
    for shard, (positions, rows) in groups.items():
        yield shard, positions, rows
