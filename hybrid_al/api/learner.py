"""A model of the caller's own behind the protocol `Learner`: anything with `fit` and `predict_proba`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

from ..core.files import write_atomic
from ..core.labels import LabelStore
from ..core.learner import FitResult, Log
from ..core.types import FloatArray, IntArray, PredictionBatch
from ..errors import InputError


class Model(Protocol):
    """What `Loop` asks of a model; scikit-learn's classifiers and skorch's nets are such."""

    def fit(self, inputs: npt.NDArray[np.generic], targets: IntArray, /) -> object:
        """Learn anew from inputs (K, ...) and their classes (K,), 0 to C - 1."""

    def predict_proba(self, inputs: npt.NDArray[np.generic], /) -> npt.ArrayLike:
        """Class probabilities (N, C), or (N, S, C) of S passes or members.

        A model with `classes_` may leave out the columns of classes that it never saw.
        """


def check_model(model: object) -> None:
    """Refuse a model that cannot be fitted or cannot predict."""
    if isinstance(model, type):
        raise InputError("model", "an object with fit and predict_proba", f"the class {model.__name__} itself")
    for method in ("fit", "predict_proba"):
        if not callable(getattr(model, method, None)):
            came = f"{type(model).__name__}, which has no {method}"
            raise InputError("model", "an object with fit and predict_proba", came)


class ModelLearner:
    """A `Learner`; what it predicts of all N samples is computed once a fit, and is what `save` keeps.

    So a run goes on with the same predictions, whatever the model is made of, and no pickle is written. A model is not
    fitted to labels of a single class: that class then has probability 1.
    """

    def __init__(self, model: Model, inputs: npt.NDArray[np.generic], classes: int) -> None:
        self.model, self.inputs, self.classes = model, inputs, classes
        self._last_labels: LabelStore | None = None
        self._probs: FloatArray | None = None  # (N, S, C)

    def refit(self, labels: LabelStore) -> None:
        """Fit the model to labels, unless this process did so already."""
        if labels != self._last_labels and len(np.unique(labels.class_targets())) > 1:
            self.model.fit(self.inputs[labels.labeled], labels.class_targets())
        self._last_labels = labels

    def fit(self, labels: LabelStore, *, round: int, seed: int, log: Log, previous: Path | None = None) -> FitResult:
        """See `Learner.fit`; seeds are the model's own."""
        targets = labels.class_targets()
        if not len(targets):
            raise InputError(f"training of round {round}", "at least one label", "none (all were skipped)")
        self.refit(labels)
        if len(np.unique(targets)) > 1:
            self._probs = self._check(np.asarray(self.model.predict_proba(self.inputs), dtype=np.float64))
        else:
            certain = np.eye(self.classes)[targets[:1]]
            self._probs = np.repeat(certain[None], len(self.inputs), axis=0)
        return FitResult({})

    def predict(self, indices: IntArray, samples: int = 1, views: int = 1) -> Iterator[PredictionBatch]:
        """See `Learner.predict`; the passes are those of the model, whatever `samples` and `views` are."""
        if self._probs is None:
            raise InputError("predict", "a learner that was fitted or loaded", "neither")
        if samples > 1 and self._probs.shape[1] == 1:
            expected = "(N, S, C) of several passes or members, which the strategy compares"
            raise InputError("model.predict_proba", expected, "(N, C)")
        yield PredictionBatch(indices, self._probs[indices])

    def held_out(self, labels: LabelStore, *, round: int, seed: int, folds: int) -> tuple[FloatArray, IntArray]:
        """See `Learner.held_out`; none: a loop around an own model calibrates nothing."""
        raise InputError("held_out", "a learner that can be trained apart", "a model of one's own")

    def save(self, path: Path) -> None:
        """See `Learner.save`; what the model says of all samples."""
        if self._probs is None:
            raise InputError(path, "a fitted learner", "an unfitted one")
        write_atomic(path, save({"probs": np.ascontiguousarray(self._probs)}))

    def load(self, path: Path) -> None:
        """See `Learner.load`; the model itself stays as it is."""
        self._probs = load_file(path)["probs"]

    def _check(self, probs: FloatArray) -> FloatArray:
        """As (N, S, C); columns of classes that the model never saw are filled with zeros."""
        n, columns = len(self.inputs), self.classes
        model_classes = np.asarray(getattr(self.model, "classes_", np.arange(columns)))
        if probs.ndim in (2, 3) and len(probs) == n and probs.shape[-1] == len(model_classes) < columns:
            full = np.zeros((*probs.shape[:-1], columns))
            full[..., model_classes.astype(np.int64)] = probs
            probs = full
        if probs.ndim not in (2, 3) or len(probs) != n or probs.shape[-1] != columns:
            expected = f"({n}, {columns}) or ({n}, S, {columns})"
            raise InputError("model.predict_proba", expected, str(probs.shape))
        if not np.isfinite(probs).all():
            raise InputError("model.predict_proba", "finite probabilities", "nan or inf")
        return probs[:, None, :] if probs.ndim == 2 else probs
