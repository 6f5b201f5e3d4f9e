"""Which of the values that files can hold their pixels use, and the window of a recipe for those that use few."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..pixels import FEW
from .tree import READERS, spread

if TYPE_CHECKING:
    from .base import Description

LOOKED_AT = 50  # images whose pixels are decoded
Span = tuple[float, ...]
"""The values that become 0 and 1 without a window; empty where these are not to be chosen."""


def draft_window(spans: Mapping[Path, Span], images: int, about: Description) -> None:
    """Set `data.window` where files of more than 8 bits use few of the values that they can hold, and say so.

    spans  of some of so many images
    """
    deep = [path for path, span in spans.items() if span]
    if deep and len(deep) < len(spans):
        about.open.append(
            f"{len(deep)} of {len(spans)} files have more than 8 bits: one data.window holds for all files"
        )
    elif deep:
        set_window(_values(spread(deep, LOOKED_AT)), max(spans.values()), images, about)


def set_window(arrays: Iterable[npt.NDArray[Any]], span: Span, images: int, about: Description) -> None:
    """Set `data.window` where arrays, some of so many images, use few of the values of a span, or others."""
    low, high, whole, count = np.inf, -np.inf, True, 0
    for array in arrays:
        low, high, count = min(low, float(array.min())), max(high, float(array.max())), count + 1
        whole = whole and bool((array == np.rint(array)).all())
    inside = span[0] <= low and high <= span[1]
    if not low < high or (inside and high - low >= FEW * (span[1] - span[0])):
        return
    top = 2 ** int(high).bit_length() - 1 if whole and low >= 0 else 0  # of the bits that a detector has
    edges = [0, top] if high - low >= FEW * top > 0 else [int(x) if whole else float(f"{x:.4g}") for x in (low, high)]
    about.data["window"] = edges
    share = f", {100 * (high - low) / (span[1] - span[0]):.2g} % of {span[0]:g} to {span[1]:g}" if inside else ""
    text = f"{low:g} to {high:g} in {count} of {images} images{share}: data.window {edges}"
    about.took.append(("values", text))
    about.note("data.window", "these values become black and white; what lies outside is cut off")


def _values(paths: Iterable[Path]) -> Iterator[npt.NDArray[Any]]:
    """The numbers in those files that can be read, and are finite."""
    for path in paths:
        try:
            array = READERS.of(path).values(path)
        except (OSError, ValueError):
            continue
        if np.isfinite(array).all():
            yield array
