"""What a task makes of a recipe in its own way: metrics and oracles, learner, units of a query and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..core.learner import Learner
from ..core.rundir import RunDir
from ..core.types import BoolArray
from ..data.base import Dataset
from ..metrics.holdout import Holdout, LabelHoldout, MaskHoldout
from ..oracles.base import Oracle
from ..query.base import QueryStrategy, Scoring
from ..query.spending import Spending
from ..recipe import Recipe
from ..regions.base import Parts

if TYPE_CHECKING:
    import torch

    from ..data.stores.images import ImageStore
    from ..learners.network import Foundation
    from ..train import Schedule


class Task(Protocol):
    """What a task makes of a recipe in its own way; a module is one."""

    @property
    def BASELINES(self) -> tuple[str, ...]:
        """The strategies that every bench has."""

    @property
    def STRATA(self) -> bool:
        """Whether a sample has one class, by which a baseline of a bench may balance its picks."""

    @property
    def ORACLE_KEYS(self) -> tuple[str, ...]:
        """What a recipe may say of the oracle beside its name."""

    @property
    def BUDGETS(self) -> tuple[str, ...]:
        """What budgets may be of (`loop.unit`)."""

    def check(self, recipe: Recipe, strategies: Sequence[tuple[str, str, QueryStrategy]]) -> None:
        """Refuse what the task has not; `strategies` are (key, name, strategy). No data is read."""

    def check_data(self, recipe: Recipe, dataset: Dataset) -> None:
        """Refuse data that is not the task's; nothing is decoded."""

    def objectives(self, recipe: Recipe) -> tuple[Mapping[str, type[Any]], Schedule]:
        """The objectives that there are, by name, and the schedule that a recipe starts from."""

    def learner(
        self,
        recipe: Recipe,
        dataset: Dataset,
        base: Foundation,
        objective: Any,
        schedule: Schedule,
        run: RunDir,
        parted: Parts | None,
    ) -> tuple[Learner, Scoring | None]:
        """The learner, and what scores samples where they have no class probabilities of their own."""

    def regions(
        self, recipe: Recipe, dataset: Dataset, store: ImageStore, cache: Path, run: RunDir, device: torch.device
    ) -> Parts | None:
        """The parts of the pool's images, where they are what is asked about."""

    def spending(self, recipe: Recipe, dataset: Dataset, parted: Parts | None) -> Spending | None:
        """How picks are paid for where budgets are not of labels."""

    def truth(
        self, recipe: Recipe, dataset: Dataset, run: RunDir, cache: Path, parted: Parts | None
    ) -> tuple[Oracle, Holdout | MaskHoldout | LabelHoldout]:
        """Who answers about images, or `parted` about parts of them; and who measures."""

    def known(self, dataset: Dataset) -> BoolArray:
        """Whether a simulated oracle has an answer about a sample (N,)."""

    def check_metric(self, where: str, name: str, dataset: Dataset) -> None:
        """Refuse `<split>/<metric>` where the split has not the labels that it takes."""


def task_of(recipe: Recipe) -> Task:
    """The task of a recipe."""
    from . import classification, multilabel, segmentation

    tasks: dict[str, Task] = {
        "classification": classification,
        "multilabel": multilabel,
        "segmentation": segmentation,
    }
    return tasks[recipe.task]
