"""Disagreement: the candidates about which a committee, or the model on several views of an image, disagrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Passes, hyperparameters
from ...core.types import Need, Query
from ..base import About, QueryState
from ..ranking import best_by_term
from ..terms import PASSES, TERMS, VIEWS

GAL = About(
    paper="Gal et al.: *Deep Bayesian Active Learning*, ICML 2017, section 4",
    passes="samples",
    time="M S C",
    memory="M S C",
)
AUGMENTATION = About(
    paper="test-time augmentation, as in Gaillochet, Desrosiers, Lombaert: *Active learning for medical image "
    "segmentation with stochastic batches*, Medical Image Analysis 2023",
    passes="views",
    time="M S C",
    memory="M S C",
)


@dataclass(frozen=True)
@hyperparameters
class VariationRatio:
    """Smallest majority among the votes, see `scores.variation_ratio`. Gal et al. (ICML 2017), section 4.

    The members are those of the learner's committee, or else `samples` passes with dropout; random where it has none.
    """

    samples: Passes = PASSES

    needs: ClassVar[frozenset[Need]] = TERMS["variation_ratio"].needs
    about: ClassVar[About] = GAL

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        return best_by_term("variation_ratio", state, budget, rng, samples=self.samples)


@dataclass(frozen=True)
@hyperparameters
class MeanSTD:
    """Largest standard deviation over the passes, see `scores.mean_std`. Gal et al. (ICML 2017), section 4.

    The members are those of the learner's committee, or else `samples` passes with dropout; random where it has none.
    """

    samples: Passes = PASSES

    needs: ClassVar[frozenset[Need]] = TERMS["mean_std"].needs
    about: ClassVar[About] = GAL

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        return best_by_term("mean_std", state, budget, rng, samples=self.samples)


@dataclass(frozen=True)
@hyperparameters
class VoteEntropy:
    """Largest entropy of the votes, see `scores.vote_entropy`. Dagan and Engelson (ICML 1995).

    The members are those of the learner's committee, or else `samples` passes with dropout; random where it has none.
    """

    samples: Passes = PASSES

    needs: ClassVar[frozenset[Need]] = TERMS["vote_entropy"].needs
    about: ClassVar[About] = About(
        paper="Dagan, Engelson: *Committee-Based Sampling for Training Probabilistic Classifiers*, ICML 1995; "
        "Settles, section 3.2",
        passes="samples",
        time="M S C",
        memory="M S C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        return best_by_term("vote_entropy", state, budget, rng, samples=self.samples)


@dataclass(frozen=True)
@hyperparameters
class TTAEntropy:
    """Largest entropy of the mean over `views` views of the image (test-time augmentation).

    Views are random weak ones; `frozen` embeds them at its first such query and reads them back later.
    Cost: `views` passes over the candidates.
    """

    views: Passes = VIEWS

    needs: ClassVar[frozenset[Need]] = TERMS["tta_entropy"].needs
    about: ClassVar[About] = AUGMENTATION

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        return best_by_term("tta_entropy", state, budget, rng, views=self.views)


@dataclass(frozen=True)
@hyperparameters
class TTAVariance:
    """Largest variance over views, summed over classes. Gao et al. (ECCV 2020).

    Views are random weak ones; `frozen` embeds them at its first such query and reads them back later.
    Cost: `views` passes over the candidates.
    """

    views: Passes = VIEWS

    needs: ClassVar[frozenset[Need]] = TERMS["tta_variance"].needs
    about: ClassVar[About] = About(
        paper="Gao et al.: *Consistency-Based Semi-Supervised Active Learning*, ECCV 2020, the selection metric",
        passes="views",
        time="M S C",
        memory="M S C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        return best_by_term("tta_variance", state, budget, rng, views=self.views)


@dataclass(frozen=True)
@hyperparameters
class TTAJensenShannon:
    """Largest Jensen-Shannon divergence of the views: entropy of their mean minus mean of their entropies.

    Views are random weak ones; `frozen` embeds them at its first such query and reads them back later.
    Cost: `views` passes over the candidates.
    """

    views: Passes = VIEWS

    needs: ClassVar[frozenset[Need]] = TERMS["tta_jsd"].needs
    about: ClassVar[About] = AUGMENTATION

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        return best_by_term("tta_jsd", state, budget, rng, views=self.views)
