"""Classification: a sample has one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..core.labels import LabelStore
from ..core.learner import Learner
from ..core.rundir import RunDir
from ..core.types import BoolArray, IntArray
from ..data.base import Dataset
from ..data.display import picture
from ..data.domains import asked
from ..errors import InputError, UnknownName
from ..experiment import OpenTask, check_budgets, no_costs
from ..metrics.holdout import ClassHoldout
from ..oracles.base import Oracle
from ..oracles.inbox import Words, spec_of
from ..oracles.one_bit import ONE_BIT, OneBitOracle
from ..oracles.simulated import SimulatedOracle
from ..oracles.wording import WORDINGS, refuse_reserved
from ..query.spending import LabelBudgets
from ..regions.base import Whole
from .base import LABELS, Materials, Setting, check_classes, split_of

if TYPE_CHECKING:
    from ..learners.network import Foundation
    from ..semi.base import Objective
    from ..train import Schedule


@dataclass(frozen=True)
class Classification:
    """A sample has one class, which an answer names."""

    baselines: ClassVar[tuple[str, ...]] = ("random",)
    strata: ClassVar[bool] = True
    units: ClassVar[tuple[str, ...]] = (LABELS,)
    regional: ClassVar[bool] = False
    drawable: ClassVar[bool] = False

    def check(self, setting: Setting) -> None:
        """See `Task.check`."""
        if setting.answer not in (None, ONE_BIT):
            raise UnknownName("oracle.answer", str(setting.answer), (ONE_BIT,))
        learner = setting.learner[0]
        if setting.answer == ONE_BIT and learner == "linear":
            raise InputError("learner", "frozen or finetune, which learn from a no (oracle.answer: one_bit)", learner)

    def check_data(self, setting: Setting, dataset: Dataset) -> None:
        """See `Task.check_data`: masks and several labels a sample are other tasks'."""
        if dataset.masks is not None:
            hint = "segmentation, as the data has masks (a table: columns: {mask: none} reads none)"
            raise InputError("task", hint, "classification")
        if dataset.labels is not None:
            raise InputError("task", "multilabel, as samples have several labels", "classification")
        check_classes(dataset.classes)
        if not setting.simulated:
            refuse_reserved(dataset.classes, WORDINGS[words_of(setting)])
        pool = asked(dataset.manifest, setting.sources)
        if setting.simulated and not (dataset.truth[pool] >= 0).any():
            raise InputError("oracle", "labels for the pool (simulated)", "none in the data; use oracle.name=worklist")
        check_budgets(_samples(setting, pool), LabelBudgets(setting.budgets))

    def check_images(self, setting: Setting, materials: Materials) -> None:
        """See `Task.check_images`: nothing."""

    def check_metric(self, where: str, name: str, dataset: Dataset) -> None:
        """See `Task.check_metric`: it takes labels of two classes."""
        if len(np.unique(dataset.truth[split_of(name, dataset.manifest)])) < 2:
            raise InputError(where, "a metric of a split with labels of two classes", name)

    def answered(self, dataset: Dataset) -> BoolArray:
        """See `Task.answered`."""
        return dataset.truth >= 0

    def objectives(self, setting: Setting) -> tuple[Mapping[str, type[Objective]], Schedule]:
        """See `Task.objectives`."""
        from ..semi import OBJECTIVES

        return OBJECTIVES, setting.learner[1].schedule

    def inbox(self, setting: Setting, dataset: Dataset) -> dict[str, object]:
        """See `Task.inbox`."""
        return spec_of(Words(words_of(setting)))

    def open(self, setting: Setting, materials: Materials) -> tuple[OpenTask, Oracle]:
        """See `Task.open`."""
        dataset = materials.dataset
        oracle = setting.oracle[1].open(ClassAnswers(materials, materials.pool, words_of(setting)))
        asks = None
        if setting.answer == ONE_BIT:
            oracle = OneBitOracle(oracle, materials.run, dataset.manifest, dataset.classes, tells=setting.simulated)
            asks = partial(guesses, dataset.classes)
        holdout = ClassHoldout(dataset.manifest, dataset.truth, materials.parts)
        given = materials.given(ClassAnswers(materials, materials.pool).simulated)
        samples, spending = _samples(setting, materials.asked), LabelBudgets(setting.budgets)
        costs = (lambda labels: {"cost/bits": labels.cost}) if asks is not None else no_costs
        return OpenTask(holdout, samples, spending, given=given, asks=asks, costs=costs), oracle

    def learner(
        self,
        setting: Setting,
        materials: Materials,
        base: Foundation,
        objective: Any,
        schedule: Schedule,
        task: OpenTask,
    ) -> Learner:
        """See `Task.learner`."""
        learner: Learner = setting.learner[1].build(base, objective, schedule)
        return learner

    def summary(self, setting: Setting, dataset: Dataset, cache: Path) -> list[str]:
        """See `Task.summary`: nothing beyond what every task says."""
        return []

    def rehearse(self, setting: Setting, dataset: Dataset, objective: Any, schedule: Schedule, steps: int) -> None:
        """See `Task.rehearse`."""
        rehearse(setting, dataset, objective, schedule, steps, multilabel=False)


@dataclass(frozen=True)
class ClassAnswers:
    """The task as oracles see it; pool (P,): the samples whose classes a simulated one knows; `words`: see `Words`."""

    materials: Materials
    pool: IntArray
    words: str = "class"

    @property
    def run(self) -> RunDir:
        """See `Answers.run`."""
        return self.materials.run

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """See `Answers.picture`."""
        return picture(self.materials.dataset, index)

    def simulated(self) -> Oracle:
        """See `Answers.simulated`: the classes of the pool."""
        truth = self.materials.dataset.truth
        of_pool = np.full_like(truth, -1)
        of_pool[self.pool] = truth[self.pool]
        return SimulatedOracle(of_pool)

    def people(self) -> Oracle:
        """See `Answers.people`."""
        return Words(self.words).open(self.run)


def rehearse(
    setting: Setting, dataset: Dataset, objective: Objective, schedule: Schedule, steps: int, *, multilabel: bool
) -> None:
    """Train a head on noise in the place of embeddings, or the whole network on noise in the place of images."""
    from ..learners.rehearsal import rehearse_classes

    rehearse_classes(
        setting.blank(setting.channels_of(dataset)),
        setting.shape_of(dataset),
        len(dataset.classes),
        objective,
        schedule,
        steps=steps,
        frozen=setting.learner[1].frozen,
        multilabel=multilabel,
    )


def _samples(setting: Setting, pool: IntArray) -> Whole:
    """What is asked about: after a no, the same sample again."""
    return Whole(pool, fixed=setting.answer != ONE_BIT)


def words_of(setting: Setting) -> str:
    """How people answer: one of `worklist.WORDINGS`."""
    return ONE_BIT if setting.answer == ONE_BIT else "class"


def guesses(classes: Sequence[str], learner: Learner, labels: LabelStore, picks: IntArray) -> tuple[str, ...]:
    """The class of each pick that the learner believes most, of those that no answer has excluded."""
    excluded, guess = labels.excluded, dict[int, str]()
    for batch in learner.predict(np.sort(picks)):
        for i, probs in zip(batch.indices.tolist(), batch.probs.mean(axis=1), strict=True):
            is_open = ~np.isin(np.arange(len(classes)), excluded.get(i, ()))
            guess[i] = classes[int(np.where(is_open, probs, -1.0).argmax())]
    return tuple(guess[i] for i in picks.tolist())


def refuse_answer(setting: Setting) -> None:
    """Refuse `oracle.answer` in a task whose answers are names of classes."""
    if setting.answer is not None:
        raise InputError("oracle.answer", "nothing: answers are names of classes in this task", setting.answer)
