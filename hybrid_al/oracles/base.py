"""The protocols of oracles and their settings, and the words of an answer that name no class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..core.rundir import RunDir
from ..core.types import Annotation, IntArray

SKIP, NONE, SEPARATOR = "skip", "none", ";"

Notes = Mapping[str, tuple[str, str]]
"""Sample -> time of its answer, and id of its entry in the ledger."""


class Oracle(Protocol):
    """Answers queries."""

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """An annotation of each sample of the query; AwaitingLabels where a person has not answered yet."""
        ...

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """Share of right predictions by predicted class, and of all under -1; empty where the truth is not known."""
        ...


class Answers(Protocol):
    """The oracles that a task offers to `OracleSettings.open`."""

    @property
    def run(self) -> RunDir:
        """The directory of the run."""
        ...

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """An image (H, W, 1 or 3) in its own pixels, as a person sees it."""
        ...

    def simulated(self) -> Oracle:
        """Answers at once from the labels that came with the data; InputError where there are none."""
        ...

    def people(self) -> Oracle:
        """Answers of people, through files of the run directory."""
        ...


class OracleSettings(Protocol):
    """The oracle of a recipe (`oracle: {name: ..., ...}`): a frozen dataclass."""

    @property
    def holds_truth(self) -> bool:
        """Whether it has the answers before anybody is asked."""
        ...

    @property
    def costs(self) -> str | None:
        """A CSV of id and cost of an answer about each sample; None where all cost the same."""
        ...

    @property
    def answer(self) -> str | None:
        """The kind of answer, where the task has several; None for its first."""
        ...

    def open(self, answers: Answers) -> Oracle:
        """The oracle of a run."""
        ...


class Inbox(Protocol):
    """Takes in the answers of people."""

    def take(self, file: Path, annotator: str, *, replace: bool = False) -> tuple[int, int]:
        """Take in a file or folder, whole or not at all; (number of its answers, answers still missing).

        InputError where an answer of another annotator would change, unless `replace`.
        """
        ...

    def put(
        self, where: object, texts: Mapping[str, str], annotator: str, notes: Notes, *, replace: bool = False
    ) -> None:
        """Take in answers of the ledger, id -> text: words, `skip`, or a file in the run directory.

        Such a file is a PNG of class numbers in the image's own pixels, or a JSON of boxes with the columns of their
        CSV. Errors as those of `take`; `where` is what they name.
        """
        ...
