"""What an oracle is, how a recipe names one, and the words that stand for no class."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ..core.rundir import RunDir
from ..core.types import Annotation, IntArray

SKIP, NONE, BETWEEN = "skip", "none", ";"


class Oracle(Protocol):
    """Answers queries."""

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """An annotation of every sample of the query; `AwaitingLabels` where a person has not answered yet."""
        ...

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """Share of right predictions in each predicted class, and overall under -1; empty for one that cannot know."""
        ...


class Answers(Protocol):
    """What a task knows of its answers, for those who give them."""

    @property
    def run(self) -> RunDir:
        """The run that asks."""
        ...

    def simulated(self) -> Oracle:
        """One who answers at once from the truth that came with the data; InputError where none did."""
        ...

    def people(self) -> Oracle:
        """People who answer through files of the run directory."""
        ...


class OracleSettings(Protocol):
    """Who answers, as a recipe names it (`oracle: {name: ..., ...}`): a frozen dataclass."""

    @property
    def holds_truth(self) -> bool:
        """Whether it knows the answers before anybody is asked."""
        ...

    @property
    def costs(self) -> str | None:
        """A CSV of id and cost: what an answer about each sample costs; None where all cost the same."""
        ...

    @property
    def answer(self) -> str | None:
        """What an answer looks like, where the task has several; None for its first."""
        ...

    def open(self, answers: Answers) -> Oracle:
        """The oracle of a run."""
        ...


class Inbox(Protocol):
    """Takes answers of people in."""

    def take(self, file: Path, annotator: str) -> tuple[int, int]:
        """Take a file or folder in, whole or not at all; (answers taken, answers still missing)."""
        ...
