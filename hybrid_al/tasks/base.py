"""What a task is: what a label is, and all that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..core.learner import Learner
from ..core.manifest import Manifest, Split
from ..core.rundir import RunDir
from ..core.types import BoolArray, IntArray
from ..data.base import Dataset
from ..errors import InputError
from ..experiment import OpenTask
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
    """What a recipe chose beside the task, as far as tasks differ in it; no data is there yet.

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

    def channels_of(self, dataset: Dataset) -> int:
        """Channels of the images that a network sees."""
        return self.channels or dataset.channels

    def shape_of(self, dataset: Dataset) -> tuple[int, int, int]:
        """Channels, height and width of the images that a network sees."""
        return self.channels_of(dataset), self.image_size, self.image_size

    @property
    def answer(self) -> str | None:
        """What an answer looks like, where the recipe says it."""
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

    @property
    def pool(self) -> IntArray:
        """Samples that may be asked about (P,)."""
        return self.dataset.manifest.indices("pool")


class Task(Protocol):
    """A frozen dataclass of what a recipe says of its task (`task: {name: ..., ...}`)."""

    @property
    def baselines(self) -> tuple[str, ...]:
        """The strategies that every bench has."""
        ...

    @property
    def strata(self) -> bool:
        """Whether a sample has one class, by which a baseline of a bench may balance its picks."""
        ...

    @property
    def units(self) -> tuple[str, ...]:
        """What budgets may be of (`loop.unit`)."""
        ...

    @property
    def regional(self) -> bool:
        """Whether a query asks about parts of images."""
        ...

    @property
    def drawable(self) -> bool:
        """Whether what is predicted of a sample can be drawn on it (`OpenTask.examples`)."""
        ...

    def check(self, setting: Setting) -> None:
        """Refuse what the task has not. No data is read."""
        ...

    def check_data(self, setting: Setting, dataset: Dataset) -> None:
        """Refuse data that is not the task's; nothing is decoded."""
        ...

    def check_metric(self, where: str, name: str, dataset: Dataset) -> None:
        """Refuse `<split>/<metric>` where the split has not the labels that it takes."""
        ...

    def answered(self, dataset: Dataset) -> BoolArray:
        """Whether the data has an answer about a sample (N,)."""
        ...

    def objectives(self, setting: Setting) -> tuple[Mapping[str, type[Any]], Schedule]:
        """The objectives that there are, by name, and the schedule that a recipe starts from."""
        ...

    def inbox(self, setting: Setting, dataset: Dataset) -> dict[str, object]:
        """What takes answers of people in (`oracles.INBOXES`): its name and settings, as a run directory keeps them."""
        ...

    def open(self, setting: Setting, materials: Materials) -> tuple[OpenTask, Oracle]:
        """What the loop asks of the task, and who answers. Errors: too few classes, no truth to simulate with."""
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

    def learner_code(self, setting: Setting) -> str:
        """The module of the learner, for what benches note of their code."""
        ...

    def summary(self, setting: Setting, dataset: Dataset, cache: Path) -> list[str]:
        """What `check` says of the task beside what it says of all; a line each."""
        ...

    def rehearse(self, setting: Setting, dataset: Dataset, objective: Any, schedule: Schedule, steps: int) -> None:
        """Train so many steps on noise of the shape of the data: how long that takes is what a bench wants to know."""
        ...


def check_classes(classes: tuple[str, ...]) -> None:
    """Refuse fewer than two classes, from which nothing can be learned; stage 0 needs none."""
    if len(classes) < 2:
        raise InputError("data.classes", "at least two classes", ", ".join(classes) or "none (say data.classes)")


def split_of(metric: str, manifest: Manifest) -> IntArray:
    """The samples (K,) of the split of `<split>/<metric>`; none where it is not val or test."""
    splits: dict[str, Split] = {"val": "val", "test": "test"}
    split = splits.get(metric.partition("/")[0])
    return manifest.indices(split) if split else manifest.indices("pool")[:0]
