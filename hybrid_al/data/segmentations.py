"""Which plane of a DICOM SEG lies on which slice of the series that it segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from .readers.dicom import planes_of
from .samples import BLANK
from .studies import Facts, Series

NEAR = 0.1  # mm: a plane lies on a slice at most so far away
TURNED = 1e-3  # of a cosine


class Mask(NamedTuple):
    """A file, and the plane of a slice in it: `BLANK` where it leaves the slice out, None where it has one alone.

    more  further files of the slice, each of which draws a part
    """

    file: str
    plane: int | None
    more: tuple[str, ...] = ()


def by_series(
    folder: Path, segmentations: Mapping[str, Facts], series: Sequence[Series]
) -> dict[tuple[str, int], Mask]:
    """Path and frame of a slice -> its mask, for all slices of the series that are segmented.

    InputError for a segmentation of no series here, for a second one of a series, and where one lies elsewhere.
    """
    named = {one.slices[0].facts.series: one for one in series if one.ordered and one.slices[0].facts.series}
    masks: dict[tuple[str, int], Mask] = {}
    of_series: dict[str, Path] = {}
    for path, facts in segmentations.items():
        file, segmented = folder / path, named.get(facts.series)
        if segmented is None:
            raise InputError(
                file, "a segmentation of a series below data.root, whose slices have positions", "of another"
            )
        if facts.series in of_series:
            raise InputError(file, f"one segmentation of {segmented.name}", f"also {of_series[facts.series]}")
        of_series[facts.series] = file
        plane_of = _planes(file, facts, segmented)
        masks |= {
            (part.path, part.frame): Mask(str(file), plane_of.get(k, BLANK)) for k, part in enumerate(segmented.slices)
        }
    return masks


def _planes(file: Path, facts: Facts, series: Series) -> dict[int, int]:
    """Number of a slice in its series -> the plane of the segmentation that lies on it."""
    positions = np.asarray([part.place[0] for part in series.slices])
    axes = np.asarray(series.slices[0].place[1])
    try:
        planes = planes_of(facts.places)
    except ValueError as error:
        raise InputError(file, "a segmentation whose frames have positions", "one without") from error
    plane_of: dict[int, int] = {}
    for number, (frame, *_) in enumerate(planes):
        position, orientation = facts.places[frame]
        distance = np.linalg.norm(positions - position, axis=1)
        nearest = int(distance.argmin())
        if distance[nearest] > NEAR or np.abs(axes - orientation).max() > TURNED:
            came = f"frame {frame}, {distance[nearest]:.3g} mm beside the nearest or turned"
            raise InputError(file, f"frames that lie on the slices of {series.name}: resample it onto them", came)
        plane_of[nearest] = number
    return plane_of
