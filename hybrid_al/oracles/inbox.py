"""Inboxes for the answers of people, by name: a run directory stores the settings, so no data need be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, cast

from ..core.registry import component
from ..core.rundir import RunDir
from ..errors import InputError
from .base import Inbox
from .boxes import BoxWorklist
from .ledger import waiting_of
from .masks import MaskWorklist, wording
from .readers import reading_of
from .wording import WORDINGS
from .worklist import Picture, WorklistOracle, classes_of


class InboxSettings(Protocol):
    """Settings of an inbox, as a run directory stores them: a frozen dataclass."""

    def open(self, run: RunDir) -> Inbox:
        """The inbox of a run."""
        ...


@dataclass(frozen=True)
class Words:
    """Answers are words in a CSV of `id,label`; `kind`: of the annotations, one of `worklist.WORDINGS`."""

    kind: str

    def open(self, run: RunDir) -> WorklistOracle:
        """The oracle of a run, which is also its inbox."""
        return WorklistOracle(run, run.manifest(), classes_of(run), WORDINGS[self.kind])


@dataclass(frozen=True)
class Masks:
    """Answers are mask files: whole masks, points or scribbles.

    answer  see `masks.KINDS`
    size    of the network, in pixels
    table   value in a mask file -> class, `IGNORE` for a pixel that the person does not know
    named   whether the recipe says what 255 means (`data.mask_values`)
    """

    answer: str
    size: int
    table: Mapping[int, int]
    named: bool = False

    def open(self, run: RunDir, picture: Picture | None = None) -> MaskWorklist:
        """The oracle of a run, which is also its inbox; it gives out images where there is a `picture`."""
        lists = WorklistOracle(run, run.manifest(), classes_of(run), wording(self.answer))
        return MaskWorklist(lists, self.table, self.size, picture, self.named)


@dataclass(frozen=True)
class Boxes:
    """Answers are boxes in a CSV; `size`: of the network, in pixels."""

    size: int

    def open(self, run: RunDir, picture: Picture | None = None) -> BoxWorklist:
        """See `Masks.open`."""
        return BoxWorklist(WorklistOracle(run, run.manifest(), classes_of(run), wording("boxes")), self.size, picture)


INBOXES: dict[str, type[InboxSettings]] = {
    "words": Words,
    "masks": Masks,
    "boxes": Boxes,
}


def spec_of(settings: InboxSettings) -> dict[str, object]:
    """Name and settings of an inbox, as `run.json` stores them; one from outside by its module and class."""
    kind = type(settings)
    own = f"{kind.__module__}:{kind.__qualname__}"
    name = next((name for name, known in INBOXES.items() if kind is known), own)
    return {"name": name, **asdict(cast(Any, settings))}


def lists_of(box: object) -> WorklistOracle | None:
    """The CSV files of an inbox; None of one from outside the package."""
    return (
        box if isinstance(box, WorklistOracle) else box.lists if isinstance(box, MaskWorklist | BoxWorklist) else None
    )


def owed(run: RunDir, round: int) -> dict[str, list[str]] | None:
    """The ids that each reader still has to answer, by name, the ledger counted; None where anybody answers."""
    lists = None if reading_of(run) is None else lists_of(inbox(run))
    readings = None if lists is None else lists.readings(round)
    if lists is None or readings is None:
        return None
    waiting = {(e.reader, e.sample) for e in waiting_of(run) if e.kind != "withdrawn"}
    ids = {name: [lists.manifest.ids[i] for i in samples] for name, samples in readings.owed.items()}
    left = {name: [i for i in samples if (name, i) not in waiting] for name, samples in ids.items()}
    return {name: samples for name, samples in left.items() if samples}


def inbox(run: RunDir) -> Inbox:
    """The inbox of a run, from its `run.json`; InputError where that names none."""
    spec = run.current().get("inbox")
    if not isinstance(spec, dict):
        raise InputError(run.path, "a run that says how its answers come in (inbox in run.json)", "none")
    return component(INBOXES, f"{run.path}: inbox", spec["name"], {k: v for k, v in spec.items() if k != "name"}).open(
        run
    )
