"""What is measured once a round is trained: calibration, metrics of val and test, the query, and signals to stop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .core.files import read_arrays, write_arrays
from .core.labels import LabelStore
from .core.rng import derive
from .core.rundir import RunDir
from .core.seals import sealed
from .core.types import IntArray
from .experiment import Experiment
from .metrics.calibration import Calibration, calibrate, logs
from .oracles.inbox import inbox, lists_of
from .oracles.readers import reading_of
from .oracles.readings import agreement, model_agreement
from .query.stopping import AGREEMENT, kappa, signals
from .query.usage import mean_rank, relative_distance


def calibration(experiment: Experiment, disk: RunDir, r: int, labels: LabelStore) -> Calibration | None:
    """The calibration of the last fit, written to disk too; None where none is asked for or nothing can be held out."""
    how, learner = experiment.calibrating, experiment.learner
    if how is None or (how.fit == "cross" and len(labels.labeled) < 2):
        return None
    if how.fit == "val":
        probs, truth = experiment.task.holdout.answers(learner, "val")
    else:
        probs, truth = learner.held_out(labels, round=r, seed=experiment.seed, folds=how.folds)
    scaling = calibrate(logs(probs), truth, how.method, more_from=experiment.task.many)
    write_arrays(disk.round_path(r) / "calibration.npz", {"scale": scaling.scale, "bias": scaling.bias})
    return scaling


def metrics(
    experiment: Experiment, disk: RunDir, r: int, labels: LabelStore, scaling: Calibration | None
) -> dict[str, float]:
    """Metrics of the last fit and its stopping signals; reliability diagrams and held-out answers go to disk."""
    fitted_on = experiment.calibrating.fit if experiment.calibrating else ""
    outcome = experiment.task.holdout.evaluate(experiment.learner, scaling, fitted_on=fitted_on)
    if outcome.reliability:
        write_arrays(disk.round_path(r) / "reliability.npz", outcome.reliability)
    if outcome.answers:
        write_arrays(disk.round_path(r) / "holdout.npz", outcome.answers)
    return outcome.metrics | _stop_signals(experiment, disk, r, labels, scaling)


def answers_about_picks(experiment: Experiment, disk: RunDir, r: int, picks: IntArray) -> None:
    """What the new model says of the picks (b,) goes to disk, for trackers, where a sample has one class."""
    if experiment.task.one_class and len(picks):
        batches = list(experiment.learner.predict(np.sort(picks)))
        probs = np.concatenate([batch.probs.mean(axis=1) for batch in batches])
        values = {"predicted": probs.argmax(axis=1), "confidence": probs.max(axis=1)}
        write_arrays(disk.round_path(r) / "picks.npz", {"samples": np.sort(picks), **values})


def readers(experiment: Experiment, disk: RunDir, r: int) -> dict[str, float]:
    """How far several readers agree by round r, and what the model before it says of its picks agrees with them.

    Under the names of trackers; empty where nobody shares the run. The learner has the last model loaded afterwards.
    """
    lists = None if reading_of(disk) is None else lists_of(inbox(disk))
    readings = None if lists is None else lists.readings(r)
    if readings is None:
        return {}
    values = agreement(readings)
    read = set(readings.rows())
    rows = np.asarray(sorted(i for i in readings.readers if i in read), dtype=np.int64)
    if r == 0 or not len(rows) or readings.lists.wording.kind not in ("class", "classes", "mask"):
        return values
    experiment.learner.load(disk.round_path(r - 1) / "model.safetensors")
    probs = [p for batch in experiment.learner.predict(rows) for p in batch.probs.mean(axis=1)]
    return values | model_agreement(readings, rows.tolist(), probs)


def query_usage(experiment: Experiment, disk: RunDir, r: int, picks: IntArray) -> dict[str, float]:
    """What the query of round r did with its score and how far from the labels it went, by what is on disk.

    For a round that is not committed yet: the labels on disk are those that the query saw.
    """
    if not len(picks):
        return {}
    regions, file = experiment.task.regions.at(r), disk.round_path(r) / "scores.npz"
    labels = regions.labels(experiment.labels(disk))
    candidates = np.setdiff1d(regions.indices, labels.answered)
    usage = dict[str, float]()
    if file.is_file():
        arrays = read_arrays(file)
        usage = mean_rank(arrays["indices"], arrays["values"], picks)
    embeddings, rng = replace(experiment.embeddings, parts=regions.parts), derive(experiment.seed, "query usage", r)
    return usage | relative_distance(embeddings, labels.labeled, candidates, picks, rng)


def _stop_signals(
    experiment: Experiment, disk: RunDir, r: int, labels: LabelStore, scaling: Calibration | None
) -> dict[str, float]:
    """Agreement of this round's model with the last one's, and the expected gain of the next batch.

    The model's answers go to disk. The gain is left out where the next batch's number of labels is not fixed.
    """
    task = experiment.task
    pool = experiment.manifest.indices("pool")
    probs = task.answers(experiment.learner, pool, experiment.seed)
    if probs is None:
        return {}
    if scaling is not None:
        probs = scaling.probs(logs(probs))
    write_arrays(disk.round_path(r) / "stop.npz", {"answers": probs.argmax(axis=1), "pool": pool})
    before = disk.round_path(r - 1) / "stop.npz"
    if r == 0 or not sealed(before).is_file():
        return {}
    arrays = read_arrays(before)
    answers, of = arrays["answers"], arrays.get("pool", pool)
    if not np.array_equal(of, pool):  # it grew
        if len(answers) != len(of):  # pixels of some images, now of others
            return {}
        _, earlier, now = np.intersect1d(of, pool, return_indices=True)
        answers, probs = answers[earlier], probs[now]
    past, ahead = disk.rounds()[-1].labeled, task.spending.next_budget(r)
    labeled = len(task.regions.at(r).labels(labels).labeled)
    if ahead is None or not 0 < past < labeled:
        return {AGREEMENT: kappa(answers, probs.argmax(axis=1))}
    return signals(answers, probs, (past, labeled, labeled + ahead))
