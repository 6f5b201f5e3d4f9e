"""The consistency record of segmentation: maps of two views, reduced on the device to a few numbers an image."""

from __future__ import annotations

from dataclasses import replace

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
    No map is kept. Flips are the total variation between the areas of the classes, as shares of the image, at one visit
    and at the next: a lower bound of the share of pixels that changed. No sample has a class, so `pseudo_label` stays
    -1. The numbers of a part are means over its pixels in the view; a view that shows none of them is no visit.
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

        parts (U, H, W): the part of each pixel, `IGNORE` in padding; None where whole images are recorded
        """
        if evidence is None:
            return
        if not isinstance(evidence, PixelEvidence):
            raise InputError("evidence of a segmentation objective", "PixelEvidence", type(evidence).__name__)
        weak, strong, valid = evidence.weak.float(), evidence.strong.float(), evidence.valid
        confidence, label = weak.max(dim=1)
        if parts is not None:
            self._add_parts(evidence.indices, weak, strong, parts)
            return
        scores = [
            1 - self._reduce(label != strong.argmax(dim=1), label, valid),
            1 - self._reduce(1 - confidence, label, valid),
            self._reduce(self._distance(weak, strong), label, valid),
            1 - self._reduce(confidence < THRESHOLD, label, valid),
        ]
        agreement, mean_confidence, divergence, above = torch.stack(scores).double().cpu().numpy()
        flips = self._flips(evidence.indices, label, valid)
        self._recorder.note(evidence.indices, np.stack([agreement, mean_confidence, flips, divergence, above]))

    def _add_parts(self, indices: IntArray, weak: Tensor, strong: Tensor, parts: Tensor) -> None:
        confidence, label = weak.max(dim=1)
        one_hot = torch.nn.functional.one_hot(label, self._areas.shape[1]).movedim(-1, 0)
        agrees = label == strong.argmax(dim=1)
        maps = [
            agrees.float(),
            confidence,
            self._distance(weak, strong),
            (confidence >= THRESHOLD).float(),
            *one_hot.float(),
        ]
        sums = torch.stack([by_part(m, parts, self._parts)[0] for m in maps])
        pixels = by_part(confidence, parts, self._parts)[1]
        means = (sums / pixels.clamp(min=1)).flatten(1).double().cpu().numpy()
        visible = np.flatnonzero(pixels.flatten().cpu().numpy())
        rows = (indices[:, None] * self._parts + np.arange(self._parts)).ravel()[visible]
        agreement, mean_confidence, divergence, above = means[:4, visible]
        flips = self._area_change(rows, means[4:, visible].T.astype(np.float32))
        self._recorder.note(rows, np.stack([agreement, mean_confidence, flips, divergence, above]))

    def record(self) -> Consistency:
        """The consistency so far."""
        return replace(self._recorder.record(), parts=self._parts)

    def _reduce(self, values: Tensor, label: Tensor, valid: Tensor) -> Tensor:
        """Scores (U,) in [0, 1]; a sum is divided by the pixels of an image, which keeps the order."""
        reduced = self._reduction(values.float(), label, valid)
        return reduced / label[0].numel() if isinstance(self._reduction, Sum) else reduced

    def _flips(self, indices: IntArray, label: Tensor, valid: Tensor) -> FloatArray:
        classes = self._areas.shape[1]
        one_hot = torch.nn.functional.one_hot(label, classes) * valid.unsqueeze(-1)
        areas = one_hot.sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp(min=1).unsqueeze(1)
        return self._area_change(indices, areas.float().cpu().numpy())

    def _area_change(self, rows: IntArray, areas: FloatArray) -> FloatArray:
        """Change (U,) of the areas of the classes (U, C) since the last visit of each row; 0 at the first."""
        change: FloatArray = np.abs(areas - self._areas[rows]).sum(axis=1) / 2
        self._areas[rows] = areas
        return np.nan_to_num(change)
