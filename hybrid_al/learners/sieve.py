"""Sieving: of a region that one click gave a class, only the pixels that the last model finds likely are kept."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..core.types import IGNORE, BoolArray, FloatArray, LabelMap

STEPS = 10  # a region's confidences are looked at in as many places, as published


def sieved(labels_HW: LabelMap, regions: Iterable[BoolArray], probs_CHW: FloatArray) -> LabelMap:
    """The label map without the pixels of each region that the model believes in less than at its knee: `IGNORE`.

    Kim et al., Adaptive Superpixel for Active Learning in Semantic Segmentation (ICCV 2023), section 3.3: the knee of
    the sorted probabilities of the region's class divides the pixels of that class from those of others.
    """
    out = labels_HW.copy()
    for region in regions:
        place = np.nonzero(region & (labels_HW != IGNORE))
        if len(place[0]):
            confidence = probs_CHW[(labels_HW[place], *place)]
            out[place] = np.where(confidence < knee(confidence), IGNORE, labels_HW[place])
    return out


def knee(values_K: FloatArray) -> float:
    """The value at the knee of the sorted values, about `STEPS` of them; the smallest value where they have none.

    Satopää et al., Finding a "Kneedle" in a Haystack (ICDCSW 2011), sensitivity 1, for a curve that rises steeply
    first: the first largest difference to the diagonal that the next differences fall below by a step.
    """
    curve = np.sort(values_K)[:: max(len(values_K) // STEPS, 1)]
    if len(curve) < 3 or curve[-1] == curve[0]:
        return float(curve[0])
    step = 1 / (len(curve) - 1)
    difference = (curve - curve[0]) / (curve[-1] - curve[0]) - np.arange(len(curve)) * step
    for i in range(1, len(curve) - 1):
        if difference[i - 1] <= difference[i] >= difference[i + 1]:
            for later in difference[i + 1 :]:
                if later > difference[i]:
                    break
                if later < difference[i] - step:
                    return float(curve[i])
    return float(curve[0])
