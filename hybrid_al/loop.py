"""The active-learning loop: read this first.

One round: pick -> commit the picks -> ask -> train -> evaluate -> commit the round. The consistency that training
writes in round r is what the selection of round r + 1 reads. Every value comes from the last commit on disk, so a
round that was interrupted is played again and ends the same.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .core.consistency import Consistency
from .core.embeddings import Embeddings
from .core.labels import LabelStore
from .core.learner import FitResult, Learner
from .core.manifest import Manifest
from .core.rng import derive
from .core.rundir import RunDir, write_arrays
from .core.types import FloatArray, IntArray, LabelMap, Need, PredictionBatch, Round
from .errors import InputError, NonFiniteLoss
from .metrics.calibration import Calibrating, Calibration, calibrate, logs
from .metrics.holdout import Holdout, LabelHoldout, MaskHoldout
from .metrics.pixel_calibration import FEW, a_few
from .oracles.base import Oracle
from .oracles.simulated import SimulatedOracle
from .query.base import EXTRAS, Predictor, QueryState, QueryStrategy, Scoring, check_query
from .query.spending import Spending, spent_out
from .query.stopping import AGREEMENT, IMAGES, Stopping, kappa, signals, stop_set
from .regions.base import Parts, Regions
from .track.base import Trackers, log_to

MANY = 100  # held-out labels, or images with a mask, from which a calibration may be more than a temperature


@dataclass(frozen=True)
class Experiment:
    """All that the loop needs, as values and protocols; `assemble.py` makes it from a recipe.

    cold_start and query are pairs of (name, strategy); budgets[0] is spent by the cold start. `records` is where
    pretraining wrote what it says of every sample, `costs` (N,) what an answer costs and `tissue` (N,) how much of a
    sample is tissue, for strategies that ask.
    `thumbnail` makes a small JPEG of a sample for trackers that may show images (`log_images`). `calibrating` says
    whether and how the classes' probabilities are calibrated, `stopping` what counts as enough labels. `scorer` scores
    samples by their pixels in segmentation, and by all their labels where they have several. `regions` are parts of
    images, where they and not whole images are asked about: then queries and budgets are of units. `spending` where
    budgets are of what answers cost. `shown` where pixels have classes: maps of some samples, `IGNORE` in padding.
    """

    manifest: Manifest
    classes: tuple[str, ...]
    embeddings: Embeddings
    cold_start: tuple[str, QueryStrategy]
    query: tuple[str, QueryStrategy]
    learner: Learner
    oracle: Oracle
    holdout: Holdout | MaskHoldout | LabelHoldout
    budgets: tuple[int, ...]
    seed: int
    records: Path | None = None
    costs: FloatArray | None = None
    tissue: FloatArray | None = None
    thumbnail: Callable[[int], bytes] | None = None
    calibrating: Calibrating | None = None
    stopping: Stopping = field(default_factory=Stopping)
    scorer: Scoring | None = None
    regions: Parts | None = None
    spending: Spending | None = None
    shown: Callable[[IntArray], LabelMap] | None = None

    def __post_init__(self) -> None:
        """Refuse budgets that the pool cannot pay for, as far as that is known before."""
        pool, what = self.pool, "samples" if self.regions is None else "regions"
        labels = sum(self.budgets if self.spending is None and self._fixed else self.budgets[:1])
        if labels > pool:
            raise InputError("loop.budgets", f"at most the pool's {pool} {what} in all", str(labels))

    @property
    def _fixed(self) -> bool:
        return self.regions is None or self.regions.fixed

    @property
    def pool(self) -> int:
        """How many the first round may ask about: samples, or units."""
        return len(self.manifest.indices("pool") if self.regions is None else self.regions.at(0).units)

    def samples(self, picks: IntArray, round: int) -> IntArray:
        """The sample of each pick of a round."""
        return picks if self.regions is None else self.regions.at(round).samples(picks)

    def labels(self, labels: LabelStore, round: int) -> LabelStore:
        """What was said up to a round, of samples or of units of that round."""
        return labels if self.regions is None else self.regions.at(round).labels(labels)

    def over(self, rounds: Sequence[Round]) -> bool:
        """Whether the committed rounds are all there will be."""
        if self.spending is not None and rounds:
            unit, all_labeled = self.spending.unit, self._fixed and rounds[-1].labeled >= self.pool
            if all_labeled or spent_out(unit, self.budgets, rounds):
                return True
        return len(rounds) >= len(self.budgets) or (self.stopping.enforce and self.stopping.enough(rounds))

    def strategy(self, round: int) -> tuple[str, QueryStrategy]:
        """Name and strategy that pick in a round."""
        return self.cold_start if round == 0 else self.query


def run(
    experiment: Experiment, disk: RunDir, tracker: Trackers, *, said: Callable[[Round], None] = lambda _: None
) -> list[Round]:
    """Play every round that is not committed yet; `AwaitingLabels` where a person has to answer first."""
    while not experiment.over(done := disk.rounds()):
        play(experiment, disk, tracker, len(done))
        said(disk.rounds()[-1])
    return disk.rounds()


def play(experiment: Experiment, disk: RunDir, tracker: Trackers, r: int) -> None:
    """Play round r and commit it."""
    began = time.perf_counter()
    picks = select(experiment, disk, r)
    seconds = {"query": time.perf_counter() - began}

    answers = experiment.oracle.annotate(picks, r)
    labels = disk.labels(len(experiment.manifest)).add(answers)

    began = time.perf_counter()
    log = log_to(tracker, stage="train", round=r)
    previous = disk.round_path(r - 1) if r > 0 else None
    try:
        fit = experiment.learner.fit(labels, round=r, seed=experiment.seed, log=log, previous=previous)
    except NonFiniteLoss as error:
        raise error.named(experiment.manifest.ids) from None
    seconds["train"] = time.perf_counter() - began

    began = time.perf_counter()
    calibration = _calibration(experiment, labels, r)
    if calibration is not None:
        write_arrays(disk.round_path(r) / "calibration.npz", {"scale": calibration.scale, "bias": calibration.bias})
        seconds["calibrate"] = time.perf_counter() - began

    began = time.perf_counter()
    on = experiment.calibrating.fit if experiment.calibrating else ""
    measured = experiment.holdout.evaluate(experiment.learner, calibration, fitted_on=on)
    if measured.reliability:
        write_arrays(disk.round_path(r) / "reliability.npz", measured.reliability)
    metrics = measured.metrics | _stop_signals(experiment, disk, r, labels, calibration)
    metrics |= fit.spent
    seconds["evaluate"] = time.perf_counter() - began

    _commit(experiment, disk, tracker, r, picks, labels, fit, metrics, seconds)


def _calibration(experiment: Experiment, labels: LabelStore, r: int) -> Calibration | None:
    """The scaling that the last fit needs; none where the recipe wants none, or nothing can be held out."""
    how, learner = experiment.calibrating, experiment.learner
    if how is None or (how.fit == "cross" and len(labels.labeled) < 2):
        return None
    if how.fit == "val":
        said, truth = experiment.holdout.answers(learner, "val")
    else:
        said, truth = learner.held_out(labels, round=r, seed=experiment.seed, folds=how.folds)
    many = MANY if experiment.shown is None else MANY * FEW  # the pixels of an image are no labels of their own
    return calibrate(logs(said), truth, how.method, more_from=many)


def _stop_signals(
    experiment: Experiment, disk: RunDir, r: int, labels: LabelStore, calibration: Calibration | None
) -> dict[str, float]:
    """How far the models of this round and the last agree, and what the next batch may bring; their answers on disk.

    Of the samples' classes, or of those of a few pixels of each; nothing is said where they have several labels. What
    the next batch may bring is said where budgets are of labels.
    """
    pool, shown = experiment.manifest.indices("pool"), experiment.shown
    if shown is not None:
        rows = stop_set(pool, experiment.seed, IMAGES)
        probs = np.concatenate([a_few(b, shown(b.indices))[0] for b in experiment.learner.predict(rows)])
    elif experiment.scorer is None:
        rows = stop_set(pool, experiment.seed)
        probs = np.concatenate([b.probs.mean(axis=1) for b in experiment.learner.predict(rows)])
    else:
        return {}
    if calibration is not None:
        probs = calibration.probs(logs(probs))
    write_arrays(disk.round_path(r) / "stop.npz", {"answers": probs.argmax(axis=1)})
    before = disk.round_path(r - 1) / "stop.npz"
    if r == 0 or not before.is_file():
        return {}
    with np.load(before, allow_pickle=False) as archive:
        answers = archive["answers"]
    past, following = disk.rounds()[-1].labeled, experiment.budgets[r + 1 : r + 2]
    labeled = len(experiment.labels(labels, r).labeled)
    if not following or experiment.spending is not None or not 0 < past < labeled:
        return {AGREEMENT: kappa(answers, probs.argmax(axis=1))}
    return signals(answers, probs, (past, labeled, labeled + following[0]))


def select(experiment: Experiment, disk: RunDir, r: int) -> IntArray:
    """The picks of round r (b,): those committed, or new ones, which are committed before anyone is asked."""
    committed, units = disk.query_ids(r), disk.query_units(r)
    if committed is not None:
        rows = np.asarray([experiment.manifest.position[i] for i in committed], dtype=np.int64)
        return rows if units is None else units
    (_, strategy), spending = experiment.strategy(r), experiment.spending if r > 0 else None
    regions = _regions(experiment, disk, r)
    if spending is not None and regions is not None:
        spending = replace(spending, sizes=regions.pixels)
    state = _state(experiment, disk, r, strategy.needs | (spending.needs if spending else frozenset()), regions)
    budget = experiment.budgets[r] if spending is None else 1
    if budget > len(state.candidates):
        raise InputError(f"budget of round {r}", f"at most {len(state.candidates)} candidates left", str(budget))
    if spending is None:
        query = check_query(strategy.select(state, budget, derive(experiment.seed, "query", r)), state, budget)
    else:
        query = spending.query(strategy, state, disk.rounds(), lambda: derive(experiment.seed, "query", r))
    disk.commit_query(r, query, experiment.manifest, 1 if regions is None else regions.parts)
    return query.indices


def _regions(experiment: Experiment, disk: RunDir, r: int) -> Regions | None:
    """The parts that round r may ask about; such as follow the model are drawn by that of round r - 1 first."""
    parts, learner = experiment.regions, experiment.learner
    if parts is None:
        return None

    def predict(samples: IntArray) -> Iterator[PredictionBatch]:
        learner.load(disk.round_path(r - 1) / "model.safetensors")
        return learner.predict(samples)

    parts.draw(r, disk.labels(len(experiment.manifest)), predict)
    return parts.at(r)


def _state(experiment: Experiment, disk: RunDir, r: int, needs: frozenset[Need], regions: Regions | None) -> QueryState:
    """What the strategy of round r may look at, read back from the commit of round r - 1; nothing it does not need."""
    labels, pool = disk.labels(len(experiment.manifest)), experiment.manifest.indices("pool")
    if regions is not None:
        labels, pool = regions.labels(labels), regions.units
    candidates = np.setdiff1d(pool, labels.answered)
    predictor, consistency, extras = None, None, dict[str, FloatArray]()
    if "stage0" in needs:
        extras |= _records(experiment)
    if "costs" in needs:
        if experiment.costs is None:
            raise InputError(f"round {r}", "what an answer costs (oracle.costs: a CSV of id and cost)", "none")
        extras["cost"] = experiment.costs
    if "tissue" in needs and experiment.tissue is not None:
        extras["tissue"] = experiment.tissue
    if r > 0:
        previous = disk.round_path(r - 1)
        if "history" in needs:
            extras["previous_probs"] = _before(experiment, disk, r, candidates)
        if needs - {"embeddings", "consistency", "stage0", "costs", "tissue"}:
            experiment.learner.load(previous / "model.safetensors")
            predictor = _predictor(experiment, previous / "calibration.npz")
        if "gradients" in needs:
            extras |= experiment.learner.extras(frozenset({"gradients"}))
        if "consistency" in needs:
            consistency = Consistency.load(previous / "consistency.npz")
    groups, parts = experiment.manifest.group_codes, 1 if regions is None else regions.parts
    if parts > 1:
        groups, extras = np.repeat(groups, parts), {name: np.repeat(v, parts, axis=0) for name, v in extras.items()}
    return QueryState(
        round=r,
        labels=labels,
        candidates=candidates,
        groups=groups,
        embeddings=replace(experiment.embeddings, parts=parts),
        predictor=predictor,
        scorer=None if predictor is None or experiment.scorer is None else experiment.scorer(predictor, regions),
        consistency=consistency,
        recorded=None if regions is None else regions.recorded,
        extras=extras,
    )


def _predictor(experiment: Experiment, file: Path) -> Predictor:
    """What the learner says; calibrated where the recipe wants that and the round of the file was."""
    if experiment.calibrating is None or not experiment.calibrating.queries or not file.is_file():
        return experiment.learner.predict
    with np.load(file, allow_pickle=False) as archive:
        calibration = Calibration(archive["scale"], archive["bias"])

    def predictor(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        for batch in experiment.learner.predict(indices, samples, views):
            yield replace(batch, probs=calibration.probs(logs(batch.probs)))

    return predictor


def _records(experiment: Experiment) -> dict[str, FloatArray]:
    """What pretraining recorded of every sample, by name."""
    path, n = experiment.records, len(experiment.manifest)
    if path is None or not path.is_file():
        raise InputError(path or "stage 0", "records of a pretraining that makes them (simclr, rotation, ...)", "none")
    with np.load(path, allow_pickle=False) as archive:
        found = {name: archive[name] for name in EXTRAS["stage0"] if name in archive.files}
    for name, values in found.items():
        if values.shape != (n,):
            raise InputError(path, f"{name} of {n} samples", str(values.shape))
    return found


def _before(experiment: Experiment, disk: RunDir, r: int, candidates: IntArray) -> FloatArray:
    """What the model of round r - 2 says of the candidates, in their rows of (N, C); (N, 0) where there is none."""
    n = len(experiment.manifest)
    if r < 2:
        return np.empty((n, 0))
    folder = disk.round_path(r - 2)
    experiment.learner.load(folder / "model.safetensors")
    said = np.full((n, len(experiment.classes)), np.nan)
    for batch in _predictor(experiment, folder / "calibration.npz")(candidates, 1, 1):
        said[batch.indices] = batch.probs.mean(axis=1)
    return said


def _commit(
    experiment: Experiment,
    disk: RunDir,
    tracker: Trackers,
    r: int,
    picks: IntArray,
    labels: LabelStore,
    fit: FitResult,
    metrics: dict[str, float],
    seconds: dict[str, float],
) -> None:
    folder, samples = disk.round_path(r), experiment.samples(picks, r)
    experiment.learner.save(folder / "model.safetensors")
    if fit.consistency is not None:
        write_arrays(folder / "consistency.npz", fit.consistency.arrays())
    row = Round(
        index=r,
        strategy=experiment.strategy(r)[0],
        budget=len(picks),
        query=tuple(experiment.manifest.ids[i] for i in samples.tolist()),
        labeled=len(experiment.labels(labels, r).labeled),
        metrics=metrics,
        seed=experiment.seed,
        seconds=seconds,
        digests={
            "encoder": experiment.embeddings.encoder,
            "model": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        },
    )
    _track(experiment, tracker, row, labels, fit, samples)
    disk.commit_round(row, labels)


def _track(
    experiment: Experiment, tracker: Trackers, row: Round, labels: LabelStore, fit: FitResult, picks: IntArray
) -> None:
    """Mirror a round: its curve point, the class balance of its picks, and how right the pseudo-labels were."""
    curve = {f"curve/{n.removeprefix('test/')}": v for n, v in row.metrics.items() if n.startswith("test/")}
    given = Counter(labels.current[i].target for i in picks.tolist())
    shares = {f"picks/share/{name}": given[c] / len(picks) for c, name in enumerate(experiment.classes)}
    if experiment.scorer is not None:
        shares = {}  # samples have no class, or several labels
    if experiment.thumbnail is not None:
        tracker.image(
            "picks", [experiment.thumbnail(i) for i in picks.tolist()], row.query, stage="query", round=row.index
        )
    tracker.log({"query/seconds": row.seconds["query"], **shares}, stage="query", round=row.index)
    tracker.log({**fit.metrics, "train/seconds": row.seconds["train"]}, stage="train", round=row.index)
    values = {"labels": float(row.labeled), **curve, **row.metrics}
    if isinstance(experiment.oracle, SimulatedOracle) and fit.consistency is not None:
        rows = np.setdiff1d(np.flatnonzero(fit.consistency.seen > 0), labels.answered)
        for c, share in experiment.oracle.score(rows, fit.consistency.pseudo_label[rows]).items():
            values["pseudo/accuracy" if c < 0 else f"pseudo/accuracy/{experiment.classes[c]}"] = share
    tracker.log(values, stage="evaluate", round=row.index)
