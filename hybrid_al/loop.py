"""The active-learning loop: read this first.

One round: pick -> commit the picks -> ask -> train -> evaluate -> commit the round. The consistency that training
writes in round r is what the selection of round r + 1 reads (`state.py`). Every value comes from the last commit on
disk, so a round that was interrupted is played again and ends the same.
"""

from __future__ import annotations

import hashlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from .core.files import write_arrays, write_atomic
from .core.labels import LabelStore
from .core.learner import FitResult
from .core.rng import derive
from .core.rundir import RunDir
from .core.types import Annotation, IntArray, PredictionBatch, Query, Round
from .errors import AwaitingLabels, InputError, NonFiniteLoss
from .evaluation import answers_about_picks, calibration, metrics, query_usage, readers
from .experiment import Experiment, tiles_csv
from .oracles.ledger import Ledger, effort
from .query.cost import Meter
from .regions.base import Regions, Whole
from .state import query_state
from .track.base import Trackers, log_to
from .track.rounds import track_round

Say = Callable[[int, str], None]
"""(rounds done, what is under way) -> None."""


def run(
    experiment: Experiment,
    disk: RunDir,
    tracker: Trackers,
    *,
    report: Callable[[Round], None] = lambda _: None,
    progress: Say = lambda *_: None,
) -> list[Round]:
    """Play every round that is not committed yet; `AwaitingLabels` where a person has to answer first."""
    while not over(experiment, disk):
        r = len(disk.rounds())
        play(experiment, disk, tracker, r, progress)
        if len(rounds := disk.rounds()) > r:
            report(rounds[-1])
    rounds = disk.rounds()
    if experiment.all_asked(rounds) and not (experiment.grows or experiment.task.spending.is_spent(rounds)):
        disk.mark_exhausted(len(rounds))  # money is left, which no round will spend
    return rounds


def over(experiment: Experiment, disk: RunDir) -> bool:
    """Whether no round follows the committed ones: all is spent, or a query found nothing left to ask about."""
    rounds = disk.rounds()
    return disk.is_exhausted(len(rounds)) or experiment.over(rounds)


def play(experiment: Experiment, disk: RunDir, tracker: Trackers, r: int, progress: Say = lambda *_: None) -> None:
    """Play round r and commit it; nothing is committed where nothing is left to ask about (`over`)."""
    seconds: dict[str, float] = {}
    new = disk.query_ids(r) is None
    progress(r, f"round {r}, the query")
    while True:
        picks = select(experiment, disk, r)
        if disk.is_exhausted(r):
            return
        try:
            labels = experiment.labels(disk).add(_asked(experiment, picks, r))
        except AwaitingLabels as waiting:
            if new:
                tracker.alert(f"round {r} waits for labels", " ".join(f"{len(picks)} picks. {waiting}".split()))
            raise
        if _learnable(experiment, r, labels):
            break
    people = readers(experiment, disk, r)
    with _timer(seconds, "train"):
        fit = _fit(experiment, disk, tracker, r, labels, progress)
    progress(r, f"round {r}, the evaluation")
    with _timer(seconds, "calibrate"):
        scaling = calibration(experiment, disk, r, labels)
    with _timer(seconds, "evaluate"):
        values = metrics(experiment, disk, r, labels, scaling) | query_usage(experiment, disk, r, picks)
        values |= fit.of_round() | experiment.task.costs(labels)
        if tracker.mirrored:
            answers_about_picks(experiment, disk, r, picks)
    _commit(experiment, disk, tracker, r, picks, labels, fit, values, seconds, people)


def select(experiment: Experiment, disk: RunDir, r: int) -> IntArray:
    """The picks of round r (b,): those committed, or new ones, which are committed before anyone is asked.

    Where all that was asked about is skipped and no label exists to learn from, as many others follow the picks.
    There are none where nothing is left to ask about, as may be where regions follow the model; then the run is over.
    """
    earlier = disk.picks(r, experiment.manifest)
    labels = experiment.labels(disk)
    if earlier is not None:
        try:
            labels = labels.add(_asked(experiment, earlier, r))
        except AwaitingLabels:
            return earlier
        if _learnable(experiment, r, labels):
            return earlier
        print(f"round {r}: all {len(earlier)} that were asked about are skipped; others follow", file=sys.stderr)
    meter = Meter()
    with meter.running():
        query, regions = _query(experiment, disk, r, labels, meter)
    if query is None:
        print(f"round {r}: no {regions.name} are left to ask about, so the run is over", file=sys.stderr)
        disk.mark_exhausted(r)
        return np.empty(0, dtype=np.int64)
    _note_tiles(experiment, disk, r, query.indices)
    disk.commit_query(r, query, experiment.manifest, regions.parts, meter.cost)
    return query.indices if earlier is None else np.concatenate([earlier, query.indices])


def _query(
    experiment: Experiment, disk: RunDir, r: int, labels: LabelStore, meter: Meter
) -> tuple[Query | None, Regions | Whole]:
    """New picks of round r, None where nothing is left, and what they are picks of."""
    (_, strategy), spending, regions = experiment.strategy(r), experiment.task.spending, _regions(experiment, disk, r)
    state = query_state(experiment, disk, r, strategy.needs | spending.needs(r), regions, labels)
    if r and not len(state.candidates):
        return None, regions
    if not len(state.candidates):
        way = f"skips alone; hybrid-al labels {shlex.quote(str(disk.path))} FILE takes a label of any of them"
        raise InputError(f"round {r}", f"a label of one of {len(regions.indices)} {regions.name} at least", way)
    rng = lambda: derive(experiment.seed, "query", r)  # noqa: E731
    query = spending.query(strategy, meter.watch(state), disk.rounds(), regions.pixels, rng)
    if r and experiment.task.asks is not None:
        experiment.learner.load(disk.round_path(r - 1) / "model.safetensors")
        query = replace(query, asks=experiment.task.asks(experiment.learner, labels, query.indices))
    if len(query.indices) == len(state.candidates):
        print(f"round {r}: asks about all {len(query.indices)} {regions.name} that are left", file=sys.stderr)
    return query, regions


def _note_tiles(experiment: Experiment, disk: RunDir, r: int, picks: IntArray) -> None:
    """Write which rows of the picked bags have most attention by the last model, where there are any."""
    if r and experiment.task.notes is not None:
        experiment.learner.load(disk.round_path(r - 1) / "model.safetensors")
        notes = experiment.task.notes(experiment.learner, picks.tolist())
        write_atomic(disk.round_path(r) / "tiles.csv", tiles_csv(notes, experiment.manifest.ids))


def _asked(experiment: Experiment, picks: IntArray, r: int) -> tuple[Annotation, ...]:
    """The oracle's answers about the picks; a round without picks asks nobody."""
    return experiment.oracle.annotate(picks, r) if len(picks) else ()


def _learnable(experiment: Experiment, r: int, labels: LabelStore) -> bool:
    """Whether anything was answered but with skips."""
    return len(experiment.task.regions.at(r).labels(labels).labeled) > 0


def _regions(experiment: Experiment, disk: RunDir, r: int) -> Regions | Whole:
    """What round r may ask about; regions that follow the model are proposed by the model of round r - 1 first."""
    regions, learner = experiment.task.regions, experiment.learner

    def predict(samples: IntArray) -> Iterator[PredictionBatch]:
        learner.load(disk.round_path(r - 1) / "model.safetensors")
        return learner.predict(samples)

    regions.draw(r, disk.labels(len(experiment.manifest)), predict)
    return regions.at(r)


def _fit(
    experiment: Experiment, disk: RunDir, tracker: Trackers, r: int, labels: LabelStore, progress: Say
) -> FitResult:
    """Train on all labels so far."""
    note = log_to(tracker, stage="train", round=r)
    progress(r, f"round {r}, the training")

    def log(values: Mapping[str, float], step: int) -> None:
        note(values, step)
        progress(r, f"round {r}, step {step} of the training")

    previous = disk.round_path(r - 1) if r > 0 else None
    try:
        return experiment.learner.fit(labels, round=r, seed=experiment.seed, log=log, previous=previous)
    except NonFiniteLoss as error:
        raise error.with_ids(experiment.manifest.ids) from None


def _commit(
    experiment: Experiment,
    disk: RunDir,
    tracker: Trackers,
    r: int,
    picks: IntArray,
    labels: LabelStore,
    fit: FitResult,
    values: dict[str, float],
    seconds: dict[str, float],
    people: dict[str, float],
) -> None:
    """Write what the round leaves behind, `round.json` last; the trackers get them just before."""
    folder, regions, ids = disk.round_path(r), experiment.task.regions.at(r), experiment.manifest.ids
    samples, cost = regions.samples(picks), disk.query_cost(r)
    experiment.learner.save(folder / "model.safetensors")
    if fit.consistency is not None:
        write_arrays(folder / "consistency.npz", fit.consistency.arrays())
    row = Round(
        index=r,
        strategy=experiment.strategy(r)[0],
        budget=len(picks),
        query=tuple(ids[i] for i in samples.tolist()),
        labeled=len(regions.labels(labels).labeled),
        metrics=values,
        seed=experiment.seed,
        seconds={"query": cost.get("seconds", 0.0), **seconds},
        digests={
            "encoder": experiment.embeddings.encoder,
            "model": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
            **({"ledger": tip} if (tip := Ledger(disk).tip()) else {}),
        },
    )
    score, classes, shares = experiment.oracle.score, experiment.classes, experiment.task.one_class
    enough = experiment.stopping.enough_at([*disk.rounds(), row]) == r
    disk.write_labels(r, labels)
    track_round(
        tracker, disk, experiment.manifest, row, samples, labels, fit, score, classes,
        shares=shares, cost=cost, people=effort(disk, r) | people, enough=enough, thumbnail=experiment.thumbnail,
    )  # fmt: skip
    disk.commit_round(row)


@contextmanager
def _timer(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note how long a step takes."""
    began = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - began
