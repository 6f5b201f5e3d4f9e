"""What a query strategy gets and returns: the only module that all strategies share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..core.consistency import Consistency
from ..core.embeddings import Embeddings, Metric
from ..core.labels import LabelStore
from ..core.learner import Learner
from ..core.types import FloatArray, IntArray, Need, PredictionBatch, Query
from ..errors import InputError
from ..regions.base import Regions, Whole

COLD: frozenset[Need] = frozenset({"embeddings", "stage0", "costs", "tissue", "domains", "proxy", "patterns"})
"""Needs that are met before there is a model: a strategy that needs no more can start cold."""

EXTRAS: Mapping[Need, tuple[str, ...]] = {
    "stage0": ("pretext_loss", "confidence", "variability"),
    "history": ("previous_probs",),
    "costs": ("cost",),
    "tissue": ("tissue",),
    "domains": ("source",),
    "clicks": ("clicks",),
    "proxy": ("proxy_entropy", "proxy_variance", "reconstruction_variance", "surprisal"),
    "patterns": ("patterns",),
}
"""The arrays of `QueryState.extras` by the need that asks for them.

pretext_loss, confidence, variability  (N,) as pretraining recorded them (`stage0/records.npz`); nan where pretraining
                never saw the sample
previous_probs  (N, C) class probabilities by the model of the round before the last; (N, 0) where there is none
cost            (N,) of an answer, from the recipe (`oracle.costs`)
tissue          (N,) share of an image that is body or tissue (`data.tissue`)
clicks          (N,) of the polygons around the structures of a drawn region or image; -1 where none is drawn
source          (N,) 1 for a sample of the source, whose labels are given (`domains.source`), 0 for one of the target
proxy_entropy, proxy_variance, reconstruction_variance  (N, 2) uncertainty of a network of proxy tasks: mean over the
                image, and over the box around its pseudo-mask (`learners.proxy`)
surprisal       (N, 64) how badly it restores each cell of an image where it is hidden
patterns        (N, P, D) centres of an image's tokens (`learners.patterns`)
"""

Predictor = Callable[[IntArray, int, int], Iterator[PredictionBatch]]
"""(indices, samples, views) -> prediction batches, in the order of the indices."""

Scorer = Callable[[str, IntArray, int, int], FloatArray]
Scoring = Callable[[Learner, Predictor, Regions | Whole], Scorer]
"""A `Scorer`: (name of a function of `scores`, indices, samples, views) -> its value for each sample (K,) or (K, D),
reduced over pixels or labels. Where samples have pixels the name may be `types.GRADIENTS`, `FEATURES` or
`CLASS_FEATURES`."""


@dataclass(frozen=True)
class QueryState:
    """All that a strategy may read; no model, no path, no config.

    Where regions are asked about, positions and rows are those of regions (`regions/base.py`).

    candidates  (M,) positions that may be asked about, ascending
    groups      (N,) group code of each manifest row
    scorer      where pixels have classes, or samples several labels: a sample then has scores, but no class
                probabilities of its own
    from_record  where the rows of the consistency record are not those of the state: (a value of each row of the
                record, candidates) -> values of the candidates (M,)
    extras      arrays (N,) or (N, K) by name, from stage 0, the learner or the recipe (see `EXTRAS`)
    classes     number of classes of the task, or of labels where samples have several; None: not known
    """

    round: int
    labels: LabelStore
    candidates: IntArray
    groups: IntArray
    embeddings: Embeddings | None = None
    predictor: Predictor | None = None
    scorer: Scorer | None = None
    consistency: Consistency | None = None
    from_record: Callable[[FloatArray, IntArray], FloatArray] | None = None
    extras: Mapping[str, FloatArray] = field(default_factory=dict)
    classes: int | None = None

    def predictions(self, samples: int = 1, views: int = 1) -> Iterator[PredictionBatch]:
        """Predictions for the candidates, in their order, as a stream; costs `samples * views` passes."""
        if self.predictor is None:
            raise InputError(f"round {self.round}", "a trained model (predictions)", "none yet")
        return self.predictor(self.candidates, samples, views)

    def probs(self, samples: int = 1, views: int = 1) -> FloatArray:
        """Class probabilities (M, S, C) of all candidates; InputError where one is negative or they do not sum to 1."""
        if self.scorer is not None:
            raise InputError(f"query of round {self.round}", "a strategy that scores samples", "one that needs classes")
        batches = list(self.predictions(samples, views))
        if not np.array_equal(np.concatenate([b.indices for b in batches]), self.candidates):
            raise InputError(f"predictions of round {self.round}", "the candidates in their order", "another order")
        probs = np.concatenate([b.probs for b in batches])
        valid = (probs >= 0).all(axis=2) & (abs(probs.sum(axis=2) - 1) <= 1e-3)  # False for what is not finite
        bad = np.flatnonzero(~valid.all(axis=1))
        if bad.size:
            where = f"predictions of round {self.round}, sample {self.candidates[bad[0]]}"
            raise InputError(where, "probabilities that sum to one", str(probs[bad[0]].tolist())[:60])
        return probs

    def score(self, score: Callable[[FloatArray], FloatArray], samples: int = 1, views: int = 1) -> FloatArray:
        """A function of `scores` for each candidate (M,), reduced over pixels or labels where it has such."""
        if self.scorer is None:
            return score(self.probs(samples, views))
        return self.scorer(score.__name__, self.candidates, samples, views)

    def extra(self, name: str, indices: IntArray) -> FloatArray:
        """Rows (K,) or (K, ...) of an array of `extras` in float64; InputError where one is not finite."""
        if name not in self.extras:
            need = next((need for need, names in EXTRAS.items() if name in names), name)
            available = ", ".join(sorted(self.extras)) or "nothing"
            raise InputError(f"round {self.round}", f"{name} of every sample (need {need!r})", available)
        rows = np.asarray(self.extras[name][indices], dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=tuple(range(1, rows.ndim))))
        if bad.size:
            raise InputError(f"{name} of sample {indices[bad[0]]}", "finite numbers", "nan or inf")
        return rows

    def record(self, name: str, indices: IntArray) -> FloatArray:
        """Rows (K,) of a record of stage 0; a sample that pretraining never saw (nan) gets the median of the others."""
        if name not in self.extras:
            self.extra(name, indices)
        values = np.asarray(self.extras[name][indices], dtype=np.float64)
        finite = np.isfinite(values)
        if not finite.any():
            raise InputError(f"round {self.round}: {name}", "a finite number of one sample at least", "none")
        return np.where(finite, values, np.median(values[finite]))

    def vectors(self, indices: IntArray, metric: Metric = "l2") -> FloatArray:
        """Embeddings of some samples (K, D) float32."""
        if self.embeddings is None:
            raise InputError(f"round {self.round}", "embeddings (stage 0)", "none")
        rows = len(self.embeddings.vectors) * self.embeddings.parts
        if rows != self.labels.n:
            expected = f"embeddings of this manifest, {self.labels.n} rows"
            raise InputError(f"round {self.round}", expected, f"{rows} rows")
        return self.embeddings.take(indices, metric)


@dataclass(frozen=True)
class About:
    """The class variable `about` of a registered strategy or batch maker; `catalogue.py` prints it.

    time and memory are up to a factor, in N samples of the pool, M candidates, L labels, b budget, D dimensions,
    C classes, S passes, and hyper-parameters by name.

    paper   the work that it follows, with its section
    passes  forward passes of the model over the M candidates
    time    of the choice, without the passes
    memory  numbers held at a time, without embeddings and probabilities, which exist anyway
    """

    paper: str
    passes: str
    time: str
    memory: str


class QueryStrategy(Protocol):
    """A frozen dataclass of hyper-parameters; `STRATEGIES[name]()` builds it with its published defaults."""

    @property
    def needs(self) -> frozenset[Need]:
        """What `select` reads of the state; the loop computes nothing else."""
        ...

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` distinct candidates, best first."""
        ...


def check_query(query: Query, state: QueryState, budget: int) -> Query:
    """The query, if it is `budget` distinct candidates, else InputError; the loop checks every strategy by this."""
    picks = query.indices
    if picks.shape != (budget,):
        raise InputError("query", f"{budget} picks", str(picks.shape))
    if len(np.unique(picks)) != budget:
        raise InputError("query", "distinct picks", f"{budget - len(np.unique(picks))} repeated")
    if not np.isin(picks, state.candidates).all():
        raise InputError("query", "only candidates", f"{int((~np.isin(picks, state.candidates)).sum())} others")
    return query


def check_budget(state: QueryState, budget: int) -> None:
    """InputError where the budget is not between 1 and the number of candidates."""
    if not 1 <= budget <= len(state.candidates):
        raise InputError(f"budget of round {state.round}", f"1 to {len(state.candidates)} candidates", str(budget))
