"""The consistency record of segmentation: what the views' maps say, reduced to numbers an image while on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...core.consistency import THRESHOLD, Consistency, Recording
from ...core.types import FloatArray, IntArray
from ...errors import InputError
from ...scores.pixels import DISTANCES, Reduction, Sum, by_part
from ...scores.recorder import ConsistencyRecorder
from ..base import Evidence
from .base import PixelEvidence


class MapRecorder:
    """Accumulates the evidence of one fit over n samples, or over the `parts` of each; `record()` freezes it.

    Agreement, confidence, divergence and time above the threshold are those of pixels, reduced as a query's scores are.
    No map is kept: flips are the total variation between the areas of the classes at one visit and at the next, each
    a share of the image, which is a lower bound of the share of its pixels that changed. No sample has a class, so
    `pseudo_label` stays -1. Of parts all this is the mean over the pixels that a view shows of them, and a part that it
    does not show was not seen.
    """

    def __init__(self, n: int, classes: int, reduction: Reduction, recording: Recording, parts: int = 1) -> None:
        self._recorder = ConsistencyRecorder(n * parts, recording)
        self._reduction, self._parts, self._distance = reduction, parts, DISTANCES[recording.distance]
        self._areas = np.full((n * parts, classes), np.nan, dtype=np.float32)

    @property
    def seen(self) -> IntArray:
        """Visits of each row so far (N,)."""
        return self._recorder.seen

    @torch.no_grad()
    def add(self, evidence: Evidence | None, parts: Tensor | None = None) -> None:
        """One step's evidence about distinct rows; None where the step saw no unlabeled sample.

        parts (U, H, W): the part of each pixel, `IGNORE` in padding, where parts are what is recorded
        """
        if evidence is None:
            return
        if not isinstance(evidence, PixelEvidence):
            raise InputError("evidence of a segmentation objective", "PixelEvidence", type(evidence).__name__)
        weak, strong, valid = evidence.weak.float(), evidence.strong.float(), evidence.valid
        sure, label = weak.max(dim=1)
        if parts is not None:
            self._add_parts(evidence.indices, weak, strong, parts)
            return
        said = [
            1 - self._reduced(label != strong.argmax(dim=1), label, valid),
            1 - self._reduced(1 - sure, label, valid),
            self._reduced(self._distance(weak, strong), label, valid),
            1 - self._reduced(sure < THRESHOLD, label, valid),
        ]
        agreed, confident, apart, above = torch.stack(said).double().cpu().numpy()
        flips = self._flips(evidence.indices, label, valid)
        self._recorder.note(evidence.indices, np.stack([agreed, confident, flips, apart, above]))

    def _add_parts(self, indices: IntArray, weak: Tensor, strong: Tensor, parts: Tensor) -> None:
        sure, label = weak.max(dim=1)
        shown = torch.nn.functional.one_hot(label, self._areas.shape[1]).movedim(-1, 0)
        agreed = label == strong.argmax(dim=1)
        maps = [agreed.float(), sure, self._distance(weak, strong), (sure >= THRESHOLD).float(), *shown.float()]
        sums = torch.stack([by_part(m, parts, self._parts)[0] for m in maps])
        pixels = by_part(sure, parts, self._parts)[1]
        means = (sums / pixels.clamp(min=1)).flatten(1).double().cpu().numpy()
        seen = np.flatnonzero(pixels.flatten().cpu().numpy())
        units = (indices[:, None] * self._parts + np.arange(self._parts)).ravel()[seen]
        agreement, confidence, apart, above = means[:4, seen]
        flips = self._moved(units, means[4:, seen].T.astype(np.float32))
        self._recorder.note(units, np.stack([agreement, confidence, flips, apart, above]))

    def record(self) -> Consistency:
        """The consistency so far."""
        return self._recorder.record()

    def _reduced(self, values: Tensor, label: Tensor, valid: Tensor) -> Tensor:
        """(U,) in [0, 1]: a sum is put as a share of all pixels of the picture, which does not change its order."""
        reduced = self._reduction(values.float(), label, valid)
        return reduced / label[0].numel() if isinstance(self._reduction, Sum) else reduced

    def _flips(self, indices: IntArray, label: Tensor, valid: Tensor) -> FloatArray:
        classes = self._areas.shape[1]
        shown = torch.nn.functional.one_hot(label, classes) * valid.unsqueeze(-1)
        areas = shown.sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp(min=1).unsqueeze(1)
        return self._moved(indices, areas.float().cpu().numpy())

    def _moved(self, rows: IntArray, areas: FloatArray) -> FloatArray:
        """How far the areas of the classes (U, C) moved since the rows' last visit (U,); 0 at the first."""
        changed: FloatArray = np.abs(areas - self._areas[rows]).sum(axis=1) / 2
        self._areas[rows] = areas
        return np.nan_to_num(changed)
