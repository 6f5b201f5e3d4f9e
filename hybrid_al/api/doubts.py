"""`audit --recheck`: the labels of a run to look at again, the most doubtful first, by models that did not see them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.labels import LabelStore
from ..core.rundir import RunDir
from ..errors import InputError
from ..scores.samples import label_doubt
from .outputs import write_table

FOLDS = 5  # each of which is labeled by a model of the others
COLUMNS = ("id", "label", "doubt", "probability", "predicted", "probability_predicted", "annotator", "round")


def write(run: Path, out: Path, *, device: str = "cpu") -> tuple[int, int]:
    """Write a CSV of the labels with their doubt, see `label_doubt`; returns how many, and how many are above 0.

    Corrected in its column `label`, the file goes to `hybrid-al labels RUN FILE --replace`. InputError: a task whose
    samples have no single class, fewer labels than two of two classes, a file that is there.
    """
    from ..assemble import experiment
    from ..recipe import load
    from .session import project_of

    if out.exists():
        raise InputError(out, "a new file", "one that is there")
    disk = RunDir(run)
    disk.facts()
    if not disk.rounds():
        raise InputError(run, "a run with the labels of a round", "no round is committed yet")
    project = project_of(load(str(run), []), run, device)
    setup = experiment(project)
    labels = disk.labels(len(setup.manifest))
    _check(setup.task.one_class, labels, run)
    probs, targets = setup.learner.held_out(labels, round=len(disk.rounds()), seed=setup.seed, folds=FOLDS)
    doubt, rows = label_doubt(probs, targets), labels.labeled
    ids, names, predicted = disk.manifest().ids, setup.classes, probs.argmax(axis=1)
    table = []
    for i in np.argsort(-doubt, kind="stable"):
        annotation = labels.current[int(rows[i])]
        said, likely = int(targets[i]), int(predicted[i])
        numbers = (f"{doubt[i]:.4f}", f"{probs[i, said]:.4f}", names[likely], f"{probs[i, likely]:.4f}")
        table.append((ids[rows[i]], names[said], *numbers, annotation.annotator, str(annotation.round)))
    write_table(out, COLUMNS, table)
    return len(table), int((doubt > 0).sum())


def _check(one_class: bool, labels: LabelStore, run: Path) -> None:
    if not one_class:
        raise InputError("--recheck", "a task whose samples have one class each", "another task")
    if len(set(labels.class_targets().tolist())) < 2:
        raise InputError(run, "labels of two classes, to learn which are doubtful", f"{len(labels.labeled)} labels")
