"""Oracles by name; adding one = one file, one line here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import Answers, Oracle, OracleSettings
from .label_studio import LabelStudio


@dataclass(frozen=True)
class Simulated:
    """Answers at once, from the labels that came with the data; see `OracleSettings` for costs and answer."""

    costs: str | None = None
    answer: str | None = None

    holds_truth: ClassVar[bool] = True

    def open(self, answers: Answers) -> Oracle:
        """See `OracleSettings.open`."""
        return answers.simulated()


@dataclass(frozen=True)
class Worklist:
    """People who answer through files; see `OracleSettings` for costs and answer."""

    costs: str | None = None
    answer: str | None = None

    holds_truth: ClassVar[bool] = False

    def open(self, answers: Answers) -> Oracle:
        """See `OracleSettings.open`."""
        return answers.people()


ORACLES: dict[str, type[OracleSettings]] = {
    "simulated": Simulated,
    "worklist": Worklist,
    "label_studio": LabelStudio,
}
