"""EADA: of the candidates with the largest free energy those whose two lowest energies are closest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.special

from ...core.registry import Share, hyperparameters
from ...core.types import Need, Query
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..last_layer import features_and_head
from ..ranking import best_by_value


@dataclass(frozen=True)
@hyperparameters
class EADA:
    """Xie et al., Active Learning for Domain Adaptation: An Energy-Based Approach (AAAI 2022), section 3.3.

    Outputs are read as energies, E = - logits. First the `keep` share of the largest free energy - log sum exp(- E),
    which are unlike the source, then the smallest gap between the two lowest energies. Its training is the objective
    `energy`.

    keep  share of the candidates that the first step keeps (0.5 in every published configuration)
    """

    keep: Share = 0.5

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Xie et al.: *Active Learning for Domain Adaptation: An Energy-Based Approach*, AAAI 2022, section 3.3",
        passes="1",
        time="M C D",
        memory="M (C + D)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` kept candidates of the smallest gap, ties in random order."""
        check_budget(state, budget)
        features, weight, bias = features_and_head(state)
        logits = features @ weight.T + bias
        kept = best_first(-scipy.special.logsumexp(logits, axis=1), rng)
        kept = kept[: max(int(np.ceil(self.keep * len(kept))), budget)]
        top = np.sort(logits, axis=1)
        values = top[:, -2] - top[:, -1]
        left = np.setdiff1d(np.arange(len(values)), kept)
        values[left] += values.min() - 1  # behind all that are kept
        return best_by_value("free energy, then closeness of two energies", values, state, budget, rng)
