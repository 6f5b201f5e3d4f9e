"""What is measured once a round is trained: calibration, metrics of val and test, and signals to stop."""

from __future__ import annotations

import numpy as np

from .core.labels import LabelStore
from .core.rundir import RunDir, write_arrays
from .experiment import Experiment
from .metrics.calibration import Calibration, calibrate, logs
from .query.stopping import AGREEMENT, kappa, signals


def calibration(experiment: Experiment, disk: RunDir, r: int, labels: LabelStore) -> Calibration | None:
    """The scaling that the last fit needs, on disk too; None where none is wanted, or nothing can be held out."""
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
    """What the holdout and the stopping signals say of the last fit; reliability diagrams go to disk."""
    on = experiment.calibrating.fit if experiment.calibrating else ""
    measured = experiment.task.holdout.evaluate(experiment.learner, scaling, fitted_on=on)
    if measured.reliability:
        write_arrays(disk.round_path(r) / "reliability.npz", measured.reliability)
    return measured.metrics | _stop_signals(experiment, disk, r, labels, scaling)


def _stop_signals(
    experiment: Experiment, disk: RunDir, r: int, labels: LabelStore, scaling: Calibration | None
) -> dict[str, float]:
    """How far the models of this round and the last agree, and what the next batch may bring; their answers on disk.

    What the next batch may bring is said where its number of labels is known.
    """
    task = experiment.task
    probs = task.answers(experiment.learner, experiment.manifest.indices("pool"), experiment.seed)
    if probs is None:
        return {}
    if scaling is not None:
        probs = scaling.probs(logs(probs))
    write_arrays(disk.round_path(r) / "stop.npz", {"answers": probs.argmax(axis=1)})
    before = disk.round_path(r - 1) / "stop.npz"
    if r == 0 or not before.is_file():
        return {}
    with np.load(before, allow_pickle=False) as archive:
        answers = archive["answers"]
    past, ahead = disk.rounds()[-1].labeled, task.spending.ahead(r)
    labeled = len(task.regions.at(r).labels(labels).labeled)
    if ahead is None or not 0 < past < labeled:
        return {AGREEMENT: kappa(answers, probs.argmax(axis=1))}
    return signals(answers, probs, (past, labeled, labeled + ahead))
