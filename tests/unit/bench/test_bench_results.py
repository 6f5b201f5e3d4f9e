"""The long CSV: what is cut off does not count, the same cells are the same bytes, curves are paired."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybrid_al.bench.results import COLUMNS, END, FULL, Arm, Results, Row, append, read, write
from hybrid_al.errors import InputError

A, B = Arm("random", "supervised", "frozen"), Arm("a+b", "supervised", "frozen")


def cell(start: float, *, labels: tuple[int, ...] = (10, 20)) -> tuple[Row, ...]:
    rows = [Row(r, n, "test/auroc", round(start + 0.1 * r, 3)) for r, n in enumerate(labels)]
    return (*rows, Row(len(labels) - 1, labels[-1], END, 1.5))


RESULTS = Results({(A, 0): cell(0.5), (A, 1): cell(0.6), (B, 1): cell(0.7), (B, 0): cell(0.55)})


def test_round_trip_in_the_order_of_the_grid(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    order = {key: i for i, key in enumerate([(A, 0), (B, 0), (A, 1), (B, 1)])}
    write(path, RESULTS, order)
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)
    results = read(path)
    assert results.cells == RESULTS.cells
    assert list(results.cells) == list(order)
    before = path.read_bytes()
    write(path, results, order)
    assert path.read_bytes() == before


def test_cells_added_in_any_order_end_in_the_same_bytes(tmp_path: Path) -> None:
    order = {key: i for i, key in enumerate([(A, 0), (B, 0), (A, 1), (B, 1)])}
    texts = set()
    for turn in (list(RESULTS.cells), list(reversed(list(RESULTS.cells)))):
        path = tmp_path / "x.csv"
        write(path, Results(), order)
        for key in turn:
            append(path, key, RESULTS.cells[key])
        write(path, read(path), order)
        texts.add(path.read_bytes())
    assert len(texts) == 1


def test_wherever_the_file_is_cut_only_whole_cells_count(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write(path, RESULTS, {})
    whole = path.read_bytes()
    header = len(whole.splitlines()[0]) + 1
    counts = set()
    for length in range(header, len(whole) + 1):
        path.write_bytes(whole[:length])
        results = read(path).cells
        counts.add(len(results))
        assert all(RESULTS.cells[key] == rows for key, rows in results.items())
    assert counts == {0, 1, 2, 3, 4}


def test_no_file_is_no_cells(tmp_path: Path) -> None:
    assert read(tmp_path / "none.csv").cells == {}


@pytest.mark.parametrize("text", ["a,b\n", f"{','.join(COLUMNS)}\nrandom,supervised,frozen,x,0,10,m,0.5\n"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"x\.csv"):
        read(path)


def test_curves_are_paired_by_seed() -> None:
    results = Results({**RESULTS.cells, (A, 2): cell(0.1)})
    curves = results.curves("test/auroc")
    assert curves.arms == (A, B)
    assert curves.seeds == (0, 1)
    assert curves.labels.tolist() == [10, 20]
    np.testing.assert_allclose(curves.values, [[[0.5, 0.6], [0.6, 0.7]], [[0.55, 0.65], [0.7, 0.8]]])
    np.testing.assert_allclose(curves.areas(), [[0.55, 0.65], [0.6, 0.75]])
    np.testing.assert_allclose(curves.of(B), curves.values[1])


def test_full_supervision_is_no_arm() -> None:
    full = Arm(FULL, "supervised", "frozen")
    results = Results({**RESULTS.cells, (full, 0): cell(0.9, labels=(500,))})
    assert results.arms == (A, B)
    assert results.full("test/auroc", "supervised", "frozen") == {0: 0.9}
    assert results.full("test/auroc", "fixmatch", "frozen") == {}


def test_what_cannot_be_paired_is_an_error() -> None:
    with pytest.raises(InputError, match="seed"):
        Results({(A, 0): cell(0.5), (B, 1): cell(0.5)}).curves("test/auroc")
    with pytest.raises(InputError, match="metric"):
        RESULTS.curves("test/dice")
    with pytest.raises(InputError, match="labels"):
        Results({(A, 0): cell(0.5), (B, 0): cell(0.5, labels=(10, 30))}).curves("test/auroc")
