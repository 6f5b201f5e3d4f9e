"""What the strategy of a round may look at, read back from the commit of the round before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from .core.consistency import Consistency
from .core.files import read_arrays
from .core.labels import LabelStore
from .core.rundir import RunDir
from .core.seals import sealed
from .core.types import FloatArray, IntArray, Need, PredictionBatch
from .errors import InputError
from .experiment import Experiment
from .metrics.calibration import Calibration, logs
from .query.base import COLD, EXTRAS, Predictor, QueryState
from .regions.base import Regions, Whole

MODELLESS: frozenset[Need] = COLD | {"consistency", "clicks"}
"""What needs no model of the round before."""


def query_state(
    experiment: Experiment,
    disk: RunDir,
    r: int,
    needs: frozenset[Need],
    regions: Regions | Whole,
    answers: LabelStore,
) -> QueryState:
    """The state of round r, with what the needs ask for and nothing else; what `answers` hold is no candidate.

    Errors: a need that recipe, stage 0 or learner cannot meet.
    """
    labels = regions.labels(answers)
    candidates = np.setdiff1d(regions.indices, labels.answered)
    predictor, consistency, extras = None, None, _extras(experiment, r, needs)
    if r > 0:
        previous = disk.round_path(r - 1)
        if "history" in needs:
            extras["previous_probs"] = _earlier(experiment, disk, r, candidates)
        if needs - MODELLESS:
            experiment.learner.load(previous / "model.safetensors")
            predictor = _predictor(experiment, previous / "calibration.npz")
        if "consistency" in needs:
            record = Consistency.load(previous / "consistency.npz")
            parts = experiment.task.regions
            of_sample = 1 if isinstance(parts, Whole) else parts.record_regions.parts
            consistency = record.of(len(experiment.manifest), of_sample)
    scoring, clicks_of = experiment.task.scoring, experiment.task.clicks
    if "clicks" in needs and clicks_of is None:
        raise InputError(f"round {r}", "answers that are drawn, whose clicks count (segmentation)", "others")
    clicks = {"clicks": clicks_of(answers, regions)} if "clicks" in needs and clicks_of is not None else {}
    return QueryState(
        round=r,
        labels=labels,
        candidates=candidates,
        groups=np.repeat(experiment.manifest.group_codes, regions.parts),
        classes=len(experiment.classes),
        embeddings=replace(experiment.embeddings, parts=regions.parts),
        predictor=predictor,
        scorer=None if predictor is None or scoring is None else scoring(experiment.learner, predictor, regions),
        consistency=consistency,
        from_record=regions.from_record,
        extras={name: np.repeat(values, regions.parts, axis=0) for name, values in extras.items()} | clicks,
    )


def _extras(experiment: Experiment, r: int, needs: frozenset[Need]) -> dict[str, FloatArray]:
    """Values of every sample that need no model, by name."""
    extras = _records(experiment) if "stage0" in needs else {}
    if "costs" in needs:
        if experiment.costs is None:
            raise InputError(f"round {r}", "what an answer costs (oracle.costs: a CSV of id and cost)", "none")
        extras["cost"] = experiment.costs
    if "tissue" in needs and experiment.tissue is not None:
        extras["tissue"] = experiment.tissue
    for need in needs & set(experiment.computed):
        extras |= experiment.computed[need]
    if "domains" in needs and experiment.source is not None:
        extras["source"] = experiment.source.astype(np.float64)
    return extras


def _predictor(experiment: Experiment, file: Path) -> Predictor:
    """The learner's predictions, calibrated where the recipe asks for it and the file exists."""
    if experiment.calibrating is None or not experiment.calibrating.queries or not sealed(file).is_file():
        return experiment.learner.predict
    arrays = read_arrays(file)
    calibration = Calibration(arrays["scale"], arrays["bias"])

    def predictor(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        for batch in experiment.learner.predict(indices, samples, views):
            yield replace(batch, probs=calibration.probs(logs(batch.probs)))

    return predictor


def _records(experiment: Experiment) -> dict[str, FloatArray]:
    """What pretraining recorded of every sample, by name."""
    path, n = experiment.records, len(experiment.manifest)
    if path is None or not path.is_file():
        raise InputError(path or "stage 0", "records of a pretraining that makes them (simclr, rotation, ...)", "none")
    arrays = read_arrays(path)
    records = {
        name: _of(arrays[name], n) if experiment.grows else arrays[name] for name in EXTRAS["stage0"] if name in arrays
    }
    for name, values in records.items():
        if values.shape != (n,):
            raise InputError(path, f"{name} of {n} samples", str(values.shape))
    return records


def _of(values: FloatArray, n: int) -> FloatArray:
    """Values of n samples: those that came later than stage 0 (`data.grow`) have the median of the others."""
    more = n - len(values)
    if more <= 0 or values.ndim != 1:
        return values
    return np.concatenate([values, np.full(more, np.nanmedian(values), dtype=values.dtype)])


def _earlier(experiment: Experiment, disk: RunDir, r: int, candidates: IntArray) -> FloatArray:
    """Predictions of the model of round r - 2 in the candidates' rows of (N, C); (N, 0) before round 2."""
    n = len(experiment.manifest)
    if r < 2:
        return np.empty((n, 0))
    folder = disk.round_path(r - 2)
    experiment.learner.load(folder / "model.safetensors")
    probs = np.full((n, len(experiment.classes)), np.nan)
    for batch in _predictor(experiment, folder / "calibration.npz")(candidates, 1, 1):
        probs[batch.indices] = batch.probs.mean(axis=1)
    return probs
