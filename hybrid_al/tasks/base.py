"""What a task is: what a label is, and all that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..core.learner import Learner
from ..core.manifest import Manifest, Split
from ..core.rundir import RunDir
from ..core.types import GIVEN, Annotation, BoolArray, IntArray
from ..data.base import Dataset
from ..data.domains import asked, given
from ..errors import InputError
from ..experiment import OpenTask
from ..metrics.domains import Parts, parted, parts_of
from ..oracles.base import Oracle, OracleSettings
from ..query.base import QueryStrategy

if TYPE_CHECKING:
    import torch

    from ..data.stores.images import ImageStore
    from ..learners.network import Foundation
    from ..models.encoder import Encoder
    from ..train import Schedule

LABELS = "labels"  # what budgets are of in every task


@dataclass(frozen=True)
class Setting:
    """The choices of a recipe beside the task that tasks depend on; no data is read yet.

    learner      its name, and its settings
    objective    its name; `train` are all settings of the training, those of the objective among them
    strategies   (key of the recipe, name, strategy) of cold start and query
    oracle       its name, and who answers
    image_size   side that images are brought to, in pixels; `channels` that they are brought to, None for their own
    encoder      its name and the options of its constructor; `blank` makes one with random weights, channels -> encoder
    budgets      of all rounds, of labels or, but for the first, of what answers cost in `unit`
    enforces     whether the loop ends where a stopping signal says so
    calibrates   whether queries read calibrated probabilities
    mask_values  value in a mask file -> class; empty where the values are the numbers of the classes
    sources      domains whose labels are given (`domains.source`)
    """

    learner: tuple[str, Any]
    objective: str
    train: Mapping[str, object]
    strategies: tuple[tuple[str, str, QueryStrategy], ...]
    oracle: tuple[str, OracleSettings]
    image_size: int
    channels: int | None
    encoder: tuple[str, Mapping[str, str | int | float | bool | None]]
    blank: Callable[[int], Encoder]
    budgets: tuple[int, ...]
    unit: str
    enforces: bool
    calibrates: bool
    mask_values: Mapping[int, str]
    sources: tuple[str, ...] = ()

    def channels_of(self, dataset: Dataset) -> int:
        """Channels of the images that a network sees."""
        return self.channels or dataset.channels

    def shape_of(self, dataset: Dataset) -> tuple[int, int, int]:
        """Channels, height and width of the images that a network sees."""
        return self.channels_of(dataset), self.image_size, self.image_size

    @property
    def answer(self) -> str | None:
        """The kind of an answer, where the recipe names one."""
        return self.oracle[1].answer

    @property
    def simulated(self) -> bool:
        """Whether the oracle holds the truth."""
        return self.oracle[1].holds_truth


@dataclass(frozen=True)
class Materials:
    """What a task is opened with: the data, decoded, and where things lie."""

    dataset: Dataset
    store: ImageStore
    cache: Path
    run: RunDir
    device: torch.device
    sources: tuple[str, ...] = ()

    @property
    def pool(self) -> IntArray:
        """Samples that may be trained on (P,)."""
        return self.dataset.manifest.indices("pool")

    @property
    def asked(self) -> IntArray:
        """Samples that may be asked about: the pool without the source."""
        return asked(self.dataset.manifest, self.sources)

    @property
    def parts(self) -> Parts:
        """The domains, and source and target, whose metrics stand for themselves."""
        return parts_of(self.dataset.manifest, self.sources)

    def given(self, oracle: Callable[[], Oracle]) -> Callable[[], tuple[Annotation, ...]]:
        """What the data says of the source, as given labels that cost nothing; read when it is first asked for."""

        @cache
        def annotations() -> tuple[Annotation, ...]:
            rows = given(self.dataset.manifest, self.sources)
            answers = oracle().annotate(rows, 0) if len(rows) else ()
            return tuple(replace(a, annotator=GIVEN, cost=0.0) for a in answers if a.kind != "skip")

        return annotations


class Task(Protocol):
    """A frozen dataclass of what a recipe says of its task (`task: {name: ..., ...}`)."""

    @property
    def baselines(self) -> tuple[str, ...]:
        """The strategies that every bench has."""
        ...

    @property
    def strata(self) -> bool:
        """Whether a sample has one class, so that a bench may have the class-stratified baseline."""
        ...

    @property
    def units(self) -> tuple[str, ...]:
        """What budgets may be of (`loop.unit`)."""
        ...

    @property
    def regional(self) -> bool:
        """Whether a query asks about regions of images."""
        ...

    @property
    def drawable(self) -> bool:
        """Whether a prediction can be drawn on its image (`OpenTask.examples`)."""
        ...

    def check(self, setting: Setting) -> None:
        """Refuse settings that do not fit the task; no data is read."""
        ...

    def check_data(self, setting: Setting, dataset: Dataset) -> None:
        """Refuse data that is not the task's, or that its loop cannot be played on; nothing is decoded."""
        ...

    def check_images(self, setting: Setting, materials: Materials) -> None:
        """Refuse what only decoded images show that the loop cannot be played on; stage 0 need not have been run."""
        ...

    def check_metric(self, where: str, name: str, dataset: Dataset) -> None:
        """Refuse `<split>/<metric>` where the split lacks the labels for it."""
        ...

    def answered(self, dataset: Dataset) -> BoolArray:
        """Whether the data has an answer about a sample (N,)."""
        ...

    def objectives(self, setting: Setting) -> tuple[Mapping[str, type[Any]], Schedule]:
        """The objectives of the task by name, and its default schedule."""
        ...

    def inbox(self, setting: Setting, dataset: Dataset) -> dict[str, object]:
        """The inbox for answers of people (`oracles.INBOXES`): name and settings, as a run directory keeps them."""
        ...

    def open(self, setting: Setting, materials: Materials) -> tuple[OpenTask, Oracle]:
        """The task with its data, and the oracle. Errors: too few classes, no truth to simulate with."""
        ...

    def learner(
        self,
        setting: Setting,
        materials: Materials,
        base: Foundation,
        objective: Any,
        schedule: Schedule,
        task: OpenTask,
    ) -> Learner:
        """What is trained in each round; `base.encoder` is copied, never changed."""
        ...

    def summary(self, setting: Setting, dataset: Dataset, cache: Path) -> list[str]:
        """The lines that `hybrid-al check` adds for the task."""
        ...

    def rehearse(self, setting: Setting, dataset: Dataset, objective: Any, schedule: Schedule, steps: int) -> None:
        """Train for `steps` on noise of the data's shape; a bench times it."""
        ...


def check_classes(classes: tuple[str, ...]) -> None:
    """Refuse fewer than two classes, from which nothing can be learned."""
    if len(classes) < 2:
        raise InputError("data.classes", "at least two classes", ", ".join(classes) or "none (say data.classes)")


def split_of(metric: str, manifest: Manifest) -> IntArray:
    """The samples (K,) of the split of `<split>/<metric>`, those of a domain where it names one; none of the pool's."""
    splits: dict[str, Split] = {"val": "val", "test": "test"}
    domain, plain = parted(metric)
    split = splits.get(plain.partition("/")[0])
    if split is None:
        return manifest.indices("pool")[:0]
    rows = manifest.indices(split)
    return rows if domain is None else rows[manifest.of_domains([domain])[rows]]
