"""Cold starts by proxy tasks: what a network of pseudo-masks or of hidden squares is least sure of, and surprisal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ...core.embeddings import unit_rows
from ...core.registry import hyperparameters
from ...core.types import Need, Query
from ...kernels.distances import squared_to
from ...kernels.kmeans import k_means
from ..base import About, QueryState, check_budget
from ..ranking import best_by_value

Measure = Literal["proxy_entropy", "proxy_variance", "reconstruction_variance"]


@dataclass(frozen=True)
@hyperparameters
class ProxyUncertainty:
    """The images of which a network that learned pseudo-masks is least sure; no label is needed.

    Nath et al., Warm Start Active Learning with Proxy Labels and Selection via Semi-supervised Fine-Tuning (MICCAI
    2022), section 2.1; the proxy rules of COLosSAL (Liu et al., MICCAI 2023), section 2. For whole volumes:
    `hybrid` with the term of that name and the batch maker `whole_groups`.

    score  entropy of the mean, or variance, over 20 passes with dropout, of the foreground; or the variance of the
           restored image
    where  mean over the whole image (`global`), or over the box around the pseudo-mask (`local`)
    """

    score: Measure = "proxy_entropy"
    where: Literal["global", "local"] = "global"

    needs: ClassVar[frozenset[Need]] = frozenset({"proxy"})
    about: ClassVar[About] = About(
        paper="Nath et al.: *Warm Start Active Learning with Proxy Labels and Selection via Semi-supervised "
        "Fine-Tuning*, MICCAI 2022, section 2.1; Liu et al.: *COLosSAL*, MICCAI 2023, section 2",
        passes="0; once 28 of a small network over the pool",
        time="M log M",
        memory="N",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest value, ties in random order."""
        check_budget(state, budget)
        values = state.extra(self.score, state.candidates)[:, int(self.where == "local")]
        return best_by_value(self.score, values, state, budget, rng)


@dataclass(frozen=True)
@hyperparameters
class Surprisal:
    """ALPS: of k-means clusters of surprisal vectors the candidate nearest to each centre.

    Yuan, Lin and Boyd-Graber, Cold-Start Active Learning through Self-Supervised Language Modeling (EMNLP 2020),
    section 3. The vector of an image is how badly a network restores each of its 64 cells where it is hidden, of unit
    length.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"proxy"})
    about: ClassVar[About] = About(
        paper="Yuan, Lin, Boyd-Graber: *Cold-start Active Learning through Self-supervised Language Modeling*, EMNLP "
        "2020, section 3",
        passes="0; once 28 of a small network over the pool",
        time="64 M b a turn of k-means",
        memory="64 N",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, the one of the largest cluster first; random others where clusters are too few."""
        check_budget(state, budget)
        rows = unit_rows(state.extra("surprisal", state.candidates).astype(np.float32))
        centres, cluster = k_means(rows, budget, rng)
        squared = squared_to(rows, centres[cluster])
        sizes = np.bincount(cluster)
        first = np.lexsort((squared, cluster))[np.concatenate([[0], sizes.cumsum()[:-1]])]
        picks = first[np.argsort(-sizes, kind="stable")]
        others = rng.permutation(np.setdiff1d(np.arange(len(rows)), picks))[: budget - len(picks)]
        words = [f"nearest to the centre of {size} images of like surprisal" for size in np.sort(sizes)[::-1]]
        reasons = tuple(words + ["a random one, for clusters are too few"] * len(others))
        return Query(state.candidates[np.concatenate([picks, others])], reasons=reasons)
