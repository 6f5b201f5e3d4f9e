"""From the steps of a training to its consistency record: evidence is gathered, and written down in bulk."""

from __future__ import annotations

import numpy as np
import torch

from ..core.consistency import Witness
from ..scores.recorder import ConsistencyRecorder
from .base import Evidence, LogitEvidence, Models, Unlabeled

MOST = 2**22  # numbers gathered at a time of each view: 16 MiB in float32


class Evidences:
    """What steps saw, kept on its device until a row comes a second time: the record is the same, up to rounding.

    Written down step by step the record of a `frozen` fit took a tenth of the training, nearly all of it for the calls
    on small arrays (benchmarks/trainer.py).
    """

    def __init__(self, recorder: ConsistencyRecorder) -> None:
        self.recorder = recorder
        self._gathered: list[Evidence] = []
        self._there = np.zeros(len(recorder.seen), dtype=np.bool_)
        self._numbers = 0

    def add(self, evidence: Evidence | None) -> None:
        """One step's evidence about distinct rows; None where the step saw no unlabeled sample."""
        if evidence is None:
            return
        numbers, other = evidence.weak.numel(), self._gathered and type(self._gathered[0]) is not type(evidence)
        if other or self._numbers + numbers > MOST or self._there[evidence.indices].any():
            self.write()
        self._there[evidence.indices] = True
        self._gathered.append(evidence)
        self._numbers += numbers

    def write(self) -> None:
        """Write down what was gathered; what reads the recorder calls this first."""
        if not self._gathered:
            return
        indices = np.concatenate([e.indices for e in self._gathered])
        weak, strong = (torch.cat([getattr(e, view) for e in self._gathered]) for view in ("weak", "strong"))
        together = type(self._gathered[0])(indices, weak, strong)
        self.recorder.update(indices, *(probs.float().cpu().numpy() for probs in together.probs()))
        self._gathered, self._numbers = [], 0
        self._there[:] = False


@torch.no_grad()
def testify(witness: Witness, models: Models, unlabeled: Unlabeled | None, said: Evidence | None) -> Evidence | None:
    """A step's evidence as `Recording.witness` wants it: what the step `said`, or answers in eval mode after it."""
    if witness == "objective" or unlabeled is None:
        return said
    student, teacher = models.student, models.teacher
    weak, strong = {"student": (student, student), "teacher": (teacher, teacher), "both": (teacher, student)}[witness]
    student.eval()  # its batch statistics stay, and nothing is drawn
    logits = weak(unlabeled.weak), strong(unlabeled.strong)
    student.train()
    return LogitEvidence(unlabeled.indices, *logits)
