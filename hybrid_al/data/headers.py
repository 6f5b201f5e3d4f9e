"""What the header of a DICOM file says of its frames: how many, where they lie, and whether they are an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.limits import check_size
from ..core.types import BoolArray, FloatArray

MAX_FRAMES = 100_000
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
SAME = 0.01  # mm: frames nearer than this lie in one plane
Place = tuple[tuple[float, ...], tuple[float, ...]]
"""Position (3,) in mm of the first pixel, and orientation (6,): cosines of rows and columns; empty where unknown."""


def padding(stored: npt.NDArray[Any], dataset: Any) -> BoolArray:
    """Which stored numbers (H, W) stand for no image at all."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return np.zeros(stored.shape, dtype=np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((value, limit if isinstance(limit, int) else value))
    return np.asarray((stored >= low) & (stored <= high))


def has_window(dataset: Any) -> bool:
    """Whether a header, or that of a frame, says a window or VOI LUT."""
    centre, width = dataset.get("WindowCenter"), dataset.get("WindowWidth")
    return bool(dataset.get("VOILUTSequence")) or not (centre in (None, "") or width in (None, ""))


def functional_groups(dataset: Any, plane: int) -> list[Any]:
    """The functional groups that hold for a frame of an enhanced file: the shared ones, then its own."""
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or ())
    own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    return [*shared, own[plane]] if plane < len(own) else shared


def frames_of(dataset: Any) -> int:
    """How many frames; ValueError where it has none, or more than the limits."""
    height, width = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if min(height, width, frames) < 1:
        raise ValueError(f"its header claims {frames} frames of {height} x {width} pixels")
    check_size(height, width, frames)
    if frames > MAX_FRAMES:
        raise ValueError(f"{frames} frames are more than the limit of {MAX_FRAMES}")
    return frames


def spacing_of(dataset: Any) -> tuple[float, ...]:
    """Millimetres from slice to slice, row to row and column to column; nan where unknown."""
    between = dataset.get("SpacingBetweenSlices")
    within = dataset.get("PixelSpacing") or dataset.get("ImagerPixelSpacing") or (math.nan, math.nan)
    for group in functional_groups(dataset, 0):
        for item in group.get("PixelMeasuresSequence") or ():
            within, between = item.get("PixelSpacing") or within, item.get("SpacingBetweenSlices", between)
    lengths = [math.nan if length in (None, "") else float(length) for length in (between, *within)]
    return tuple(abs(length) if length else math.nan for length in lengths)


def place_of(dataset: Any, frame: int) -> Place:
    """Where a frame lies, by the header or its functional groups."""
    position, orientation = dataset.get("ImagePositionPatient"), dataset.get("ImageOrientationPatient")
    for group in functional_groups(dataset, frame):
        for item in group.get("PlanePositionSequence") or ():
            position = item.get("ImagePositionPatient") or position
        for item in group.get("PlaneOrientationSequence") or ():
            orientation = item.get("ImageOrientationPatient") or orientation
    first, axes = (tuple(float(number) for number in value or ()) for value in (position, orientation))
    fits = len(first) == 3 and len(axes) == 6 and np.isfinite([*first, *axes]).all()
    return (first, axes) if fits and np.linalg.norm(normal_of(axes)) > 0.5 else ((), ())


def normal_of(orientation: Sequence[float]) -> FloatArray:
    """The direction (3,) across slices of an orientation."""
    return np.cross(orientation[:3], orientation[3:])


def planes_of(places: Sequence[Place]) -> list[list[int]]:
    """The frames of a segmentation that lie in one plane, plane by plane along the normal."""
    if not all(position for position, _ in places):
        raise ValueError("a segmentation whose frames have no positions")
    along = np.asarray([position for position, _ in places]) @ normal_of(places[0][1])
    planes: list[list[int]] = []
    for frame in np.argsort(along, kind="stable").tolist():
        if planes and along[frame] - along[planes[-1][0]] < SAME:
            planes[-1].append(frame)
        else:
            planes.append([frame])
    return planes


def is_segmentation(dataset: Any) -> bool:
    """Whether a file is a DICOM SEG."""
    return dataset.get("SOPClassUID") in SEGMENTATIONS


def kind_of(dataset: Any) -> str:
    """The kind of an object in the words of the standard: CT Image Storage, RT Plan Storage."""
    uid = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
    return str(getattr(uid, "name", "") or dataset.get("Modality") or "DICOM of an unknown kind")


def has_pixels(dataset: Any) -> bool:
    """Whether a file holds an image."""
    return any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))


def refuse_pixelless(dataset: Any) -> None:
    """ValueError where a file holds no image, by the name of what it is."""
    if has_pixels(dataset):
        return
    kind = kind_of(dataset)
    cut = "Rows" in dataset or "Image" in kind
    raise ValueError(f"{kind} without its pixels: cut short?" if cut else f"{kind}: an object without pixels")
