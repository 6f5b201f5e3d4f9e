"""Superpixels that a model merges, their numbers from round to round, and the sieve, by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hybrid_al.core.labels import LabelStore
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import IGNORE, Annotation, IntArray, LabelMap, PredictionBatch
from hybrid_al.errors import InputError
from hybrid_al.learners.sieve import knee, sieved
from hybrid_al.regions.adaptive import NONE, MergedSuperpixels, distances, merged
from hybrid_al.regions.base import Regions

MAP: LabelMap = np.asarray([[0, 1, 2], [3, 3, 4], [IGNORE] * 3], dtype=np.uint8)
YES = np.asarray([0.2, 0.22, 0.81, 0.7, 0.79])  # of the second class, by superpixel
SIZES = np.asarray([[1, 1, 1, 2, 1]])


def prediction() -> np.ndarray:
    yes = np.append(YES, 0.5)[np.where(MAP == IGNORE, 5, MAP)]
    return np.stack([1 - yes, yes])


def predict(rows: IntArray) -> Iterator[PredictionBatch]:
    yield PredictionBatch(rows, np.repeat(prediction()[None, None], len(rows), axis=0).astype(np.float32))


def test_the_distance_is_the_root_of_the_divergence() -> None:
    middle = np.asarray([0.55, 0.45])
    nats = sum(sum(p * np.log(p / m) for p, m in zip(row, middle, strict=True)) / 2 for row in ([0.8, 0.2], [0.3, 0.7]))
    np.testing.assert_allclose(distances(np.asarray([[0.8, 0.2]]), np.asarray([0.3, 0.7])), [np.sqrt(nats)])


def test_like_neighbours_merge_and_the_most_uncertain_begins() -> None:
    """3 is the most uncertain, and takes in 4, then 2 through it; 0 and 1 are alike, and far from 3."""
    assert merged(MAP, prediction(), np.ones(5, dtype=np.bool_), 0.1).tolist() == [1, 1, 0, 0, 0]
    assert merged(MAP, prediction(), np.ones(5, dtype=np.bool_), 1e-9).tolist() == [3, 1, 4, 0, 2]
    free = np.asarray([True, True, True, True, False])  # 2 is beside 3 by 4 alone
    assert merged(MAP, prediction(), free, 0.1).tolist() == [1, 1, 2, 0, NONE]


def test_the_distance_is_to_the_one_that_began() -> None:
    """A chain of steps of .06 stops where the first is .1 away."""
    row: LabelMap = np.arange(5, dtype=np.uint8)[None]
    yes = np.asarray([0.5, 0.58, 0.66, 0.74, 0.82])[None]
    apart = distances(np.stack([1 - yes[0], yes[0]], axis=1), np.asarray([0.5, 0.5]))
    expected = [0 if d < 0.1 else 1 for d in apart]
    assert set(expected) == {0, 1}
    assert merged(row, np.stack([1 - yes, yes]), np.ones(5, dtype=np.bool_), 0.1).tolist()[:4] == expected[:4]


def parts(run: Path) -> MergedSuperpixels:
    base = Regions(lambda rows: np.repeat(MAP[None], len(rows), axis=0), SIZES)
    return MergedSuperpixels(base, np.zeros(1, dtype=np.int64), 0.1, RunDir(run))


def answer(round: int, *regions: int, kind: str = "point") -> Annotation:
    return Annotation(0, kind, "x", "me", round, region=regions)  # type: ignore[arg-type]


def test_regions_of_a_round_hold_what_nobody_was_asked_about(tmp_path: Path) -> None:
    here, labels = parts(tmp_path), LabelStore(1).add([answer(0, 4)])
    assert here.at(0) is here.record_regions and here.at(0).indices.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match="the regions of round 1"):
        here.at(1)
    here.draw(1, labels, predict)
    first = here.at(1)
    assert (first.first, first.count, first.parts) == (5, 5, 10) and first.indices.tolist() == [5, 6, 7]
    expected = np.asarray([[1, 1, 2], [0, 0, IGNORE], [IGNORE] * 3])
    np.testing.assert_array_equal(first.maps(np.zeros(1, dtype=np.int64))[0], expected)
    assert first.pixels[5:8].tolist() == [2, 2, 1] and first.labels(labels).answered.tolist() == [4]
    assert first.from_record is not None
    means = first.from_record(np.asarray([1.0, 3.0, 10.0, 7.0, 99.0]), np.asarray([7, 5, 6]))
    assert means.tolist() == [10, 7, 2]
    here.draw(1, LabelStore(1), lambda rows: pytest.fail("they are on disk"))

    labels = labels.add([answer(1, 7)])
    masks = here.query_masks(labels)(0)
    assert [np.argwhere(mask).tolist() for mask in masks] == [[[1, 2]], [[0, 2]]]
    here.draw(2, labels, predict)
    assert here.at(2).indices.tolist() == [10, 11] and here.at(2).pixels.sum() == 4
    previous, units = here.at(2).in_previous_round(np.asarray([7]))
    assert previous.parts == 10 and units.tolist() == [7]
    assert here.open(labels).tolist() == [0] and here.open(labels.add([answer(2, 10, 11)])).tolist() == []
    assert here.open(labels.add([answer(2, 10, 11, kind="skip")])).tolist() == [0]


def test_the_knee_is_where_a_steep_rise_ends() -> None:
    values = np.asarray([0.1, 0.2, 0.85, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96])
    assert knee(np.random.default_rng(0).permutation(values)) == 0.85
    assert knee(np.linspace(0, 1, 10)) == 0 and knee(np.full(7, 0.3)) == 0.3 and knee(np.asarray([0.2, 0.4])) == 0.2


def test_pixels_below_the_knee_of_their_region_are_left_out() -> None:
    labels: LabelMap = np.full((2, 12), 1, dtype=np.uint8)
    labels[1], labels[0, 10:] = 0, IGNORE
    yes = np.full((2, 12), 0.5)
    yes[0, :10] = [0.1, 0.2, 0.85, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96]
    regions = [np.arange(24).reshape(2, 12) < 12, np.arange(24).reshape(2, 12) >= 12]
    kept = sieved(labels, regions, np.stack([1 - yes, yes]))
    assert kept[0].tolist() == [IGNORE] * 2 + [1] * 8 + [IGNORE] * 2 and (kept[1] == 0).all()
    assert (sieved(labels, [], np.stack([1 - yes, yes])) == labels).all()
