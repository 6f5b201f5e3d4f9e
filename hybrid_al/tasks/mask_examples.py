"""Held-out images with what is predicted of them and what is true, for the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..core.learner import Learner
from ..core.types import IGNORE, IntArray
from ..experiment import Example
from ..metrics.holdout import MaskHoldout
from ..metrics.segmentation import structures

SHOWN = 12  # images


def examples(holdout: MaskHoldout, classes: Sequence[str], learner: Learner) -> Iterator[Example]:
    """Evenly spread images of test, else of val, that show a structure."""
    rows = holdout.samples("test") if len(holdout.samples("test")) else holdout.samples("val")
    some = _spread(rows, 20 * SHOWN)
    shows = [bool(((truth > 0) & (truth != IGNORE)).any()) for truth in holdout.truth(some)] if len(some) else []
    chosen = np.sort(_spread(some[np.asarray(shows, dtype=np.bool_)], SHOWN))
    for batch in learner.predict(chosen) if len(chosen) else ():
        for i, probs, truth in zip(batch.indices.tolist(), batch.probs, holdout.truth(batch.indices), strict=True):
            predicted = probs.mean(axis=0).argmax(axis=0).astype(np.uint8)
            dice = zip(classes[1:], structures(predicted, truth, len(classes), (1.0, 1.0))[0].tolist(), strict=True)
            note = ", ".join(f"{name} {value:.2f}" for name, value in dice if np.isfinite(value))  # nan: neither has it
            yield Example(i, truth, predicted, f"Dice: {note}")


def _spread(rows: IntArray, most: int) -> IntArray:
    return rows[np.unique(np.linspace(0, len(rows) - 1, most).round().astype(np.int64))] if len(rows) > most else rows
