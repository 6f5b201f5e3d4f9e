"""The consistency record of segmentation: what the views' maps say, reduced to numbers an image while on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .consistency import THRESHOLD, Consistency, ConsistencyRecorder, Recording
from .errors import InputError
from .pixels import Reduction, Sum, divergence
from .semi.base import Evidence
from .semi.dense.base import PixelEvidence
from .types import FloatArray, IntArray


class MapRecorder:
    """Accumulates the evidence of one fit over n samples; `record()` freezes it.

    Agreement, confidence, divergence and time above the threshold are those of pixels, reduced as a query's scores are.
    No map is kept: flips are the total variation between the areas of the classes at one visit and at the next, each
    a share of the image, which is a lower bound of the share of its pixels that changed. No sample has a class, so
    `pseudo_label` stays -1.
    """

    def __init__(self, n: int, classes: int, reduction: Reduction, recording: Recording) -> None:
        self._recorder = ConsistencyRecorder(n, recording)
        self._reduction = reduction
        self._areas = np.full((n, classes), np.nan, dtype=np.float32)

    @property
    def seen(self) -> IntArray:
        """Visits of each row so far (N,)."""
        return self._recorder.seen

    @torch.no_grad()
    def add(self, evidence: Evidence | None) -> None:
        """One step's evidence about distinct rows; None where the step saw no unlabeled sample."""
        if evidence is None:
            return
        if not isinstance(evidence, PixelEvidence):
            raise InputError("evidence of a segmentation objective", "PixelEvidence", type(evidence).__name__)
        weak, strong, valid = evidence.weak.float(), evidence.strong.float(), evidence.valid
        sure, label = weak.max(dim=1)
        parts = [
            1 - self._reduced(label != strong.argmax(dim=1), label, valid),
            1 - self._reduced(1 - sure, label, valid),
            self._reduced(divergence(weak, strong), label, valid),
            1 - self._reduced(sure < THRESHOLD, label, valid),
        ]
        agreed, confident, apart, above = torch.stack(parts).double().cpu().numpy()
        flips = self._flips(evidence.indices, label, valid)
        self._recorder.note(evidence.indices, np.stack([agreed, confident, flips, apart, above]))

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
        areas = (shown.sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp(min=1).unsqueeze(1)).float().cpu().numpy()
        changed: FloatArray = np.abs(areas - self._areas[indices]).sum(axis=1) / 2
        self._areas[indices] = areas
        return np.nan_to_num(changed)
