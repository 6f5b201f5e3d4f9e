"""All that the loop needs, as values and protocols; `assemble.py` makes it from a recipe."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .core.embeddings import Embeddings
from .core.labels import LabelStore
from .core.learner import Learner
from .core.manifest import Manifest
from .core.rundir import RunDir
from .core.types import Annotation, BoolArray, FloatArray, IntArray, LabelMap, Need, Round
from .errors import InputError
from .metrics.calibration import CalibrationSettings
from .metrics.holdout import Holdout
from .oracles.base import Oracle
from .query.base import QueryStrategy, Scoring
from .query.spending import Spending
from .query.stopping import Stopping, stop_set
from .regions.base import Parts, Regions, Whole

MANY = 100  # held-out labels from which a calibration may be more than a temperature


def class_answers(learner: Learner, pool: IntArray, seed: int) -> FloatArray:
    """Class probabilities (M, C) of the samples of the pool that all rounds of a run are compared on."""
    rows = stop_set(pool, seed)
    return np.concatenate([batch.probs.mean(axis=1) for batch in learner.predict(rows)])


@dataclass(frozen=True)
class Example:
    """A held-out sample for the report: the label maps (S, S) that are true and predicted, and a note."""

    index: int
    truth: LabelMap
    prediction: LabelMap
    note: str


@dataclass(frozen=True)
class BagNote:
    """What a model says of a bag: class probabilities (C,), and the weights (K,) of its rows of most attention (K,).

    index  the bag's first row; `name` its name, `count` how many rows it has
    """

    index: int
    name: str
    rows: IntArray
    weights: FloatArray
    probs: FloatArray
    count: int


def tiles_csv(notes: Iterable[BagNote], ids: Sequence[str]) -> str:
    """A CSV of the rows of most attention of each bag, in order: those to look at, or to label, first."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["bag", "name", "rank", "id", "attention"])
    for note in notes:
        for rank, (row, weight) in enumerate(zip(note.rows.tolist(), note.weights.tolist(), strict=True), start=1):
            writer.writerow([ids[note.index], note.name, rank, ids[row], f"{weight:.4g}"])
    return out.getvalue()


def check_budgets(regions: Parts | Whole, spending: Spending) -> None:
    """Refuse budgets that the pool surely cannot meet."""
    units, budget = len(regions.at(0).indices), spending.least_picks(regions.fixed)
    if budget > units:
        raise InputError("loop.budgets", f"at most the pool's {units} {regions.name} in all", str(budget))


def no_costs(labels: LabelStore) -> dict[str, float]:
    """No metrics of what labels cost."""
    return {}


@dataclass(frozen=True)
class OpenTask:
    """A task with its data: everything in which the loop of one task differs from that of another.

    The defaults are those of a task whose samples have one class each.

    holdout    measures a learner by the labels of val and test
    regions    what a query asks about: whole samples, or regions of them
    spending   how queries are paid for
    scoring    makes what scores samples that have no class probabilities of their own
    answers    (learner, pool, seed) -> probabilities (M, C) on which models of two rounds are compared, of the same
               samples or pixels each time; None where there is nothing to compare
    many       held-out labels from which a calibration may be more than a temperature
    one_class  whether a sample has one class
    notes      (learner, samples) -> a note on the bag of each; None where samples are no bags, or have no attention
    given      the labels that come with the source (`domains.source`)
    costs      labels -> metrics of what they cost, beside those that a fit tells (`FitResult.costs`)
    clicks     (labels, regions of the round) -> clicks of each region (N * parts,) that is drawn, -1 of the others;
               None where answers are not drawn
    asks       (learner, labels, picks) -> the class that each pick is asked to be, where answers are yes or no
    examples   (learner, samples) -> these held-out samples, some where none is named, with what is predicted of them
    """

    holdout: Holdout
    regions: Parts | Whole
    spending: Spending
    scoring: Scoring | None = None
    answers: Callable[[Learner, IntArray, int], FloatArray | None] = class_answers
    many: int = MANY
    one_class: bool = True
    notes: Callable[[Learner, Sequence[int]], Iterable[BagNote]] | None = None
    given: Callable[[], tuple[Annotation, ...]] = tuple
    examples: Callable[[Learner, Sequence[int]], Iterable[Example]] = lambda *_: ()
    costs: Callable[[LabelStore], dict[str, float]] = no_costs
    clicks: Callable[[LabelStore, Regions | Whole], FloatArray] | None = None
    asks: Callable[[Learner, LabelStore, IntArray], tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Experiment:
    """What the loop plays.

    cold_start and query are pairs of (name, strategy); the first budget is spent by the cold start. `records` is the
    file in which pretraining recorded values of every sample, `costs` (N,) what an answer costs and `tissue` (N,) how
    much of a sample is tissue, `computed` other arrays (N, ...) by need and name; all are for strategies that need
    them.
    `source` (N,) says whether a sample is of the source, None where there is none.
    `thumbnail` makes a small JPEG of a sample for trackers that may show images (`log_images`). `calibrating` says
    whether and how probabilities are calibrated, `stopping` what counts as enough labels.
    """

    manifest: Manifest
    classes: tuple[str, ...]
    embeddings: Embeddings
    cold_start: tuple[str, QueryStrategy]
    query: tuple[str, QueryStrategy]
    learner: Learner
    oracle: Oracle
    task: OpenTask
    seed: int
    records: Path | None = None
    costs: FloatArray | None = None
    tissue: FloatArray | None = None
    computed: Mapping[Need, Mapping[str, FloatArray]] = field(default_factory=dict)
    thumbnail: Callable[[int], bytes] | None = None
    calibrating: CalibrationSettings | None = None
    stopping: Stopping = field(default_factory=Stopping)
    source: BoolArray | None = None
    grows: bool = False  # `data.grow`: records of stage 0 may be of fewer samples

    def __post_init__(self) -> None:
        """Refuse budgets that the pool surely cannot meet."""
        check_budgets(self.task.regions, self.task.spending)

    def over(self, rounds: Sequence[Round]) -> bool:
        """Whether no round follows the committed ones: all is spent, or everything was asked about."""
        if self.all_asked(rounds) or self.task.spending.is_spent(rounds):
            return True
        return self.stopping.enforce and self.stopping.enough(rounds)

    def all_asked(self, rounds: Sequence[Round]) -> bool:
        """Whether everything was asked about, where that is known from the number of picks."""
        regions = self.task.regions
        asked = sum(len(r.query) for r in rounds)
        return bool(rounds) and regions.fixed and asked >= len(regions.at(0).indices)

    def labels(self, disk: RunDir) -> LabelStore:
        """All labels of the committed rounds; before the first those that are given."""
        labels = disk.labels(len(self.manifest))
        return labels if labels.annotations or self.source is None else labels.add(self.task.given())

    def strategy(self, round: int) -> tuple[str, QueryStrategy]:
        """Name and strategy that pick in a round."""
        return self.cold_start if round == 0 else self.query
