"""From a recipe of classification to objects: for classes what `segmentation.py` does for masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.learner import Learner
from ..core.manifest import Split
from ..core.registry import component
from ..core.rundir import RunDir
from ..core.types import BoolArray, IntArray
from ..data.base import Dataset
from ..errors import InputError
from ..metrics.holdout import Holdout
from ..oracles.base import Oracle
from ..oracles.simulated import SimulatedOracle
from ..oracles.worklist import worklist
from ..query.base import QueryStrategy, Scoring
from ..recipe import Recipe
from ..regions.base import Parts

if TYPE_CHECKING:
    import torch

    from ..data.stores.images import ImageStore
    from ..learners.network import Foundation
    from ..semi.base import Objective
    from ..train import Schedule


ORACLE_KEYS = ("costs",)
BUDGETS = ("labels",)
BASELINES = ("random",)
STRATA = True


def check(recipe: Recipe, strategies: Sequence[tuple[str, str, QueryStrategy]]) -> None:
    """Refuse an unknown learner, its unknown keys and values."""
    _settings(recipe)


def check_data(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse data with masks or several labels a sample, which are other tasks'."""
    if dataset.masks is not None:
        raise InputError("task", "segmentation, as the data has masks", recipe.task)
    if dataset.labels is not None:
        raise InputError("task", "multilabel, as samples have several labels", recipe.task)


def objectives(recipe: Recipe) -> tuple[dict[str, type[Objective]], Schedule]:
    """The objectives that there are, by name, and the schedule that a recipe starts from."""
    from ..learners import finetune as finetune_learner
    from ..learners import frozen as frozen_learner
    from ..semi import OBJECTIVES

    return OBJECTIVES, (frozen_learner if recipe.learner.name == "frozen" else finetune_learner).SCHEDULE


def learner(
    recipe: Recipe,
    dataset: Dataset,
    base: Foundation,
    objective: Any,
    schedule: Schedule,
    run: RunDir,
    parted: Parts | None,
) -> tuple[Learner, Scoring | None]:
    """The learner over samples that have a class; its probabilities are scored by the strategies themselves."""
    return _settings(recipe).build(base, objective, schedule), None


def _settings(recipe: Recipe) -> Any:
    from ..learners.finetune import Finetune
    from ..learners.frozen import Frozen

    learners: dict[str, type[Any]] = {"finetune": Finetune, "frozen": Frozen}
    return component(learners, "learner", recipe.learner.name, recipe.learner.params)


def regions(
    recipe: Recipe, dataset: Dataset, store: ImageStore, cache: Path, run: RunDir, device: torch.device
) -> None:
    """None: an image has one class."""


def spending(recipe: Recipe, dataset: Dataset, parted: Parts | None) -> None:
    """None: a label is a label."""


def truth(recipe: Recipe, dataset: Dataset, run: RunDir, cache: Path, parted: Parts | None) -> tuple[Oracle, Holdout]:
    """Who answers, and who measures."""
    check_classes(dataset.classes)
    return _oracle(recipe, dataset, run), Holdout(dataset.manifest, dataset.truth)


def check_classes(classes: Sequence[str]) -> None:
    """Refuse fewer than two classes, from which nothing can be learned; stage 0 needs none."""
    if len(classes) < 2:
        raise InputError("data.classes", "at least two classes", ", ".join(classes) or "none (say data.classes)")


def known(dataset: Dataset) -> BoolArray:
    """Whether the class of a sample is known (N,)."""
    return dataset.truth >= 0


def check_metric(where: str, name: str, dataset: Dataset) -> None:
    """Refuse a metric of a split that has not two classes."""
    if len(np.unique(dataset.truth[rows_of(name, dataset)])) < 2:
        raise InputError(where, "a metric of a split with labels of two classes", name)


def rows_of(name: str, dataset: Dataset) -> IntArray:
    """The samples (K,) of the split of `<split>/<metric>`; none where it is not val or test."""
    splits: dict[str, Split] = {"val": "val", "test": "test"}
    split = splits.get(name.partition("/")[0])
    return np.empty(0, dtype=np.int64) if split is None else dataset.manifest.indices(split)


def _oracle(recipe: Recipe, dataset: Dataset, run: RunDir) -> Oracle:
    if recipe.oracle.name == "worklist":
        return worklist(run)
    pool = dataset.manifest.indices("pool")
    if not (dataset.truth[pool] >= 0).any():
        raise InputError("oracle", "labels for the pool (simulated)", "none in the data; use oracle.name=worklist")
    seen = np.full_like(dataset.truth, -1)
    seen[pool] = dataset.truth[pool]
    return SimulatedOracle(seen)
