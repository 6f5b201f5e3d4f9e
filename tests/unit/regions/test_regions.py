"""Parts of images: windows and superpixels, their numbers, and answers that hold what was asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hybrid_al.core.consistency import THRESHOLD, Recording
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import IGNORE, Annotation, LabelMap
from hybrid_al.data.answers import read_answer
from hybrid_al.data.stores.masks import MaskStore
from hybrid_al.errors import InputError
from hybrid_al.oracles.effort import costs
from hybrid_al.oracles.simulated import SimulatedRegions
from hybrid_al.regions.base import Regions
from hybrid_al.regions.fixed import PARTITIONS, Superpixels, Windows
from hybrid_al.scores.pixels import Mean, by_part
from hybrid_al.semi.dense.base import PixelEvidence
from hybrid_al.semi.dense.record import MapRecorder

SIDE = 6
PARTS: LabelMap = np.zeros((2, SIDE, SIDE), dtype=np.uint8)
PARTS[0, :, 2:], PARTS[0, 3:, 2:] = 1, 2
PARTS[1, :, 4:], PARTS[1, :, 5] = 1, IGNORE
REGIONS = Regions(lambda rows: PARTS[rows], np.asarray([[12, 12, 12], [24, 6, 0]]))


def picture(height: int = 20, width: int = 20, channels: int = 3) -> np.ndarray:
    pixels = np.full((height, width, channels), 20, dtype=np.uint8)
    pixels[4:12, 5:15] = 220
    return pixels


@pytest.mark.parametrize("side", [1, 3, 4, 8])
def test_windows_are_squares_that_cover_the_image(side: int) -> None:
    parts = Windows(side).parts(picture(8, 8), np.ones((8, 8), dtype=np.bool_))
    across = -(-8 // side)
    for i in range(8):
        for j in range(8):
            assert parts[i, j] == (i // side) * across + j // side
    assert set(parts.ravel()) == set(range(across**2))


@pytest.mark.parametrize("channels", [1, 3])
def test_superpixels_follow_what_is_seen_and_leave_padding_out(channels: int) -> None:
    valid = np.zeros((20, 20), dtype=np.bool_)
    valid[2:18] = True
    pixels = picture(channels=channels)
    parts = Superpixels(count=6).parts(pixels, valid)
    assert parts.min() == 0 and 2 <= parts[valid].max() + 1 <= 12
    bright = {int(part) for part in parts[4:12, 5:15].ravel()}
    dark = {int(part) for part in parts[valid & (pixels[..., 0] == 20)]}
    assert not bright & dark  # no superpixel straddles the edge of the bright square
    again = Superpixels(count=6).parts(pixels, valid)
    np.testing.assert_array_equal(parts, again)
    changed = pixels.copy()
    changed[~valid] = 99
    np.testing.assert_array_equal(Superpixels(count=6).parts(changed, valid), parts)


@pytest.mark.parametrize("bad", [{"count": 0}, {"count": 255}, {"compactness": 0.0}, {"compactness": float("nan")}])
def test_superpixels_refuse_what_cannot_be_made(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"Superpixels.{next(iter(bad))}"):
        PARTITIONS["superpixels"](**bad)


def test_windows_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match=r"Windows\.side: expected a whole number of 1 or more, got 0"):
        Windows(0)


def test_units_number_the_parts_that_there_are() -> None:
    assert REGIONS.indices.tolist() == [0, 1, 2, 3, 4]
    assert REGIONS.samples(np.asarray([4, 2, 0])).tolist() == [1, 0, 0]
    assert REGIONS.by_sample(np.asarray([2, 4, 0])) == {0: (2, 0), 1: (1,)}


def test_labels_of_units_are_those_of_the_parts_that_were_asked() -> None:
    first = LabelStore(2).add(
        [Annotation(0, "mask", "a", "x", 0, region=(2,)), Annotation(1, "skip", None, "x", 0, region=(1,))]
    )
    both = first.add(
        [Annotation(0, "mask", "b", "x", 1, region=(0, 1)), Annotation(1, "mask", "c", "x", 1, region=(0,))]
    )
    assert REGIONS.labels(first).labeled.tolist() == [2] and REGIONS.labels(first).answered.tolist() == [2, 4]
    units = REGIONS.labels(both)
    assert units.n == 6 and units.labeled.tolist() == [2, 0, 1, 3] and units.answered.tolist() == [2, 4, 0, 1, 3]
    assert REGIONS.open(first).tolist() == [0, 1] and REGIONS.open(both).tolist() == [1]  # the skipped part is open


def test_a_mask_that_is_given_is_of_all_parts_and_nobody_is_asked_about_them() -> None:
    given = Annotation(0, "mask", "a", "given", 0)
    regions, labels = replace(REGIONS, given=np.asarray([True, False])), LabelStore(2).add([given])
    assert regions.indices.tolist() == [3, 4] and regions.labels(labels).labeled.tolist() == [0, 1, 2]
    assert regions.open(labels).tolist() == [1] and regions.open(LabelStore(2)).tolist() == [1]
    taken_again = labels.add([replace(given, target="b", annotator="x", region=())])
    assert regions.labels(taken_again).labeled.tolist() == [0, 1, 2]


def oracle(run: Path, truth: LabelMap) -> SimulatedRegions:
    return SimulatedRegions(np.asarray([True, True]), lambda rows: truth[rows], REGIONS, RunDir(run))


def test_an_answer_holds_exactly_the_pixels_that_were_asked_by_then(tmp_path: Path) -> None:
    truth: LabelMap = np.random.default_rng(0).integers(0, 3, (2, SIDE, SIDE)).astype(np.uint8)
    held = oracle(tmp_path, truth)
    queried: dict[int, set[int]] = {0: set(), 1: set()}
    for r, indices in enumerate(([1, 4], [0, 3], [2])):
        for a in held.annotate(np.asarray(indices), r):
            assert a.kind == "mask" and a.cost == 1 and a.region is not None
            queried[a.index] |= set(a.region)
            label_map = read_answer(tmp_path / str(a.target))
            for i in range(SIDE):
                for j in range(SIDE):
                    expected = truth[a.index, i, j] if int(PARTS[a.index, i, j]) in queried[a.index] else IGNORE
                    assert label_map[i, j] == expected
    again = held.annotate(np.asarray([0, 3]), 1)  # asked once more, as after a kill: what came later is not in it
    assert (read_answer(tmp_path / str(again[0].target))[3:, 2:] == IGNORE).all()


def test_a_region_that_nobody_knows_is_skipped(tmp_path: Path) -> None:
    truth: LabelMap = np.full((2, SIDE, SIDE), IGNORE, dtype=np.uint8)
    truth[0, :, :2] = 1
    held = oracle(tmp_path, truth)
    assert [a.kind for a in held.annotate(np.asarray([1, 3]), 0)] == ["skip", "skip"]
    assert [a.kind for a in held.annotate(np.asarray([1, 0]), 1)] == ["mask"]


def test_a_click_gives_each_region_its_most_frequent_class_and_costs_one(tmp_path: Path) -> None:
    truth: LabelMap = np.zeros((2, SIDE, SIDE), dtype=np.uint8)
    truth[0, :3, 3:], truth[0, 0], truth[1, 0] = 2, 1, IGNORE  # part 1: 6 of 2, 4 of 1, 2 of 0; part 0: 2 of 1
    held = replace(oracle(tmp_path, truth), click=True)
    labels = LabelStore(2).add(held.annotate(np.asarray([1, 4]), 0)).add(held.annotate(np.asarray([0]), 1))
    answers = [labels.current[i] for i in (0, 1)]
    assert [(a.kind, a.cost, a.region) for a in answers] == [("point", 1, (0,)), ("point", 1, (1,))]
    first, second = (read_answer(tmp_path / str(a.target)) for a in answers)
    np.testing.assert_array_equal(first, np.select([PARTS[0] == 0, PARTS[0] == 1], [0, 2], IGNORE))
    np.testing.assert_array_equal(second, np.where(PARTS[1] == 1, 0, IGNORE))
    maps = MaskStore.build(
        np.arange(2), lambda i: (first, second)[i], ["a", "b"], ["a", "b"], size=SIDE, cache=tmp_path
    )
    assert costs(labels, maps, 3, REGIONS)["cost/clicks"] == 3


def test_sums_over_parts_equal_the_slow_reference() -> None:
    values = torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    sums, pixels = by_part(values, torch.from_numpy(PARTS), 3)
    for b in range(2):
        for part in range(3):
            inside = [float(values[b, i, j]) for i, j in np.argwhere(PARTS[b] == part)]
            assert pixels[b, part] == len(inside) and float(sums[b, part]) == pytest.approx(sum(inside), rel=1e-5)


def test_the_record_of_parts_equals_the_slow_reference() -> None:
    """Two visits; at the second the first image's part 1 is out of view, so it was seen once."""
    generator = torch.Generator().manual_seed(1)
    recorder = MapRecorder(4, 2, Mean(), Recording(decay=1.0), parts=3)
    visits: dict[int, list[list[float]]] = {}
    for visit in range(2):
        valid = PARTS.copy()
        if visit:
            valid[0][valid[0] == 1] = IGNORE
        weak, strong = (torch.randn(2, 2, SIDE, SIDE, generator=generator).mul(4).softmax(dim=1) for _ in range(2))
        rows = np.asarray([3, 1])
        parts = torch.from_numpy(valid)
        recorder.add(PixelEvidence(rows, weak, strong, parts != IGNORE), parts)
        for b, row in enumerate(rows.tolist()):
            for part in range(3):
                inside = np.argwhere(valid[b] == part)
                if len(inside):
                    w, s = (v[b].numpy()[:, inside[:, 0], inside[:, 1]].astype(np.float64) for v in (weak, strong))
                    m = (w + s) / 2
                    apart = sum((-q * np.log2(q)).sum(axis=0) * k for q, k in ((m, 1), (w, -0.5), (s, -0.5)))
                    values = [(w.argmax(0) == s.argmax(0)), w.max(0), apart, w.max(0) >= THRESHOLD, w.argmax(0) == 1]
                    visits.setdefault(row * 3 + part, []).append([float(np.mean(v)) for v in values])
    record = recorder.record()
    assert set(np.flatnonzero(record.seen)) == set(visits) and record.seen.shape == (12,)
    for region, rows_of in visits.items():
        assert record.seen[region] == len(rows_of) == (1 if region == 10 else 2)
        means = np.mean(rows_of, axis=0)
        for name, value in zip(("agreement", "confidence", "divergence", "above"), means[:4], strict=True):
            assert getattr(record, name)[region] == pytest.approx(value, abs=1e-5)
        moved = abs(rows_of[1][4] - rows_of[0][4]) if len(rows_of) == 2 else 0
        assert record.flips[region] == pytest.approx(moved, abs=1e-5)
