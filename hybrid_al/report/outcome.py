"""What a run came to, in words for people who are new to the field: the same for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.types import GIVEN
from ..metrics.domains import parted
from .console import headline
from .runview import RunView

NAMES = {"auroc": "AUROC", "balanced_accuracy": "balanced accuracy", "dice": "Dice"}
"""Metric -> its name in a text, where that is another one."""
MOST_CLASSES = 6
UNMEASURED = (
    "No image outside the pool has a label, so nothing says how good the model is, and there is no learning curve. "
    "What is shown instead is how far the models of two rounds agree, which says when more labels change little."
)
LESS = ("hd95",)
"""Metrics of which less is better."""
FILES = ("folder", "csv", "dicom", "nifti", "npz")
"""Sources of data in files of one's own."""
NEXT = (
    ("hybrid-al init FOLDER -o recipe.yaml", "writes a recipe for your own images"),
    ("hybrid-al run recipe.yaml oracle=worklist", "picks images and asks you for their labels"),
)
ON_OWN = (("hybrid-al run RUN oracle=worklist --run-dir runs/asked", "picks and asks you for labels"),)
"""What to do after a run whose answers were simulated, on data that come along and on one's own: (command, effect).

RUN stands for the run directory."""
AFTER = (
    ("hybrid-al predict RUN FOLDER -o said.csv", "says what the last model thinks of new images"),
    ("hybrid-al export RUN -o FOLDER", "writes labels and model for other programs"),
)
"""What to do with any run that has a model."""


@dataclass(frozen=True)
class Score:
    """One metric after the last round.

    name     in words
    meaning  what its values mean; empty where there are no words for it
    value    of the run
    random   of the runs with random picks, with as many labels (n,)
    """

    name: str
    meaning: str
    value: float
    random: tuple[float, ...] = ()

    @property
    def beside(self) -> str:
        """The random picks in words: their mean and range, and how many runs these are of; empty without any."""
        if len(self.random) < 2:
            return "".join(f"{value:.3f} in one run" for value in self.random)
        low, high = min(self.random), max(self.random)
        return f"{np.mean(self.random):.3f}, mean of {len(self.random)} runs ({low:.3f} to {high:.3f})"


@dataclass(frozen=True)
class Outcome:
    """What was done, on what its scores were measured, the scores, how random picks did, and what may come next."""

    story: str
    ground: str
    scores: tuple[Score, ...]
    verdict: str
    next: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, run: RunView, random: Sequence[RunView] = ()) -> Outcome:
        """The outcome of a run, beside runs with random picks where there are any."""
        last = run.committed[-1].metrics if run.committed else {}
        metrics = headline(last)
        return cls(
            story=_story(run),
            ground=_ground(run, metrics),
            scores=tuple(_score(run, random, metric, last[metric]) for metric in metrics),
            verdict=_verdict(run, random, metrics[0]) if metrics else "",
            next=(_next(run) if run.component("oracle") == "simulated" else ())
            + (_after(run) if run.committed else ()),
        )


def kind_of(metric: str) -> str:
    """What a metric measures, whatever the split or part: `auroc` of `target/test/auroc`."""
    return parted(metric)[1].partition("/")[2]


def name_of(metric: str) -> str:
    """A metric in a text."""
    kind = kind_of(metric)
    return NAMES.get(kind, kind) + " of the target" * metric.startswith("target/")


def _after(run: RunView) -> tuple[tuple[str, str], ...]:
    """What to do with the model, where there is one; one of bags says nothing of single images."""
    if not run.committed:
        return ()
    return AFTER[1:] if run.of_bags else AFTER


def _next(run: RunView) -> tuple[tuple[str, str], ...]:
    """What may come next: data of one's own lie in files that do not come along."""
    data = run.recipe.get("data")
    source, root = (data.get("source"), str(data.get("root"))) if isinstance(data, Mapping) else (None, "")
    return ON_OWN if source in FILES and not root.startswith("package:") else NEXT


def _story(run: RunView) -> str:
    pool, images, rounds = len(run.manifest.indices("pool")), len(run.labels.labeled), run.committed
    if not rounds:
        return f"Nothing is labeled yet, of a pool of {pool} images."
    count = f"{images} of {pool} images"
    if run.of_bags:
        count = f"{images} bags in a pool of {pool} images"
    elif run.labeled != images:
        count = f"{run.labeled} parts, in {images} of {pool} images,"
    text = f"{count} were labeled{_classes(run)} in {len(rounds)} round{'s' * (len(rounds) > 1)}: "
    if given := sum(a.annotator == GIVEN for a in run.labels.current.values()):
        text += f"{given} labels were given with the source, "
    text += f"{len(rounds[0].picks)} picked before there was a model ({run.component('cold_start')})"
    if later := sum(len(r.picks) for r in rounds[1:]):
        text += f", then {later} with its help ({run.component('query')})"
    simulated = " The answers were the labels that came with the data." * (run.component("oracle") == "simulated")
    return f"{text}. Each round ended with a training on all labels so far.{simulated}"


def _classes(run: RunView) -> str:
    """As what images are labeled, where each has one of a few classes."""
    if run.component("task") != "classification" or not 2 <= len(run.classes) <= MOST_CLASSES:
        return ""
    return f" as {', '.join(run.classes[:-1])} or {run.classes[-1]}"


def _ground(run: RunView, metrics: Sequence[str]) -> str:
    split = parted(metrics[0])[1].partition("/")[0] if metrics else ""
    bags = "the bags of " * run.of_bags
    if split == "test":
        return f"Measured on {bags}{len(run.manifest.indices('test'))} test images, of which no model has seen any."
    if split == "val":
        return f"Measured on {bags}{len(run.manifest.indices('val'))} val images; there is no test set."
    return UNMEASURED if run.committed else ""


def _score(run: RunView, random: Sequence[RunView], metric: str, value: float) -> Score:
    kind = kind_of(metric)
    ends = [(x[-1], float(y[-1])) for x, y in (other.curve(metric) for other in random) if len(x)]
    values = tuple(y for x, y in ends if x == run.labeled)
    return Score(name_of(metric), _meaning(kind, len(run.classes)), value, values)


def _meaning(kind: str, classes: int) -> str:
    guess = f"{1 / max(classes, 1):.2g}"
    return {
        "auroc": "how well the model's scores tell the classes apart: 1 is perfect, 0.5 a coin",
        "balanced_accuracy": f"share of each class that the model recognises: 1 is all, {guess} is guessing",
        "dice": "overlap of the model's outlines with the true ones: 1 is perfect, 0 is none",
        "hd95": "how far the model's outlines are from the true ones: less is better",
    }.get(kind, "")


def _verdict(run: RunView, random: Sequence[RunView], metric: str) -> str:
    """How the curve stands against those of random picks that span the same numbers of labels."""
    labels, _ = run.curve(metric)
    peers = [other.area(metric) for other in random if np.array_equal(other.curve(metric)[0], labels)]
    own, areas = run.area(metric), [area for area in peers if area is not None]
    if own is None or not areas:
        return ""
    worse = sum(own < area if kind_of(metric) in LESS else own > area for area in areas)
    return (
        f"From {labels[0]:g} to {labels[-1]:g} labels, {name_of(metric)} is {own:.3f} on average, with random "
        f"picks {np.mean(areas):.3f} (same encoder, same training): {worse} of {len(areas)} runs with random picks did "
        "worse. One run proves little; hybrid-al bench compares over many."
    )
