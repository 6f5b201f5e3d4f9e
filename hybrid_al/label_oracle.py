"""Who holds the truth where a sample has several labels that do not exclude each other: oracle, holdout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .core.types import Annotation, IntArray


@dataclass(frozen=True)
class SimulatedLabels:
    """Answers with the labels that a sample has, from the truth (N, L) in {0, 1}.

    A sample of which one label is unknown (-1) is skipped: an answer says of every label whether it is there.
    """

    truth: IntArray

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; answers at once."""
        return tuple(self._answer(i, round) for i in query.tolist())

    def _answer(self, index: int, round: int) -> Annotation:
        labels = self.truth[index]
        if (labels < 0).any():
            return Annotation(index, "skip", None, "simulated", round)
        return Annotation(index, "classes", tuple(np.flatnonzero(labels).tolist()), "simulated", round)
