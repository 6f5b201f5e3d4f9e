"""What the answers of segmentation cost together: images, pixels, outlines, clicks, for a round's metrics."""

from __future__ import annotations

import numpy as np

from . import outlines
from .core.labels import LabelStore
from .core.types import IGNORE
from .data.stores.masks import MaskStore
from .regions.base import Parts


def costs(labels: LabelStore, masks: MaskStore, classes: int, parts: Parts | None) -> dict[str, float]:
    """What is labeled, in the size of the network: `cost/images`, `cost/pixels`, ...

    Images; their known pixels, and those that are no background; pixels of outlines (`outlines.boundary`); clicks, of
    polygons around the structures of masks (`outlines.clicks`), else those that the answers say (`Annotation.cost`).
    Where `parts` of images are asked about they are drawn one by one: no outline goes on in the next part.
    """
    pixels, boundary, clicks = masks.pixels[:classes], 0, 0.0
    asked = None if parts is None else parts.asked(labels)
    for i, known in zip(masks.samples.tolist(), masks.maps, strict=True):
        answer = labels.current[i]
        clicks += 0 if answer.kind == "mask" else answer.cost
        for drawn in [known] if asked is None else [np.where(part, known, IGNORE) for part in asked(i)]:
            boundary += outlines.boundary(drawn)
            clicks += outlines.clicks(drawn) if answer.kind == "mask" else 0
    return {
        "cost/images": float(len(masks)),
        "cost/pixels": float(pixels.sum()),
        "cost/foreground": float(pixels[1:].sum()),
        "cost/boundary": float(boundary),
        "cost/clicks": clicks,
    }
