"""How large an image may be by its header: a larger one is refused before memory is taken for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Pixels of an image, or of a slice, frame or page of a file; voxels of all of these."""

    pixels: int = 100_000_000
    voxels: int = 1_000_000_000


_in_force = [Limits()]


def use(limits: Limits) -> None:
    """The limits from now on in this process, which the recipe that is read sets."""
    _in_force[0] = limits


def limits() -> Limits:
    """Those in force."""
    return _in_force[0]


def check_volume(shape: Sequence[int]) -> None:
    """ValueError where a volume of axes of these lengths is beyond the limit."""
    if math.prod(map(int, shape)) > limits().voxels:
        size = " x ".join(map(str, shape))
        raise ValueError(f"{size} is more than the limit of {limits().voxels} voxels (data.max_voxels)")


def check_size(height: int, width: int, count: int = 1) -> None:
    """ValueError where an image, or `count` slices, frames or pages of a file, are beyond the limits."""
    if height * width > limits().pixels:
        raise ValueError(f"{height} x {width} is more than the limit of {limits().pixels} pixels (data.max_pixels)")
    check_volume((height, width, count))
