"""Foreground-aware random: the baseline of segmentation that most methods fail to beat on volumes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Share, hyperparameters
from ...core.types import Need, Query
from ...scores import samples as scores
from ..base import About, QueryState, check_budget


@dataclass(frozen=True)
@hyperparameters
class ForegroundRandom:
    """Random, but for a `share` of the picks that comes from samples in which the model sees a structure.

    Where too few samples show one, the rest fill up. A structure is a pixel whose largest probability is no
    background's; of a sample with one class, that class.
    """

    share: Share = 2 / 3

    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})
    about: ClassVar[About] = About(
        paper="Lüth et al.: *nnActive*, TMLR 2025, Random 66 % FG; there by the truth, here by the last model",
        passes="1",
        time="M",
        memory="M",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` distinct candidates in random order."""
        check_budget(state, budget)
        shown = state.scored(scores.foreground) > 0
        mixed = rng.permutation(len(state.candidates))
        first = mixed[shown[mixed]][: math.ceil(self.share * budget)]
        picks = np.concatenate([first, mixed[~np.isin(mixed, first)]])[:budget]
        return Query(state.candidates[rng.permutation(picks)])
