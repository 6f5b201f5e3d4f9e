"""The values that travel between the planes: annotations, predictions, scores, queries, rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import InputError

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

LabelMap = npt.NDArray[np.uint8]
"""Classes of the pixels of one image (H, W), of several (B, H, W) or of a volume; `IGNORE` where unknown."""

IGNORE = 255
"""In a label map: the class of this pixel is unknown, or it is padding. No loss, score or metric counts it."""

GIVEN = "given"
"""The annotator of labels that came with a source (`domains.source`)."""

GRADIENTS = "gradients"
"""Vector that a scorer may give of a sample with pixels: the gradient of the last layer by its own prediction."""

FEATURES = "features"
"""Vector that a scorer may give of a sample, or region, with pixels: the mean features of its pixels."""

CLASS_FEATURES = "class_features"
"""Vector that a scorer may give of a sample with pixels: the mean features of the pixels of each predicted class."""

AnnotationKind = Literal["class", "classes", "not", "mask", "point", "scribble", "box", "skip"]
Target = int | tuple[int, ...] | str | None
Region = tuple[int, ...]
Need = Literal[
    "embeddings",
    "predictions",
    "features",
    "samples",
    "views",
    "history",
    "consistency",
    "stage0",
    "costs",
    "tissue",
    "domains",
    "clicks",
    "proxy",
    "patterns",
]


@dataclass(frozen=True)
class Annotation:
    """One answer of an oracle about one sample.

    `target` is a class number for kind "class", a tuple of them for "classes", of those that it is not for "not" (no
    label, but more than nothing: the sample may be asked about again), the path of a label map in the run
    directory for "mask", "point", "scribble" and "box", and None for "skip" (the annotator gave no answer).
    `supersedes` is the position in the label store of the annotation that this one corrects. `votes` are the targets
    that several readers gave, where each of them is trained on.
    """

    index: int
    kind: AnnotationKind
    target: Target
    annotator: str
    round: int
    time: str | None = None
    cost: float = 1.0
    region: Region | None = None
    supersedes: int | None = None
    votes: tuple[Target, ...] = ()


@dataclass(frozen=True)
class PredictionBatch:
    """Predictions of the learner for a batch of samples.

    indices (B,) positions in the manifest; probs (B, S, C, *space) where S counts stochastic passes,
    views or committee members; features (B, D) of the penultimate layer; head the last layer's (W (C, D), b (C,));
    losses (B,) that the network predicts for itself, up to an increasing function.
    """

    indices: IntArray
    probs: FloatArray
    features: FloatArray | None = None
    head: tuple[FloatArray, FloatArray] | None = None
    losses: FloatArray | None = None

    def __post_init__(self) -> None:
        """Refuse probabilities that are not finite: whatever is computed from them would look like a number."""
        if not np.isfinite(self.probs).all():
            bad = ~np.isfinite(self.probs.reshape(len(self.probs), -1)).all(axis=1)
            raise InputError(f"predictions of sample {self.indices[bad][0]}", "finite probabilities", "nan or inf")


@dataclass(frozen=True)
class Scores:
    """One number per candidate, larger = ask first; `parts` are its named terms, each (M,), for the dashboard."""

    indices: IntArray
    values: FloatArray
    parts: Mapping[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse misshapen or non-finite values: they would silently sort first or last."""
        for name, values in {"values": self.values, **self.parts}.items():
            if values.shape != self.indices.shape:
                raise InputError(f"scores.{name}", f"shape {self.indices.shape}", str(values.shape))
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size:
                raise InputError(
                    f"scores.{name}", "finite numbers", f"{values[bad[0]]} for sample {self.indices[bad[0]]}"
                )


@dataclass(frozen=True)
class Query:
    """Samples to ask about, in order of preference, with optional regions, scores and one reason per pick.

    asks  the class that each is asked to be or not to be, where an answer is yes or no
    """

    indices: IntArray
    regions: tuple[Region | None, ...] | None = None
    scores: Scores | None = None
    reasons: tuple[str, ...] | None = None
    asks: tuple[str, ...] | None = None

    def only(self, picks: IntArray) -> Query:
        """The picks at these places (k,), in that order, with their regions and reasons."""
        regions = None if self.regions is None else tuple(self.regions[i] for i in picks)
        reasons = None if self.reasons is None else tuple(self.reasons[i] for i in picks)
        return replace(self, indices=self.indices[picks], regions=regions, reasons=reasons)


@dataclass(frozen=True)
class Round:
    """The record that commits a finished round: `round.json`."""

    index: int
    strategy: str
    budget: int
    query: tuple[str, ...]
    labeled: int
    metrics: Mapping[str, float]
    seed: int
    seconds: Mapping[str, float]
    digests: Mapping[str, str] = field(default_factory=dict)
    schema: int = 1
