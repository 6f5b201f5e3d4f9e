"""Oracles by name; adding one = one file, one line here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, ClassVar

from pydantic import Field

from ..core.registry import Share
from ..errors import InputError
from .base import Answers, Oracle, OracleSettings
from .label_studio import LabelStudio
from .readers import Reading, Rule

SHARED = ("overlap", "readings", "blind", "target", "adjudicator", "agreement")
"""Settings of a worklist that say how readers share it."""


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
    """People who answer through files or the page; see `OracleSettings` for costs and answer.

    readers      who reads; without them anybody may answer, and each sample once
    overlap      share of the picks that several of them read, each the others' answers unseen; every other one is read
                 by one of them, in turn
    readings     how many read a pick of the overlap
    blind        whether a reader sees no proposal of the model either
    target       the label where readers differ: majority (none where as many say another), soft (each answer is trained
                 on), consensus (Dawid-Skene, of masks STAPLE) or adjudicated
    adjudicator  who then says what counts, where the target is adjudicated
    agreement    Dice of each class from which masks do not differ
    """

    costs: str | None = None
    answer: str | None = None
    readers: tuple[Annotated[str, Field(strict=True)], ...] = ()
    overlap: Share = 1.0
    readings: Annotated[int, Field(ge=2, le=100)] = 2
    blind: bool = True
    target: Rule = "majority"
    adjudicator: str = ""
    agreement: Share = 0.8

    holds_truth: ClassVar[bool] = False

    def open(self, answers: Answers) -> Oracle:
        """See `OracleSettings.open`."""
        return answers.people()

    def __post_init__(self) -> None:
        """Refuse settings of readers that fit no readers, or one another."""
        own = [f.name for f in fields(self) if f.name in SHARED and getattr(self, f.name) != f.default]
        if own and not self.readers:
            raise InputError(
                f"oracle.{own[0]}", "nothing where oracle.readers names nobody", repr(getattr(self, own[0]))
            )
        _ = self.reading

    @property
    def reading(self) -> Reading | None:
        """How several readers share the run; None where anybody answers."""
        return Reading(self.readers, **{name: getattr(self, name) for name in SHARED}) if self.readers else None


ORACLES: dict[str, type[OracleSettings]] = {
    "simulated": Simulated,
    "worklist": Worklist,
    "label_studio": LabelStudio,
}
