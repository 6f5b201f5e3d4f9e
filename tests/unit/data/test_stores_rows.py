"""Rows by content: each computed once, damage found, nothing half-written counts, memory stays a shard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.data.stores import rows as cache
from hybrid_al.data.stores.rows import RowCache


class Source:
    """Rows that say which key they are of, and a record of what was asked for."""

    def __init__(self, keys: list[str]) -> None:
        self.keys, self.counts = keys, [0]

    def compute(self, positions: IntArray) -> FloatArray:
        self.counts.append(len(positions))
        return np.asarray([[len(self.keys[i]), int(self.keys[i])] for i in positions.tolist()], dtype=np.float32)

    def fill(self, store: RowCache) -> FloatArray:
        arrays: list[FloatArray] = []

        def out(shape: tuple[int, ...]) -> FloatArray:
            arrays.append(np.full(shape, np.nan, dtype=np.float32))
            return arrays[0]

        count = store.fill(self.keys, self.compute, out)
        assert count == sum(self.counts)
        assert arrays[0].tolist() == [[len(key), int(key)] for key in self.keys]
        return arrays[0]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SHARD", 4)


def keys(*numbers: int) -> list[str]:
    return [str(n) for n in numbers]


def test_each_row_is_computed_once_and_found_in_any_order(tmp_path: Path) -> None:
    first = Source(keys(*range(10)))
    first.fill(RowCache(tmp_path))
    assert first.counts == [0, 4, 4, 2]
    again = Source(keys(9, 3, 3, 100, 0, 100))
    again.fill(RowCache(tmp_path))
    assert again.counts == [0, 1]  # 100, once
    none = Source(keys(100, 5))
    none.fill(RowCache(tmp_path))
    assert sum(none.counts) == 0


@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "note"])
def test_a_damaged_shard_is_noted_and_made_again(tmp_path: Path, harm: str) -> None:
    Source(keys(*range(8))).fill(RowCache(tmp_path))
    shard = sorted(tmp_path.glob("*.npy"))[0]
    data = bytearray(shard.read_bytes())
    if harm == "flip":
        data[-1] ^= 1
        shard.write_bytes(data)
    elif harm == "cut":
        shard.write_bytes(data[:-3])
    elif harm == "gone":
        shard.unlink()
    else:
        shard.with_suffix(".json").write_text("{")
    store, source = RowCache(tmp_path), Source(keys(*range(8)))
    source.fill(store)
    assert store.damaged == [shard]
    assert source.counts == [0, 4]


def test_what_a_dead_process_left_is_not_taken_for_rows(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    source = Source(keys(*range(8)))
    inner = source.compute

    def dies(positions: IntArray) -> FloatArray:
        if len(source.counts) == 2:
            raise Killed
        return inner(positions)

    with pytest.raises(Killed):
        RowCache(tmp_path).fill(source.keys, dies, np.empty)
    whole = sorted(tmp_path.glob("*.json"))[0].with_suffix(".npy")
    (tmp_path / "half.npy").write_bytes(whole.read_bytes()[:20])  # without its JSON it does not exist
    second = Source(keys(*range(8)))
    second.fill(RowCache(tmp_path))
    assert second.counts == [0, 4]
