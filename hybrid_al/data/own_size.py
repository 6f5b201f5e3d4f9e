"""Label maps for people: from the square of a network to the image's own pixels, in the values of mask files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..core.files import write_atomic
from ..core.types import IGNORE, FloatArray, LabelMap
from ..errors import InputError
from .pixels import image_box

MOST_VALUE = 65_535


@dataclass(frozen=True)
class Values:
    """What the classes of pixels are called in files: the value of each class (K,), and that for "not known"."""

    of_class: tuple[int, ...]
    unknown: int

    @classmethod
    def of(cls, mask_values: Mapping[object, object], classes: Sequence[str]) -> Values:
        """By `data.mask_values` of a recipe; without it values are the numbers of the classes.

        Where no value means ignore, 255 does, or the smallest value that is free.
        """
        names = {int(str(value)): str(name) for value, name in mask_values.items()}
        values = [min((v for v, name in names.items() if name == c), default=k) for k, c in enumerate(classes)]
        if len(set(values)) < len(values) or not 0 <= min(values) <= max(values) <= MOST_VALUE:
            raise InputError("data.mask_values", f"values of 0 to {MOST_VALUE}, one for each class", str(names))
        ignored = [value for value, name in names.items() if name == "ignore"]
        free = (v for v in (IGNORE, *range(MOST_VALUE)) if v not in values)
        return cls(tuple(values), ignored[0] if ignored else next(free))

    def write(self, labels: LabelMap) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """A label map of any shape in these values: uint8, or uint16 where one is above 255."""
        wide = max(*self.of_class, self.unknown) > 255
        table = np.full(256, self.unknown, dtype=np.uint16 if wide else np.uint8)
        table[: len(self.of_class)] = self.of_class
        return cast(npt.NDArray[np.uint8] | npt.NDArray[np.uint16], table[labels])

    def named(self, classes: Sequence[str]) -> dict[str, str]:
        """Value -> what it means."""
        return {str(v): name for v, name in zip(self.of_class, classes, strict=True)} | {str(self.unknown): "not known"}


def own_labels(probs_KSS: FloatArray, height: int, width: int) -> LabelMap:
    """The likeliest class of each pixel (height, width) of an image that a network saw in its square (S, S)."""
    return np.asarray(own_probs(probs_KSS, height, width).argmax(axis=0), dtype=np.uint8)


def own_probs(probs_KSS: FloatArray, height: int, width: int) -> npt.NDArray[np.float32]:
    """Probabilities (K, height, width): cut to the place of the image and scaled bilinearly to its own pixels."""
    box = image_box(height, width, probs_KSS.shape[1])
    inner = probs_KSS[:, box.rows, box.columns].astype(np.float32)
    if inner.shape[1:] == (height, width):
        return inner
    planes = [Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR) for plane in inner]
    return np.stack([np.asarray(plane) for plane in planes])


def own_map(labels_SS: LabelMap, height: int, width: int) -> LabelMap:
    """A label map of the square (S, S) of a network in the image's own pixels (height, width): the nearest class."""
    box = image_box(height, width, labels_SS.shape[0])
    inner = Image.fromarray(np.ascontiguousarray(labels_SS[box.rows, box.columns]))
    return np.asarray(inner.resize((width, height), Image.Resampling.NEAREST))


def write_png(path: Path, values: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> None:
    """A mask (H, W) as a PNG file of one channel."""
    out = io.BytesIO()
    Image.fromarray(values).save(out, format="PNG")
    write_atomic(path, out.getvalue())


def write_values(path: Path, values: Values, classes: Sequence[str]) -> None:
    """Write a JSON that says which value means what."""
    write_atomic(path, json.dumps(values.named(classes), indent=1, ensure_ascii=False) + "\n")
