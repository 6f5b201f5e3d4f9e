"""From the steps of a training to its consistency record: evidence is collected, and written in bulk."""

from __future__ import annotations

import numpy as np
import torch

from ..core.consistency import Witness
from ..scores.recorder import ConsistencyRecorder
from .base import Evidence, LogitEvidence, Models, Unlabeled

MOST = 2**22  # numbers of each view that are collected at a time: 16 MiB in float32


class Evidences:
    """Evidence of steps, on its device until a row comes a second time: the record is the same, up to rounding.

    Written step by step, the record of a `frozen` fit took a tenth of the training, nearly all of it for calls on small
    arrays (benchmarks/trainer.py).
    """

    def __init__(self, recorder: ConsistencyRecorder) -> None:
        self.recorder = recorder
        self._pending: list[Evidence] = []
        self._has_row = np.zeros(len(recorder.seen), dtype=np.bool_)
        self._count = 0

    def add(self, evidence: Evidence | None) -> None:
        """One step's evidence about distinct rows; None where the step saw no unlabeled sample."""
        if evidence is None:
            return
        numbers, other_kind = evidence.weak.numel(), self._pending and type(self._pending[0]) is not type(evidence)
        if other_kind or self._count + numbers > MOST or self._has_row[evidence.indices].any():
            self.write()
        self._has_row[evidence.indices] = True
        self._pending.append(evidence)
        self._count += numbers

    def write(self) -> None:
        """Write the collected evidence; call it before the recorder is read."""
        if not self._pending:
            return
        indices = np.concatenate([e.indices for e in self._pending])
        weak, strong = (torch.cat([getattr(e, view) for e in self._pending]) for view in ("weak", "strong"))
        batch = type(self._pending[0])(indices, weak, strong)
        self.recorder.update(indices, *(probs.float().cpu().numpy() for probs in batch.probs()))
        self._pending, self._count = [], 0
        self._has_row[:] = False


@torch.no_grad()
def testify(
    witness: Witness, models: Models, unlabeled: Unlabeled | None, evidence: Evidence | None
) -> Evidence | None:
    """A step's evidence as `Recording.witness` sets it: that of the step, or of passes in eval mode after it."""
    if witness == "objective" or unlabeled is None:
        return evidence
    student, teacher = models.student, models.teacher
    weak, strong = {"student": (student, student), "teacher": (teacher, teacher), "both": (teacher, student)}[witness]
    student.eval()  # its batch statistics stay, and nothing is drawn
    logits = weak(unlabeled.weak), strong(unlabeled.strong)
    student.train()
    return LogitEvidence(unlabeled.indices, *logits)
