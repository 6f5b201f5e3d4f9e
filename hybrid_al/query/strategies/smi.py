"""Submodular measures: candidates like exemplars of rare classes, unlike what is labeled, and unlike each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ...core.registry import Amount, Count, Positive, Whole, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...errors import InputError
from ...kernels.greedy import lazy_greedy
from ..base import About, QueryState, check_budget
from ..cover import CoverProblem, cover_problem

Measure = Literal["flqmi", "flvmi", "gcmi", "logdetmi", "flcg", "logdetcg", "flcmi"]
CELLS = 2**22  # similarities computed at a time
TIE = 1e-4  # weight in flvmi of what breaks ties


@dataclass(frozen=True)
@hyperparameters
class SubmodularMutualInformation:
    """SIMILAR (Kothawade et al., NeurIPS 2021), section 3, for rare classes; CLINICAL is the same on medical images.

    Greedily the batch A of largest mutual information with the exemplars Q, the labeled samples of some classes. The
    similarity s is (1 + cosine) / 2 between embeddings.

    flqmi     sum over Q of the largest s to A, and eta times the sum over A of the largest s to Q
    flvmi     sum over the pool of the smaller of the largest s to A and eta times the largest s to Q. A few
              picks share all that there is to share. So of picks that add as much, or nothing, that comes first which
              serves the pool best: the sum over the pool of its largest s to A, weighted by that to Q
    gcmi      2 eta times the sum of s between A and Q: no diversity
    logdetmi  log det S(A) - log det(S(A) - eta^2 S(A, Q) S(Q)^-1 S(Q, A)), with `noise` on the diagonal of S

    Conditional gain over labeled samples P that the batch is to be unlike, and conditional mutual information, which is
    to be like Q too (section 3; guided and private summaries of PRISM, Kothawade et al., AAAI 2022):

    flcg      sum over the pool of what the largest s to A has above nu times the largest s to P
    logdetcg  log det(S(A) - nu^2 S(A, P) S(P)^-1 S(P, A))
    flcmi     flvmi's sum, of what each term has above nu times the largest s to P

    classes  whose samples are exemplars; None: the class with the fewest labels (1 or more), or all such in a tie
    private  classes of P; None: all labeled samples, but for flcmi those that are no exemplars
    nu       hardness of P, as eta is of Q; for logdetcg 1 at most
    rows     for flvmi, flcg and flcmi, a larger pool is represented by a random sample of so many
    """

    measure: Measure = "flqmi"
    classes: tuple[Whole, ...] | None = None
    eta: Positive = 1.0
    private: tuple[Whole, ...] | None = None
    nu: Amount = 1.0
    noise: Positive = 0.01
    rows: Count = 20_000

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Kothawade et al.: *SIMILAR*, NeurIPS 2021, section 3; *CLINICAL*, MICCAI workshop MILLanD 2022",
        passes="0",
        time="M L D a pick at most, lazily less; flvmi M min(N, rows) D; logdetmi M b (b + D)",
        memory="M D; logdetmi M b",
    )

    def __post_init__(self) -> None:
        """Refuse an `eta` for which logdetmi is no information."""
        for measure, name in (("logdetmi", "eta"), ("logdetcg", "nu")):
            if self.measure == measure and getattr(self, name) > 1:
                where = f"SubmodularMutualInformation.{name}"
                raise InputError(where, f"at most 1 for {measure}", str(getattr(self, name)))

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked; random where no exemplar is labeled yet."""
        check_budget(state, budget)
        classes, exemplars = _exemplars(state, self.classes)
        private = self._private(state, exemplars)
        unlike = self.measure in ("flcg", "logdetcg")
        if not len(private if unlike else exemplars):
            lacks = "nothing to be unlike" if unlike else "no exemplar of a wanted class"
            reason = f"a random one: {lacks} is labeled yet"
            return Query(rng.permutation(state.candidates)[:budget], reasons=(reason,) * budget)
        problem, query = cover_problem(state, "cosine", self.rows, rng), state.vectors(exemplars, "cosine")
        picks, gains = self._greedy(problem, query, state.vectors(private, "cosine"), budget)
        words = f"to what the batch shares with {len(query)} of class {', '.join(map(str, classes))}"
        if unlike:
            words = f"that the batch does not share with {len(private)} labeled samples"
        return Query(problem.candidates[picks], reasons=tuple(f"adds {gain:.3g} {words}" for gain in gains))

    def _private(self, state: QueryState, exemplars: IntArray) -> IntArray:
        """The labeled samples that the batch is to be unlike."""
        if self.private is not None:
            return state.labels.labeled[np.isin(state.labels.class_targets(), self.private)]
        return np.setdiff1d(state.labels.labeled, exemplars if self.measure == "flcmi" else [])

    def _greedy(
        self, problem: CoverProblem, query_QD: FloatArray, private_PD: FloatArray, budget: int
    ) -> tuple[IntArray, FloatArray]:
        match self.measure:
            case "flqmi":
                return flqmi(problem.vectors, query_QD, self.eta, budget)
            case "flvmi":
                return flvmi(problem.vectors, query_QD, problem.pool, self.eta, budget)
            case "flcg" | "flcmi":
                like = query_QD if self.measure == "flcmi" else None
                floor = self.nu * _largest(problem.pool, private_PD)
                return flvmi(problem.vectors, like, problem.pool, self.eta, budget, floor)
            case "logdetcg":
                return logdetmi(problem.vectors, private_PD, self.nu, self.noise, budget, conditional=True)
            case "gcmi":
                return gcmi(problem.vectors, query_QD, self.eta, budget)
            case "logdetmi":
                return logdetmi(problem.vectors, query_QD, self.eta, self.noise, budget)


def _exemplars(state: QueryState, classes: tuple[int, ...] | None) -> tuple[list[int], IntArray]:
    """The classes of the exemplars, and the exemplars: their labeled samples."""
    targets = state.labels.class_targets()
    if classes is None:
        present, counts = np.unique(targets, return_counts=True)
        classes = tuple(present[counts == counts.min(initial=len(targets))].tolist())
    return list(classes), state.labels.labeled[np.isin(targets, classes)]


def similarity(rows_KD: FloatArray, others_OD: FloatArray) -> FloatArray:
    """(1 + cosine) / 2 of unit vectors (K, O), in [0, 1]."""
    similarities: FloatArray = (1 + rows_KD @ others_OD.T) / 2
    return similarities.clip(0, 1)


def flqmi(candidates_MD: FloatArray, query_QD: FloatArray, eta: float, budget: int) -> tuple[IntArray, FloatArray]:
    """See the class: picks (budget,) and what each adds."""
    nearest = np.zeros(len(query_QD))  # of each exemplar: largest similarity to the batch

    def gain(similarities: FloatArray) -> FloatArray:
        added: FloatArray = (similarities - nearest).clip(0).sum(axis=1) + eta * similarities.max(axis=1)
        return added

    def take(place: int) -> None:
        np.maximum(nearest, similarity(candidates_MD[[place]], query_QD)[0], out=nearest)

    return lazy_greedy(_blocked(candidates_MD, query_QD, gain), take, len(candidates_MD), budget)


def flvmi(
    candidates_MD: FloatArray,
    query_QD: FloatArray | None,
    pool_PD: FloatArray,
    eta: float,
    budget: int,
    floor: FloatArray | float = 0.0,
) -> tuple[IntArray, FloatArray]:
    """See the class: picks (budget,) and what each adds to the measure, without what ties are broken by.

    floor  what does not count of the similarity to each of the pool (P,); without a query its similarity has no cap
    """
    cap = np.ones(len(pool_PD)) if query_QD is None else eta * _largest(pool_PD, query_QD)
    shared, served, added = np.zeros(len(pool_PD)), np.zeros(len(pool_PD)), list[float]()

    def gain(similarities: FloatArray) -> FloatArray:
        more = (np.minimum(similarities, cap) - floor - shared).clip(0).sum(axis=1)
        total: FloatArray = more + TIE * ((similarities - served).clip(0) @ cap)
        return total

    def take(place: int) -> None:
        similarities, before = similarity(candidates_MD[[place]], pool_PD)[0], float(shared.sum())
        np.maximum(shared, np.minimum(similarities, cap) - floor, out=shared)
        np.maximum(served, similarities, out=served)
        added.append(float(shared.sum()) - before)

    picks, _ = lazy_greedy(_blocked(candidates_MD, pool_PD, gain), take, len(candidates_MD), budget)
    return picks, np.asarray(added)


def gcmi(candidates_MD: FloatArray, query_QD: FloatArray, eta: float, budget: int) -> tuple[IntArray, FloatArray]:
    """See the class: picks (budget,) and what each adds; modular, so the best-scored."""
    gains = 2 * eta * (1 + candidates_MD @ query_QD.mean(axis=0, dtype=np.float64)) / 2 * len(query_QD)
    picks = np.argsort(-gains, kind="stable")[:budget]
    return picks, gains[picks]


def logdetmi(
    candidates_MD: FloatArray,
    query_QD: FloatArray,
    eta: float,
    noise: float,
    budget: int,
    *,
    conditional: bool = False,
) -> tuple[IntArray, FloatArray]:
    """See the class: picks (budget,) and what each adds, by two Cholesky factors that each pick extends by a row.

    conditional  logdetcg, with the query for P
    """
    similarities = similarity(query_QD, query_QD).astype(np.float64) + noise * np.eye(len(query_QD))
    half = np.linalg.solve(np.linalg.cholesky(similarities), similarity(query_QD, candidates_MD).astype(np.float64))
    diagonal = similarity_to_self(candidates_MD) + noise
    # without the exemplars, and given them
    variances = np.stack([diagonal, diagonal - eta**2 * np.square(half).sum(axis=0)])
    factors = np.empty((2, budget, len(diagonal)))
    picks, gains = np.empty(budget, dtype=np.int64), np.empty(budget)
    for i in range(budget):
        gain = np.log(variances[1]) if conditional else np.log(variances[0]) - np.log(variances[1])
        gain[picks[:i]] = -np.inf
        picks[i] = p = int(gain.argmax())
        gains[i] = gain[p]
        row = similarity(candidates_MD[[p]], candidates_MD)[0].astype(np.float64)
        for k, kernel_row in enumerate((row, row - eta**2 * half[:, p] @ half)):
            previous = factors[k, :i]
            kernel_row[p] += noise
            factors[k, i] = (kernel_row - previous[:, p] @ previous) / np.sqrt(variances[k, p])
            variances[k] = np.maximum(variances[k] - factors[k, i] ** 2, noise)
    return picks, gains


def _largest(rows_KD: FloatArray, others_OD: FloatArray) -> FloatArray:
    """The largest similarity of each row to the others (K,), in float64; 0 where there are none."""
    if not len(others_OD):
        return np.zeros(len(rows_KD))
    parts = np.array_split(rows_KD, len(rows_KD) // 4096 + 1)
    largest: FloatArray = np.concatenate([similarity(part, others_OD).max(axis=1) for part in parts]).astype(np.float64)
    return largest


def similarity_to_self(rows_KD: FloatArray) -> FloatArray:
    """Diagonal of `similarity` (K,): 1, but 1/2 of zero rows."""
    diagonal: FloatArray = (1 + np.square(rows_KD.astype(np.float64)).sum(axis=1)) / 2
    return diagonal


def _blocked(
    candidates_MD: FloatArray, others_OD: FloatArray, gain: Callable[[FloatArray], FloatArray]
) -> Callable[[IntArray], FloatArray]:
    """Places (K,) -> what each would add (K,), from its similarities to the others, in blocks of about `CELLS`."""
    size = max(CELLS // len(others_OD), 1)

    def gains(places: IntArray) -> FloatArray:
        parts = (candidates_MD[places[start : start + size]] for start in range(0, len(places), size))
        return np.concatenate([gain(similarity(part, others_OD)) for part in parts])

    return gains
