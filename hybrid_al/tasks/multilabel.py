"""From a recipe of several labels a sample to objects: what `classification.py` does where a sample has one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.learner import Learner
from ..core.rundir import RunDir
from ..core.types import Annotation, BoolArray, FloatArray, IntArray
from ..data.base import Dataset
from ..errors import InputError, UnknownName
from ..metrics.holdout import LabelHoldout
from ..oracles.base import BETWEEN, NONE, SKIP, Oracle
from ..oracles.simulated import SimulatedLabels
from ..oracles.worklist import worklist
from ..query.base import Predictor, QueryStrategy, Scorer, Scoring
from ..recipe import Recipe
from ..regions.base import Parts, Regions
from ..scores import samples as scores
from . import classification
from .tryout import try_strategy

if TYPE_CHECKING:
    import torch

    from ..data.stores.images import ImageStore
    from ..learners.network import Foundation
    from ..semi.base import Objective
    from ..train import Schedule

OBJECTIVES = ("supervised", "pseudo_label", "pi_model", "mean_teacher", "uda", "fixmatch")
"""Those whose formula for two classes is the one for a label: threshold, sharpening and distance know no class."""

SCORES = (
    scores.least_confidence,
    scores.margin,
    scores.ratio,
    scores.entropy,
    scores.bald,
    scores.variation_ratio,
    scores.vote_entropy,
    scores.mean_std,
)
"""Each is taken of every label, a question of two classes; a sample's is the mean over its labels."""

BY_NAME = {score.__name__: score for score in SCORES}
ORACLE_KEYS = ("costs",)
BUDGETS = ("labels",)
BASELINES = ("random",)
STRATA = False
EXPECTED = "labels (csv: labels, npz: multilabel=true, medmnist: chestmnist, phantom: multilabel=true)"


def check(recipe: Recipe, strategies: Sequence[tuple[str, str, QueryStrategy]]) -> None:
    """Refuse what several labels a sample have not; `strategies` are (key, name, strategy). No data is read."""
    classification.check(recipe, strategies)
    record = recipe.train.params.get("record")
    within = record.get("within", "all") if isinstance(record, dict) else "all"
    for key, only, said in (
        ("loop.stop.enforce", False, recipe.loop.stop.enforce),
        ("train.prior", 0, recipe.train.params.get("prior", 0)),
        ("train.record.within", "all", within),
    ):
        if said != only:
            raise InputError(key, f"{str(only).lower()}, in a multilabel task", str(said).lower())
    answer = Annotation(0, "classes", (0,), "", 0)
    for key, name, strategy in strategies:
        try_strategy(key, name, strategy, task="a multilabel task", scores=BY_NAME, views=True, answer=answer)


def check_data(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse data whose samples have no labels of their own; nothing is decoded."""
    labels_of(dataset)


def labels_of(dataset: Dataset) -> IntArray:
    """The labels (N, L) of a dataset, which must have some."""
    if dataset.labels is None:
        raise InputError("data", EXPECTED, "one class a sample" if dataset.masks is None else "masks")
    return dataset.labels


def objectives(recipe: Recipe) -> tuple[dict[str, type[Objective]], Schedule]:
    """The objectives that there are, by name, and the schedule that a recipe starts from."""
    known, schedule = classification.objectives(recipe)
    if recipe.train.name in known and recipe.train.name not in OBJECTIVES:
        expected = f"an objective of several labels a sample ({', '.join(OBJECTIVES)})"
        raise InputError("train", expected, recipe.train.name)
    return {name: known[name] for name in OBJECTIVES}, schedule


def learner(
    recipe: Recipe,
    dataset: Dataset,
    base: Foundation,
    objective: Any,
    schedule: Schedule,
    run: RunDir,
    parted: Parts | None,
) -> tuple[Learner, Scoring]:
    """The learner of classification over L questions of two classes, and what scores a sample by all of them."""
    made, _ = classification.learner(recipe, dataset, replace(base, multilabel=True), objective, schedule, run, parted)
    return made, scorer


def scorer(predictor: Predictor, regions: Regions | None = None) -> Scorer:
    """The mean over the labels of a score of each: of their entropies the binary entropy of the sample.

    The mean, so that no label is worth more than another; a sum would say the same, as all samples have L labels.
    """

    def score(name: str, indices: IntArray, samples: int, views: int) -> FloatArray:
        said = [BY_NAME[name](b.probs).mean(axis=1) for b in predictor(indices, samples, views)]
        return np.concatenate(said)

    return score


def regions(
    recipe: Recipe, dataset: Dataset, store: ImageStore, cache: Path, run: RunDir, device: torch.device
) -> None:
    """None: labels are an image's."""


def spending(recipe: Recipe, dataset: Dataset, parted: Parts | None) -> None:
    """None: a label is a label."""


def truth(
    recipe: Recipe, dataset: Dataset, run: RunDir, cache: Path, parted: Parts | None
) -> tuple[Oracle, LabelHoldout]:
    """Who answers, and who measures."""
    labels, pool = labels_of(dataset), dataset.manifest.indices("pool")
    holdout = LabelHoldout(dataset.manifest, dataset.classes, labels)
    if recipe.oracle.name == "worklist":
        _check_names(dataset.classes)
        return worklist(run), holdout
    if not (labels[pool] >= 0).all(axis=1).any():
        expected = "a sample of the pool with all its labels (simulated)"
        raise InputError("oracle", expected, "none in the data; use oracle.name=worklist")
    seen = np.full_like(labels, -1)
    seen[pool] = labels[pool]
    return SimulatedLabels(seen), holdout


def _check_names(classes: Sequence[str]) -> None:
    """Refuse labels that a person cannot name in a list."""
    for name in classes:
        if BETWEEN in name or name in (NONE, SKIP) or name != name.strip():
            expected = f"labels without {BETWEEN}, none named {NONE} or {SKIP} (worklist)"
            raise InputError("data: labels", expected, repr(name))


def known(dataset: Dataset) -> BoolArray:
    """Whether all labels of a sample are known (N,)."""
    there: BoolArray = np.logical_and.reduce(labels_of(dataset) >= 0, axis=1)
    return there


def check_metric(where: str, name: str, dataset: Dataset) -> None:
    """Refuse a metric of a split of which no label is known of some samples and not of others; or of a single label."""
    labels = labels_of(dataset)[classification.rows_of(name, dataset)]
    there = dict(zip(dataset.classes, ((labels == 0).any(axis=0) & (labels == 1).any(axis=0)).tolist(), strict=True))
    _, _, of = name.partition("/")[2].partition("/")
    if of and of not in there:
        raise UnknownName(where, of, there)
    if not (there[of] if of else any(there.values())):
        expected = f"a metric of a split where some have {'the' if of else 'a'} label and some have it not"
        raise InputError(where, expected, name)
