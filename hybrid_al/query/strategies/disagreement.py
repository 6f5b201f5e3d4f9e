"""Disagreement: the candidates about which a committee, or the model on several views of an image, disagrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Several, hyperparameters
from ...core.types import Need, Query
from ...scores.samples import bald, entropy, mean_std, summed_variance, variation_ratio, vote_entropy
from ..base import About, QueryState
from ..ranking import best_by_score

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

    samples: Several = 25

    needs: ClassVar[frozenset[Need]] = frozenset({"samples"})
    about: ClassVar[About] = GAL

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        return best_by_score("variation_ratio", variation_ratio, state, budget, rng, samples=self.samples)


@dataclass(frozen=True)
@hyperparameters
class MeanSTD:
    """Largest standard deviation over the passes, see `scores.mean_std`. Gal et al. (ICML 2017), section 4.

    The members are those of the learner's committee, or else `samples` passes with dropout; random where it has none.
    """

    samples: Several = 25

    needs: ClassVar[frozenset[Need]] = frozenset({"samples"})
    about: ClassVar[About] = GAL

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        return best_by_score("mean_std", mean_std, state, budget, rng, samples=self.samples)


@dataclass(frozen=True)
@hyperparameters
class VoteEntropy:
    """Largest entropy of the votes, see `scores.vote_entropy`. Dagan and Engelson (ICML 1995).

    The members are those of the learner's committee, or else `samples` passes with dropout; random where it has none.
    """

    samples: Several = 25

    needs: ClassVar[frozenset[Need]] = frozenset({"samples"})
    about: ClassVar[About] = About(
        paper="Dagan, Engelson: *Committee-Based Sampling for Training Probabilistic Classifiers*, ICML 1995; "
        "Settles, section 3.2",
        passes="samples",
        time="M S C",
        memory="M S C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        return best_by_score("vote_entropy", vote_entropy, state, budget, rng, samples=self.samples)


@dataclass(frozen=True)
@hyperparameters
class TTAEntropy:
    """Largest entropy of the mean over `views` views of the image (test-time augmentation).

    Views are random weak ones; `frozen` embeds them at its first such query and reads them back later.
    Cost: `views` passes over the candidates.
    """

    views: Several = 8

    needs: ClassVar[frozenset[Need]] = frozenset({"views"})
    about: ClassVar[About] = AUGMENTATION

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        return best_by_score("tta_entropy", entropy, state, budget, rng, views=self.views)


@dataclass(frozen=True)
@hyperparameters
class TTAVariance:
    """Largest variance over views, summed over classes. Gao et al. (ECCV 2020).

    Views are random weak ones; `frozen` embeds them at its first such query and reads them back later.
    Cost: `views` passes over the candidates.
    """

    views: Several = 8

    needs: ClassVar[frozenset[Need]] = frozenset({"views"})
    about: ClassVar[About] = About(
        paper="Gao et al.: *Consistency-Based Semi-Supervised Active Learning*, ECCV 2020, the selection metric",
        passes="views",
        time="M S C",
        memory="M S C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        return best_by_score("tta_variance", summed_variance, state, budget, rng, views=self.views)


@dataclass(frozen=True)
@hyperparameters
class TTAJensenShannon:
    """Largest Jensen-Shannon divergence of the views: entropy of their mean minus mean of their entropies.

    Views are random weak ones; `frozen` embeds them at its first such query and reads them back later.
    Cost: `views` passes over the candidates.
    """

    views: Several = 8

    needs: ClassVar[frozenset[Need]] = frozenset({"views"})
    about: ClassVar[About] = AUGMENTATION

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        return best_by_score("tta_jsd", bald, state, budget, rng, views=self.views)
