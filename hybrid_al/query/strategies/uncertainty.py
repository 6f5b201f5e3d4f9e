"""Uncertainty sampling: the best-scored candidates by one pass of the model, or by many with dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Passes, hyperparameters
from ...core.types import Need, Query
from ..base import About, QueryState
from ..ranking import best_by_term
from ..terms import PASSES, TERMS

SETTLES = About(
    paper="Settles: *Active Learning Literature Survey*, 2009, section 3.1",
    passes="1",
    time="M C",
    memory="M C",
)


@dataclass(frozen=True)
class Entropy:
    """Largest predictive entropy. Settles, Active Learning Literature Survey (2009), section 3.1."""

    needs: ClassVar[frozenset[Need]] = TERMS["entropy"].needs
    about: ClassVar[About] = SETTLES

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` most uncertain candidates, ties in random order."""
        return best_by_term("entropy", state, budget, rng)


@dataclass(frozen=True)
class Margin:
    """Smallest gap between the two most probable classes. Settles (2009), section 3.1."""

    needs: ClassVar[frozenset[Need]] = TERMS["margin"].needs
    about: ClassVar[About] = SETTLES

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` most uncertain candidates, ties in random order."""
        return best_by_term("margin", state, budget, rng)


@dataclass(frozen=True)
class LeastConfidence:
    """Smallest probability of the most probable class. Settles (2009), section 3.1."""

    needs: ClassVar[frozenset[Need]] = TERMS["least_confidence"].needs
    about: ClassVar[About] = SETTLES

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` most uncertain candidates, ties in random order."""
        return best_by_term("least_confidence", state, budget, rng)


@dataclass(frozen=True)
class Ratio:
    """Second most probable over most probable class, largest first: `scores.ratio`. Cost: as `Margin`."""

    needs: ClassVar[frozenset[Need]] = TERMS["ratio"].needs
    about: ClassVar[About] = About(
        paper="Monarch: *Human-in-the-Loop Machine Learning*, Manning 2021, section 3.2",
        passes="1",
        time="M C",
        memory="M C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` most uncertain candidates, ties in random order."""
        return best_by_term("ratio", state, budget, rng)


@dataclass(frozen=True)
@hyperparameters
class MCDropoutEntropy:
    """Largest entropy of the mean over `samples` passes with dropout. Gal et al. (ICML 2017), section 4.

    The same as `Entropy` where the learner has no dropout.
    """

    samples: Passes = PASSES

    needs: ClassVar[frozenset[Need]] = TERMS["mc_dropout_entropy"].needs
    about: ClassVar[About] = About(
        paper="Gal, Islam, Ghahramani: *Deep Bayesian Active Learning with Image Data*, ICML 2017, section 4",
        passes="samples",
        time="M S C",
        memory="M S C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` most uncertain candidates, ties in random order."""
        return best_by_term("mc_dropout_entropy", state, budget, rng, samples=self.samples)


@dataclass(frozen=True)
@hyperparameters
class Bald:
    """Largest disagreement of `samples` passes with dropout, see `scores.bald`. Gal et al. (ICML 2017), section 4.

    Of a committee, its members in the place of the passes. Random where the learner has neither: all passes agree.
    """

    samples: Passes = PASSES

    needs: ClassVar[frozenset[Need]] = TERMS["bald"].needs
    about: ClassVar[About] = About(
        paper="Houlsby et al.: *Bayesian Active Learning for Classification and Preference Learning*, 2011, section"
        " 2; with dropout as Gal et al., section 4",
        passes="samples",
        time="M S C",
        memory="M S C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates that the passes disagree about most, ties in random order."""
        return best_by_term("bald", state, budget, rng, samples=self.samples)


@dataclass(frozen=True)
class ExpectedDice:
    """Smallest Dice that the model expects of its own prediction, see `scores.expected_dice`; for masks."""

    needs: ClassVar[frozenset[Need]] = TERMS["expected_dice"].needs
    about: ClassVar[About] = About(
        paper="ours; the expected Dice as a measure after Atzeni et al.: *Deep active learning for suggestive "
        "segmentation of biomedical image stacks via optimisation of Dice scores and traced boundary length*, Medical "
        "Image Analysis 2022",
        passes="1",
        time="M C",
        memory="M C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the smallest expected Dice, ties in random order."""
        return best_by_term("expected_dice", state, budget, rng)


@dataclass(frozen=True)
class Ripu:
    """Largest impurity x entropy, see `scores.ripu`; for regions of masks (`task.region`).

    Xie et al. (CVPR 2022), section 3.2, score the square around every pixel and drop those that overlap a better one:
    that is `task.region: ripu`. Here the regions are those of the recipe, which do not overlap.
    """

    needs: ClassVar[frozenset[Need]] = TERMS["ripu"].needs
    about: ClassVar[About] = About(
        paper="Xie et al.: *Towards Fewer Annotations: Active Learning via Region Impurity and Prediction Uncertainty "
        "for Domain Adaptive Semantic Segmentation*, CVPR 2022, section 3.2",
        passes="1",
        time="M C",
        memory="M C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        return best_by_term("ripu", state, budget, rng)
