"""Outlines of what was predicted and of what is true, drawn on an image, for the report."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..types import IGNORE, BoolArray, LabelMap

TRUTH, PREDICTED, BOTH = (0, 200, 90), (255, 60, 200), (255, 255, 255)
SIDE = 192  # pixels of the drawn picture at least


@dataclass(frozen=True)
class Overlay:
    """One drawn image: JPEG file, the sample's id, and a note such as its Dice."""

    jpeg: bytes
    id: str
    note: str


def draw(pixels: npt.NDArray[np.uint8], truth: LabelMap, predicted: LabelMap) -> bytes:
    """JPEG of an image (S, S, C): outlines of the truth green, of the prediction magenta, of both white.

    Drawn on the enlarged image, so that an outline is thinner than a pixel of the network. Dark and pale images are
    stretched to the full range. Where nobody knows the truth there is no outline of it.
    """
    pixels = _stretched(pixels)
    scale = max(1, -(-SIDE // max(truth.shape)))
    large = np.repeat(np.repeat(pixels, scale, axis=0), scale, axis=1)
    picture = np.repeat(large, 3, axis=2) if large.shape[2] == 1 else large.copy()
    true, ours = (edges(np.repeat(np.repeat(m, scale, axis=0), scale, axis=1)) for m in (truth, predicted))
    for where, colour in ((true, TRUTH), (ours, PREDICTED), (true & ours, BOTH)):
        picture[where] = colour
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="JPEG", quality=85)
    return out.getvalue()


def _stretched(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The pixels with their percentiles 1 and 99 at 0 and 255; as they are where these are one."""
    low, high = np.percentile(pixels, (1, 99))
    if high <= low:
        return pixels
    shown: npt.NDArray[np.uint8] = ((pixels - low) * (255 / (high - low))).clip(0, 255).round().astype(np.uint8)
    return shown


def edges(labels: LabelMap) -> BoolArray:
    """Pixels (H, W) of a structure that touch another class to their right, left, below or above."""
    found = np.zeros(labels.shape, dtype=np.bool_)
    for one, other in (((slice(-1), ...), (slice(1, None), ...)), ((..., slice(-1)), (..., slice(1, None)))):
        touching = (labels[one] != labels[other]) & (labels[one] != IGNORE) & (labels[other] != IGNORE)
        found[one] |= touching
        found[other] |= touching
    outline: BoolArray = found & (labels > 0) & (labels != IGNORE)
    return outline
