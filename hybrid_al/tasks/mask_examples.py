"""Held-out images with what is predicted of them and what is true, for the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..core.learner import Learner
from ..core.types import IGNORE, IntArray
from ..experiment import Example
from ..metrics.holdout import MaskHoldout
from ..metrics.segmentation import structures

MOST_EXAMPLES = 12  # images


def examples(
    holdout: MaskHoldout, classes: Sequence[str], learner: Learner, samples: Sequence[int] = ()
) -> Iterator[Example]:
    """These samples; where none are named, evenly spread images of test, else of val, that show a structure."""
    indices = np.sort(np.asarray(samples, dtype=np.int64)) if samples else _that_show(holdout)
    for batch in learner.predict(indices) if len(indices) else ():
        for i, probs, truth in zip(batch.indices.tolist(), batch.probs, holdout.truth(batch.indices), strict=True):
            prediction = probs.mean(axis=0).argmax(axis=0).astype(np.uint8)
            dice = zip(classes[1:], structures(prediction, truth, len(classes), (1.0, 1.0))[0].tolist(), strict=True)
            note = ", ".join(f"{name} {value:.2f}" for name, value in dice if np.isfinite(value))  # nan: neither has it
            yield Example(i, truth, prediction, f"Dice: {note}")


def _that_show(holdout: MaskHoldout) -> IntArray:
    rows = holdout.samples("test") if len(holdout.samples("test")) else holdout.samples("val")
    candidates = _spread(rows, 20 * MOST_EXAMPLES)
    maps = holdout.truth(candidates) if len(candidates) else ()
    structure = [bool(((truth > 0) & (truth != IGNORE)).any()) for truth in maps]
    return np.sort(_spread(candidates[np.asarray(structure, dtype=np.bool_)], MOST_EXAMPLES))


def _spread(rows: IntArray, most: int) -> IntArray:
    return rows[np.unique(np.linspace(0, len(rows) - 1, most).round().astype(np.int64))] if len(rows) > most else rows
