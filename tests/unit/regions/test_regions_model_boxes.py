"""Parts that follow the model: boxes of each round on disk, their numbers, and the boxes asked about before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from hybrid_al.core.labels import LabelStore
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import IGNORE, Annotation, IntArray, LabelMap, PredictionBatch
from hybrid_al.data.answers import read_answer
from hybrid_al.errors import InputError
from hybrid_al.oracles.simulated import SimulatedRegions
from hybrid_al.regions import model_boxes
from hybrid_al.regions.fixed import Windows
from hybrid_al.regions.model_boxes import ModelBoxes
from hybrid_al.regions.proposals import Ripu

N, SIZE, SIDE, MOST = 4, 10, 4, 3
GRID = 9  # windows of the grid
FRAMES = np.asarray([[0, 0, 10, 10], [2, 0, 8, 10], [0, 0, 10, 10], [0, 3, 10, 7]])
POOL = np.asarray([0, 1, 3])


def parts(run: Path) -> ModelBoxes:
    return ModelBoxes(Ripu(SIDE, MOST), POOL, FRAMES, SIZE, RunDir(run), torch.device("cpu"))


def predict(rows: IntArray) -> Iterator[PredictionBatch]:
    """Noise that hangs on the sample alone, in batches of two."""
    for start in range(0, len(rows), 2):
        block = rows[start : start + 2]
        maps = [np.random.default_rng(int(i)).dirichlet((1, 1), (1, SIZE, SIZE)) for i in block]
        yield PredictionBatch(block, np.moveaxis(np.stack(maps), -1, 2).astype(np.float32))


def annotations_of(round: int, **regions: tuple[int, ...]) -> list[Annotation]:
    return [Annotation(int(i[1:]), "mask", "x", "me", round, region=region) for i, region in regions.items()]


def test_without_a_model_they_are_the_windows_of_the_grid(tmp_path: Path) -> None:
    here = parts(tmp_path)
    here.draw(0, LabelStore(N), predict)
    grid = here.at(0)
    assert grid.parts == grid.count == GRID and grid.first == 0 and not list(tmp_path.iterdir())
    for i in POOL.tolist():
        valid = np.zeros((SIZE, SIZE), dtype=np.bool_)
        top, left, bottom, right = FRAMES[i]
        valid[top:bottom, left:right] = True
        windows = Windows(SIDE).parts(np.zeros((SIZE, SIZE, 1), dtype=np.uint8), valid)
        expected = np.where(valid, windows, IGNORE)
        np.testing.assert_array_equal(grid.maps(np.asarray([i]))[0], expected)
        assert grid.sizes[i].tolist() == [(expected == part).sum() for part in range(GRID)]
    assert not grid.sizes[2].any() and grid.indices.tolist() == np.flatnonzero(grid.sizes).tolist()


def test_boxes_of_a_round_are_drawn_once_around_what_was_asked(tmp_path: Path) -> None:
    here, labels = parts(tmp_path), LabelStore(N).add(annotations_of(0, s0=(4, 0), s3=(1,)))
    with pytest.raises(InputError, match="the boxes of round 1"):
        here.at(1)
    here.draw(1, labels, predict)
    first = here.at(1)
    assert (first.first, first.count, first.parts) == (GRID, MOST, GRID + MOST)
    covered = {i: first.maps(np.asarray([i]))[0] != IGNORE for i in range(N)}
    for i, (top, left, bottom, right) in enumerate(FRAMES.tolist()):
        assert covered[i][top:bottom, left:right].sum() == covered[i].sum() == first.sizes[i].sum()
    assert not covered[0][4:8, 4:8].any() and not covered[0][:4, :4].any() and not covered[3][:4, 3:7].any()
    assert not covered[2].any() and all(covered[i].any() for i in POOL)
    here.draw(1, LabelStore(N), lambda rows: pytest.fail("they are on disk"))
    np.testing.assert_array_equal(here.at(1).sizes, first.sizes)


def test_part_numbers_go_on_from_round_to_round(tmp_path: Path) -> None:
    here, labels = parts(tmp_path), LabelStore(N).add(annotations_of(0, s0=(4,), s1=(3, 4)))
    here.draw(1, labels, predict)
    first = here.at(1)
    pick = first.indices[-1:]  # the last box of the last image
    sample, (part,) = next(iter(first.by_sample(pick).items()))
    assert sample == 3 and GRID <= part < GRID + MOST and first.places(pick).tolist() == [part - GRID]
    np.testing.assert_array_equal(first.mask(3, (part,)), first.maps(np.asarray([3]))[0] == part - GRID)
    assert first.labels(labels).answered.tolist() == [i * first.parts + p for i, p in ((0, 4), (1, 3), (1, 4))]
    labels = labels.add(annotations_of(1, s3=(part,), s0=(GRID,)))
    here.draw(2, labels, predict)
    second = here.at(2)
    assert second.first == GRID + MOST and (second.indices % second.parts >= second.first).all()
    assert not np.intersect1d(second.labels(labels).answered, second.indices).size
    assert second.pixels.sum() == second.sizes.sum() and len(second.pixels) == N * second.parts
    masks_of = here.query_masks(labels)
    boxes = masks_of(3)
    assert len(boxes) == 1 and (boxes[0] == first.mask(3, (part,))).all() and not masks_of(2)
    assert [int(box.sum()) for box in masks_of(0)] == [16, first.sizes[0, 0]]
    whole = np.sum(masks_of(0), axis=0) + (second.maps(np.asarray([0]))[0] != IGNORE)
    assert whole.max() == 1  # nothing is asked about twice


def test_a_box_has_the_mean_record_of_the_windows_that_it_lies_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, values = parts(tmp_path), np.random.default_rng(1).random(N * GRID)
    monkeypatch.setattr(model_boxes, "BLOCK", 2)
    here.draw(1, LabelStore(N).add(annotations_of(0, s0=(4,), s1=(3, 4))), predict)
    grid, boxes = here.at(0), here.at(1)
    assert (
        here.record_regions.sizes.tolist() == grid.sizes.tolist()
        and grid.from_record is None
        and boxes.from_record is not None
    )
    indices = np.random.default_rng(2).permutation(boxes.indices)
    expected = []
    for index in indices.tolist():
        sample, part = divmod(index, boxes.parts)
        inside = np.argwhere(boxes.mask(sample, (part,))).tolist()
        expected.append(
            np.mean([values[sample * GRID + int(grid.maps(np.asarray([sample]))[0, i, j])] for i, j in inside])
        )
    np.testing.assert_allclose(boxes.from_record(values, indices), expected)
    assert len(boxes.from_record(values, indices[:0])) == 0


def test_an_image_is_open_until_all_of_its_picture_has_a_label(tmp_path: Path) -> None:
    here, all_parts = parts(tmp_path), tuple(range(GRID))
    sizes = here.at(0).sizes
    existing = tuple(int(p) for p in np.flatnonzero(sizes[3]))
    assert here.open(LabelStore(N)).tolist() == POOL.tolist()
    assert here.open(LabelStore(N).add(annotations_of(0, s3=existing, s0=all_parts[1:]))).tolist() == [0, 1]
    skipped = [Annotation(3, "skip", None, "me", 0, region=existing)]
    assert here.open(LabelStore(N).add(skipped)).tolist() == POOL.tolist()
    full = LabelStore(N).add(annotations_of(0, s3=existing))
    here.draw(1, full, predict)
    assert not here.at(1).sizes[3].any() and here.at(1).sizes[0].all()


def test_more_boxes_than_a_byte_can_name_are_remembered(tmp_path: Path) -> None:
    frames, size = np.asarray([[0, 0, 18, 18]]), 18
    here = ModelBoxes(Ripu(1, 9), np.zeros(1, dtype=np.int64), frames, size, RunDir(tmp_path), torch.device("cpu"))

    def even(rows: IntArray) -> Iterator[PredictionBatch]:
        yield PredictionBatch(rows, np.full((1, 1, 2, size, size), 0.5, dtype=np.float32))

    labels = LabelStore(1).add(annotations_of(0, s0=tuple(range(size**2 - 3))))
    here.draw(1, labels, even)
    assert np.argwhere(here.at(1).maps(np.zeros(1, dtype=np.int64))[0] != IGNORE).tolist() == [
        [17, k] for k in (15, 16, 17)
    ]
    assert len(here.query_masks(labels)(0)) == size**2 - 3


def test_an_answer_holds_exactly_the_boxes_that_were_asked_by_then(tmp_path: Path) -> None:
    truth: LabelMap = np.random.default_rng(0).integers(0, 3, (N, SIZE, SIZE)).astype(np.uint8)
    here = parts(tmp_path)
    oracle = SimulatedRegions(np.ones(N, dtype=np.bool_), lambda rows: truth[rows], here, RunDir(tmp_path))
    labels, expected = LabelStore(N), np.full((N, SIZE, SIZE), IGNORE)
    for r in range(3):
        here.draw(r, labels, predict)
        regions = here.at(r)
        indices = np.random.default_rng(r).choice(regions.indices, 4, replace=False)
        answers = oracle.annotate(indices, r)
        for index in indices.tolist():
            sample = index // regions.parts
            where = regions.mask(sample, (index % regions.parts,))
            assert where.sum() == regions.pixels[index] and (expected[sample][where] == IGNORE).all()
            expected[sample][where] = truth[sample][where]
        for a in answers:
            np.testing.assert_array_equal(read_answer(tmp_path / str(a.target)), expected[a.index])
        labels = labels.add(answers)
    assert len(regions.labels(labels).labeled) == 12
