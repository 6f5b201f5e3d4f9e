"""FreeSel: images whose local patterns are far from those of what is picked, by one pass of a pretrained network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ...core.embeddings import BLOCK, unit_rows
from ...core.registry import hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...kernels.distances import draw
from ..base import About, QueryState, check_budget


@dataclass(frozen=True)
@hyperparameters
class FreeSel:
    """Xie et al., Towards Free Data Selection with General-Purpose Models (NeurIPS 2023), section 3.

    An image is its patterns: centres of the tokens that have half of the attention. A pattern is drawn in proportion
    to its squared distance (1 - cosine) to the nearest pattern of picks and labels, and its image is picked. Without
    labels the first is random.

    sampling  `draw` as above, or `farthest`: always the pattern that is farthest
    """

    sampling: Literal["draw", "farthest"] = "draw"

    needs: ClassVar[frozenset[Need]] = frozenset({"patterns"})
    about: ClassVar[About] = About(
        paper="Xie et al.: *Towards Free Data Selection with General-Purpose Models*, NeurIPS 2023, section 3",
        passes="0; once one of the encoder over the pool",
        time="25 N (L + b) D, of 5 patterns an image",
        memory="5 M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked."""
        check_budget(state, budget)
        rows, labeled = _patterns(state, state.candidates), state.labels.labeled
        reach = np.full(rows.shape[:2], np.inf)
        for start in range(0, len(labeled), 64):
            known = _patterns(state, labeled[start : start + 64])
            reach = np.minimum(reach, _to(rows, known.reshape(-1, rows.shape[2])))
        picks, reasons = list[int](), list[str]()
        while len(picks) < budget:
            mass = np.where(np.isfinite(reach), reach, 0.0)
            if not len(labeled) and not picks:
                pick, reason = int(rng.integers(len(rows))), "a random start"
            elif not mass.any():  # all that is left has the patterns of picks
                pick = int(rng.choice(np.setdiff1d(np.arange(len(rows)), picks)))
                reason = "a random one: nothing is left that differs from labels and picks"
            else:
                place = int(mass.argmax()) if self.sampling == "farthest" else draw(mass.ravel() ** 2, rng)
                pick = place // rows.shape[1]
                reason = f"a pattern at {mass.ravel()[place]:.3g} of the nearest labeled or picked"
            picks.append(pick)
            reasons.append(reason)
            reach = np.minimum(reach, _to(rows, rows[pick]))
            reach[pick] = 0
        return Query(state.candidates[picks], reasons=tuple(reasons))


def _patterns(state: QueryState, indices: IntArray) -> FloatArray:
    """Unit patterns (K, P, D) float32, without a second copy of all."""
    rows = np.empty((len(indices), *state.extra("patterns", indices[:1]).shape[1:]), dtype=np.float32)
    for start in range(0, len(indices), BLOCK):
        block = slice(start, start + BLOCK)
        rows[block] = unit_rows(state.extra("patterns", indices[block]).astype(np.float32))
    return rows


def _to(rows_KPD: FloatArray, others_QD: FloatArray) -> FloatArray:
    """1 - the largest cosine of each row to the others (K, P), 0 where it is all but 0."""
    largest = np.concatenate(
        [(rows_KPD[i : i + BLOCK] @ others_QD.T).max(axis=2) for i in range(0, len(rows_KPD), BLOCK)]
    )
    distance: FloatArray = np.where(largest > 1 - 1e-6, 0, 1 - largest).astype(np.float64)
    return distance
