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
    """Random, but a `share` of the picks comes from samples in which the model predicts a structure.

    Where too few samples have one, others fill up. A sample has a structure where the predicted class of a pixel is
    not the background; a sample that has one class, where that class is not.
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
        has_structure = state.score(scores.foreground) > 0
        order = rng.permutation(len(state.candidates))
        structures = order[has_structure[order]][: math.ceil(self.share * budget)]
        picks = np.concatenate([structures, order[~np.isin(order, structures)]])[:budget]
        return Query(state.candidates[rng.permutation(picks)])
