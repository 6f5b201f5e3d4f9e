"""Bags: several samples have one class together, such as the tiles of a slide or the slices of a volume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..core.learner import Learner
from ..core.types import BoolArray
from ..data.bags import Bags
from ..data.base import Dataset
from ..errors import InputError
from ..experiment import BagNote, OpenTask, check_budgets, class_answers
from ..metrics.holdout import ClassHoldout
from ..oracles.base import Oracle
from ..oracles.inbox import Words, spec_of
from ..oracles.wording import WORDINGS, refuse_reserved
from ..query.spending import LabelBudgets
from ..regions.base import Whole
from .base import LABELS, Materials, Setting, check_classes, split_of
from .classification import ClassAnswers, refuse_answer, rehearse

if TYPE_CHECKING:
    from ..learners.network import Foundation
    from ..semi.base import Objective
    from ..train import Schedule

LEARNERS = {"attention": "attention pooling", "linear": "logistic regression on the mean of a bag's embeddings"}
OBJECTIVES = (
    "supervised", "pseudo_label", "pi_model", "mean_teacher", "uda", "fixmatch", "flexmatch", "freematch", "softmatch",
)  # fmt: skip
"""Objectives that do not mix samples, which bags of several sizes cannot be."""
BEYOND = ("views", "stage0", "tissue", "proxy", "patterns")
"""Needs of strategies that are of single images."""
BAGS = "bags"
SHOWN = 6  # rows of a bag in a report


@dataclass(frozen=True)
class BagTask:
    """Samples have one class a bag (`data.bag`), which an answer names; a query asks about bags.

    A bag stands at its first row. Strategies see its mean embedding, and what the learner predicts of it.
    """

    baselines: ClassVar[tuple[str, ...]] = ("random",)
    strata: ClassVar[bool] = True
    units: ClassVar[tuple[str, ...]] = (LABELS,)
    regional: ClassVar[bool] = False
    drawable: ClassVar[bool] = False

    def check(self, setting: Setting) -> None:
        """See `Task.check`."""
        refuse_answer(setting)
        if setting.learner[0] not in LEARNERS:
            words = ", ".join(f"{name} ({what})" for name, what in LEARNERS.items())
            raise InputError("learner", f"one that learns from bags: {words}", setting.learner[0])
        if setting.sources:
            raise InputError("domains.source", "none, where samples are bags", ", ".join(setting.sources))
        for key, name, strategy in setting.strategies:
            if beyond := sorted(strategy.needs & set(BEYOND)):
                raise InputError(f"{key} ({name})", "a strategy that bags can feed", f"it needs {beyond[0]}")

    def check_data(self, setting: Setting, dataset: Dataset) -> None:
        """See `Task.check_data`: the data must say which bag each row is of."""
        if not dataset.bags:
            raise InputError("data.bag", "what names the bag of each row: group, a column, or a pattern", "nothing")
        check_classes(dataset.classes)
        if not setting.simulated:
            refuse_reserved(dataset.classes, WORDINGS["class"])
        pool = Bags.of(dataset).split(dataset.manifest, "pool")
        if setting.simulated and not (dataset.truth[pool] >= 0).any():
            raise InputError("oracle", "labels for bags of the pool (simulated)", "none; use oracle.name=worklist")
        check_budgets(Whole(pool, name=BAGS), LabelBudgets(setting.budgets))

    def check_images(self, setting: Setting, materials: Materials) -> None:
        """See `Task.check_images`: nothing."""

    def check_metric(self, where: str, name: str, dataset: Dataset) -> None:
        """See `Task.check_metric`: it takes labels of two classes."""
        truth = dataset.truth[split_of(name, dataset.manifest)]
        if len(np.unique(truth[truth >= 0])) < 2:
            raise InputError(where, "a metric of a split with bags of two classes", name)

    def answered(self, dataset: Dataset) -> BoolArray:
        """See `Task.answered`: at every row of a bag."""
        bags = Bags.of(dataset)
        known: BoolArray = (dataset.truth[bags.first] >= 0)[bags.of_row]
        return known

    def objectives(self, setting: Setting) -> tuple[Mapping[str, type[Objective]], Schedule]:
        """See `Task.objectives`."""
        from ..semi import OBJECTIVES as ALL

        if setting.objective in ALL and setting.objective not in OBJECTIVES:
            raise InputError("train", f"an objective of bags ({', '.join(OBJECTIVES)})", setting.objective)
        return {name: ALL[name] for name in OBJECTIVES}, setting.learner[1].schedule

    def inbox(self, setting: Setting, dataset: Dataset) -> dict[str, object]:
        """See `Task.inbox`."""
        return spec_of(Words("class"))

    def open(self, setting: Setting, materials: Materials) -> tuple[OpenTask, Oracle]:
        """See `Task.open`."""
        dataset = materials.dataset
        bags = Bags.of(dataset)
        pool = bags.split(dataset.manifest, "pool")
        oracle = setting.oracle[1].open(ClassAnswers(materials, pool))
        notes = _Notes(dataset, bags) if setting.learner[0] == "attention" else None
        return OpenTask(
            ClassHoldout(dataset.manifest, dataset.truth),
            Whole(pool, name=BAGS),
            LabelBudgets(setting.budgets),
            answers=lambda learner, _, seed: class_answers(learner, pool, seed),
            notes=notes,
        ), oracle

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
        bags = Bags.of(materials.dataset)
        pool, pooled = bags.split(materials.dataset.manifest, "pool"), bags.pooled(base.embeddings)
        base = replace(base, pool=pool, embeddings=pooled, bags=bags, instances=base.embeddings.vectors)
        learner: Learner = setting.learner[1].build(base, objective, schedule)
        return learner

    def summary(self, setting: Setting, dataset: Dataset, cache: Path) -> list[str]:
        """See `Task.summary`: how many bags there are, and of how many rows."""
        bags, manifest = Bags.of(dataset), dataset.manifest
        lines = []
        for split in ("pool", "val", "test"):
            first = bags.split(manifest, split)
            if len(first):
                sizes, labeled = bags.sizes[bags.of_row[first]], int((dataset.truth[first] >= 0).sum())
                rows = f"{sizes.min()} to {sizes.max()} rows, {np.median(sizes):g} in the middle"
                lines.append(f"  {len(first)} bags in {split}, {labeled} with a label; {rows}")
        return [*lines, f"  a query asks about bags; {LEARNERS[setting.learner[0]]}"]

    def rehearse(self, setting: Setting, dataset: Dataset, objective: Any, schedule: Schedule, steps: int) -> None:
        """See `Task.rehearse`."""
        rehearse(setting, dataset, objective, schedule, steps, multilabel=False)


@dataclass(frozen=True)
class _Notes:
    """The rows of most attention of bags, and what is predicted of them; see `OpenTask.notes`."""

    dataset: Dataset
    bags: Bags

    def __call__(self, learner: Learner, samples: Sequence[int], most: int = SHOWN) -> Iterable[BagNote]:
        """A note on each bag, in the order given."""
        from ..learners.attention import attention_of
        from ..learners.network import NetworkLearner

        assert isinstance(learner, NetworkLearner)
        for batch in learner.predict(np.asarray(samples, dtype=np.int64)):
            for sample, probs in zip(batch.indices.tolist(), batch.probs.mean(axis=1), strict=True):
                rows, weights = self.bags.rows(sample), attention_of(learner, sample)
                best = np.argsort(-weights, kind="stable")[:most]
                yield BagNote(sample, self.dataset.bags[sample], rows[best], weights[best], probs, len(rows))
