"""What became of proposals that people saw: how often they took them, and whether that agrees with blind answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np

from ..core.rundir import RunDir
from ..core.types import LabelMap
from ..data.answers import read_answer
from .agreement import dice
from .ledger import LEDGER, PROPOSALS, Entry, Ledger

PROPOSERS = ("model", "segmenter", "both")
BLIND = "nobody"
"""Who proposed an answer that was drawn without a proposal."""


@dataclass(frozen=True)
class Taken:
    """The answers of one proposer and one fate of its proposals; None where nothing is known.

    proposer  one of `PROPOSERS`, or `BLIND`, whose `fate` is empty; else one of `PROPOSALS`
    share     of the answers with proposals of that proposer
    seconds   median of those that were noted
    prompts   mean number of boxes and points an answer; `refused`: of structures that were thrown away
    kept      mean Dice of what was proposed with the answer, over the structures and where both are kept
    blind     mean Dice with what other readers drew without a proposal, of `pairs` of answers
    """

    proposer: str
    fate: str
    answers: int
    share: float | None
    seconds: float | None
    prompts: float | None
    refused: float | None
    kept: float | None
    blind: float | None
    pairs: int


def taken_proposals(run: RunDir, classes: int) -> list[Taken]:
    """The rows of a run whose readers saw proposals, in the order of `PROPOSERS` and `PROPOSALS`; none of another run.

    The last answer of each reader about each sample counts. InputError: a ledger that was changed.
    """
    if not (run.path / LEDGER).is_file():
        return []
    answers = _last(Ledger(run).entries())
    if not any(entry.proposal for entry in answers):
        return []
    blind = dict[str, list[Entry]]()
    for entry in answers:
        if not entry.proposal and entry.digest:
            blind.setdefault(entry.sample, []).append(entry)
    groups = dict[tuple[str, str], list[Entry]]()
    for entry in answers:
        if entry.kind != "skip" and (entry.proposal or entry.digest):
            who = (entry.proposer or PROPOSERS[0], entry.proposal) if entry.proposal else (BLIND, "")
            groups.setdefault(who, []).append(entry)
    order = [(proposer, fate) for proposer in PROPOSERS for fate in PROPOSALS] + [(BLIND, "")]
    totals = {who: sum(len(each) for (other, _), each in groups.items() if other == who) for who in PROPOSERS}
    compare = _Compare(run.path, classes)
    return [_row(*who, groups[who], totals.get(who[0]), blind, compare) for who in order if who in groups]


def _last(entries: Iterable[Entry]) -> list[Entry]:
    """The answer of each reader about each sample that they did not take back."""
    standing: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        standing.pop((entry.sample, entry.reader), None)
        if entry.kind != "withdrawn":
            standing[entry.sample, entry.reader] = entry
    return list(standing.values())


class _Compare:
    """Dice of the drawings of a run, over the structures that one of both has."""

    def __init__(self, folder: Path, classes: int) -> None:
        self._classes = classes
        self._map = cache(lambda path: _drawing(folder / path, classes))

    def __call__(self, one: str, other: str) -> float | None:
        a, b = self._map(one), self._map(other)
        if a is None or b is None or a.shape != b.shape:
            return None
        values = dice([a, b], self._classes)[1:]
        return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _drawing(file: Path, classes: int) -> LabelMap | None:
    return read_answer(file, classes) if file.suffix == ".png" and file.is_file() else None


def _row(
    proposer: str,
    fate: str,
    entries: list[Entry],
    total: int | None,
    blind: Mapping[str, list[Entry]],
    compare: _Compare,
) -> Taken:
    kept = [compare(e.proposed, e.text) for e in entries if e.proposed]
    pairs = [compare(e.text, o.text) for e in entries for o in blind.get(e.sample, ()) if o.reader != e.reader]
    return Taken(
        proposer,
        fate,
        len(entries),
        len(entries) / total if total else None,
        median(seconds) if (seconds := [e.seconds for e in entries if e.seconds]) else None,
        _mean([float(e.prompts) for e in entries]) if proposer in PROPOSERS[1:] else None,
        _mean([float(e.refused) for e in entries]) if proposer in PROPOSERS[1:] else None,
        _mean(kept),
        _mean(pairs),
        sum(pair is not None for pair in pairs),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
