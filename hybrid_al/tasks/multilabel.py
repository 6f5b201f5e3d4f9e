"""Multilabel: a sample has any number of labels, which do not exclude each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..core.learner import Learner
from ..core.rundir import RunDir
from ..core.types import Annotation, BoolArray, FloatArray, IntArray, PredictionBatch
from ..data.base import Dataset
from ..data.display import picture
from ..data.domains import asked
from ..errors import InputError, UnknownName
from ..experiment import OpenTask, check_budgets
from ..metrics.holdout import LabelHoldout
from ..oracles.base import Oracle
from ..oracles.inbox import Words, spec_of
from ..oracles.simulated import SimulatedLabels
from ..oracles.wording import WORDINGS, refuse_reserved
from ..query.base import Predictor, Scorer
from ..query.last_layer import LARGEST
from ..query.spending import LabelBudgets
from ..regions.base import Whole
from ..scores import samples as scores
from .base import LABELS, Materials, Setting, split_of
from .classification import refuse_answer, rehearse
from .tryout import try_strategy

if TYPE_CHECKING:
    from ..learners.network import Foundation
    from ..semi.base import Objective
    from ..train import Schedule

Reduction = Literal["mean", "max"]
EVIDENTIAL = "evidential"  # the objective and the strategy of evidence by label
OBJECTIVES = ("supervised", "pseudo_label", "pi_model", "mean_teacher", "uda", "fixmatch", EVIDENTIAL)
"""Objectives that can take a label as two classes: threshold, sharpening and distance do not depend on the class."""

SCORES = (
    scores.least_confidence,
    scores.margin,
    scores.ratio,
    scores.entropy,
    scores.bald,
    scores.variation_ratio,
    scores.vote_entropy,
    scores.mean_std,
    scores.summed_variance,
)
"""Scores that take a label as two classes; the score of a sample is the mean or the largest over its labels."""

BY_NAME = {score.__name__: score for score in SCORES}
BY_EVIDENCE = {
    score.__name__: score
    for score in (scores.vacuity, scores.dissonance, scores.dirichlet_information, scores.dirichlet_data)
}
"""Scores of the evidence for no and for yes, which the objective `evidential` gives each label."""
LABEL_SOURCES = (
    "labels (csv: labels or separator, npz: multilabel=true, medmnist: chestmnist, phantom: multilabel=true)"
)


@dataclass(frozen=True)
class Multilabel:
    """A sample has several labels or none; an answer says of every label whether it is there.

    reduction  how the scores of labels become that of a sample, in queries: their mean or the largest
    """

    reduction: Reduction = "mean"

    baselines: ClassVar[tuple[str, ...]] = ("random",)
    strata: ClassVar[bool] = False
    units: ClassVar[tuple[str, ...]] = (LABELS,)
    regional: ClassVar[bool] = False
    drawable: ClassVar[bool] = False

    def check(self, setting: Setting) -> None:
        """See `Task.check`."""
        refuse_answer(setting)
        record = setting.train.get("record")
        within = record.get("within", "all") if isinstance(record, dict) else "all"
        for key, only, came in (
            ("loop.stop.enforce", False, setting.enforces),
            ("train.prior", 0, setting.train.get("prior", 0)),
            ("train.record.within", "all", within),
        ):
            if came != only:
                raise InputError(key, f"{str(only).lower()}, in a multilabel task", str(came).lower())
        answer = Annotation(0, "classes", (0,), "", 0)
        evidence = setting.objective == EVIDENTIAL and setting.learner[0] != "linear"
        known = {**BY_NAME, **(BY_EVIDENCE if evidence else {})}
        for key, name, strategy in setting.strategies:
            if name == EVIDENTIAL and not evidence:
                came = f"{setting.objective}, by {setting.learner[0]}"
                raise InputError(f"{key} ({name})", f"train: {EVIDENTIAL}, by finetune or frozen", came)
            try_strategy(
                key,
                name,
                strategy,
                task="a multilabel task",
                scores=known,
                views=True,
                features=evidence,
                answer=answer,
            )

    def check_data(self, setting: Setting, dataset: Dataset) -> None:
        """See `Task.check_data`: samples must have several labels."""
        labels, pool = labels_of(dataset), asked(dataset.manifest, setting.sources)
        if setting.simulated and not (labels[pool] >= 0).all(axis=1).any():
            expected = "a sample of the pool with all its labels (simulated)"
            raise InputError("oracle", expected, "none in the data; use oracle.name=worklist")
        if not setting.simulated:
            refuse_reserved(dataset.classes, WORDINGS["classes"])
        check_budgets(Whole(pool), LabelBudgets(setting.budgets))

    def check_images(self, setting: Setting, materials: Materials) -> None:
        """See `Task.check_images`: nothing."""

    def check_metric(self, where: str, name: str, dataset: Dataset) -> None:
        """See `Task.check_metric`: some samples must have the named label, or any label, and some not."""
        labels = labels_of(dataset)[split_of(name, dataset.manifest)]
        mixed = (labels == 0).any(axis=0) & (labels == 1).any(axis=0)
        by_name = dict(zip(dataset.classes, mixed.tolist(), strict=True))
        _, _, label = name.partition("/")[2].partition("/")
        if label and label not in by_name:
            raise UnknownName(where, label, by_name)
        if not (by_name[label] if label else any(by_name.values())):
            expected = f"a metric of a split where some have {'the' if label else 'a'} label and some have it not"
            raise InputError(where, expected, name)

    def answered(self, dataset: Dataset) -> BoolArray:
        """See `Task.answered`: all labels of a sample."""
        complete: BoolArray = np.logical_and.reduce(labels_of(dataset) >= 0, axis=1)
        return complete

    def objectives(self, setting: Setting) -> tuple[Mapping[str, type[Objective]], Schedule]:
        """See `Task.objectives`."""
        from ..semi import OBJECTIVES as ALL

        if setting.objective in ALL and setting.objective not in OBJECTIVES:
            expected = f"an objective of several labels a sample ({', '.join(OBJECTIVES)})"
            raise InputError("train", expected, setting.objective)
        return {name: ALL[name] for name in OBJECTIVES}, setting.learner[1].schedule

    def inbox(self, setting: Setting, dataset: Dataset) -> dict[str, object]:
        """See `Task.inbox`."""
        return spec_of(Words("classes"))

    def open(self, setting: Setting, materials: Materials) -> tuple[OpenTask, Oracle]:
        """See `Task.open`."""
        dataset = materials.dataset
        oracle = setting.oracle[1].open(_Answers(materials))
        task = OpenTask(
            LabelHoldout(dataset.manifest, dataset.classes, labels_of(dataset), materials.parts),
            Whole(materials.asked),
            LabelBudgets(setting.budgets),
            scoring=lambda _, predictor, __: scorer(predictor, self.reduction),
            answers=lambda *_: None,
            one_class=False,
            given=materials.given(_Answers(materials).simulated),
        )
        return task, oracle

    def learner(
        self,
        setting: Setting,
        materials: Materials,
        base: Foundation,
        objective: Any,
        schedule: Schedule,
        task: OpenTask,
    ) -> Learner:
        """See `Task.learner`: that of classification, with L labels of two classes each."""
        learner: Learner = setting.learner[1].build(replace(base, multilabel=True), objective, schedule)
        return learner

    def summary(self, setting: Setting, dataset: Dataset, cache: Path) -> list[str]:
        """See `Task.summary`: nothing beyond what every task says."""
        return []

    def rehearse(self, setting: Setting, dataset: Dataset, objective: Any, schedule: Schedule, steps: int) -> None:
        """See `Task.rehearse`."""
        rehearse(setting, dataset, objective, schedule, steps, multilabel=True)


@dataclass(frozen=True)
class _Answers:
    """The task as oracles see it."""

    materials: Materials

    @property
    def run(self) -> RunDir:
        """See `Answers.run`."""
        return self.materials.run

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """See `Answers.picture`."""
        return picture(self.materials.dataset, index)

    def simulated(self) -> Oracle:
        """See `Answers.simulated`: the labels of the pool."""
        labels, pool = labels_of(self.materials.dataset), self.materials.pool
        of_pool = np.full_like(labels, -1)
        of_pool[pool] = labels[pool]
        return SimulatedLabels(of_pool)

    def people(self) -> Oracle:
        """See `Answers.people`."""
        return Words("classes").open(self.run)


def labels_of(dataset: Dataset) -> IntArray:
    """The labels (N, L) of a dataset, which must have some."""
    if dataset.labels is None:
        raise InputError("data", LABEL_SOURCES, "one class a sample" if dataset.masks is None else "masks")
    return dataset.labels


def scorer(predictor: Predictor, reduction: Reduction = "mean") -> Scorer:
    """Scores of samples, each the mean, or the largest, over its labels of the score of the label.

    A sum would rank as the mean does, as all samples have L labels.
    """
    reduce = np.max if reduction == "max" else np.mean

    def score(name: str, indices: IntArray, samples: int, views: int) -> FloatArray:
        return np.concatenate([reduce(of_labels(name, batch), axis=1) for batch in predictor(indices, samples, views)])

    return score


def of_labels(name: str, batch: PredictionBatch) -> FloatArray:
    """A score (B, L) of each label: of its probabilities, or of its evidence.

    The evidence is the two parameters exp(logit) that each label has, of the plain image, by the first member.
    """
    if name not in BY_EVIDENCE:
        return BY_NAME[name](batch.probs)
    labels = batch.probs.shape[-1]
    if batch.features is None or batch.head is None or len(batch.head[0]) != 2 * labels:
        raise InputError("query", f"two outputs a label (train: {EVIDENTIAL})", "another last layer")
    logits = (batch.features @ batch.head[0].T + batch.head[1]).astype(np.float64).clip(-LARGEST, LARGEST)
    alpha = np.exp(logits).reshape(len(logits), 2, labels).transpose(0, 2, 1)
    values: FloatArray = BY_EVIDENCE[name](alpha.reshape(-1, 2)).reshape(len(logits), labels)
    return values
