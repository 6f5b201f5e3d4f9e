"""Who reads what: the people of a run, how they share its queries, and what changed of that since it began."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from ..core.rng import derive
from ..core.rundir import RunDir
from ..errors import InputError, UnknownName
from .ledger import LEDGER, Entry, Ledger

AND = "+"
MOST_NAME = 60
Rule = Literal["majority", "soft", "consensus", "adjudicated"]


def check_reader(name: str, where: str = "reader") -> str:
    """The name of whoever answers, without spaces around; InputError for none, or one that CSV would not show."""
    name = name.strip()
    if not re.fullmatch(rf"[^\x00-\x1f\x7f\ud800-\udfff]{{1,{MOST_NAME}}}", name):
        raise InputError(where, f"a name of 1 to {MOST_NAME} letters", repr(name))
    return name


@dataclass(frozen=True)
class Reading:
    """Who reads what, and what label is made of it.

    readers      names of the people who read, or read once
    overlap      share of the picks that several read, in [0, 1]; each other one is read by one of them
    readings     how many read a pick of the overlap
    blind        whether readers see no proposal of the model; what another reader said they never see
    target       majority: of a tie no label, nor of its pixels; soft: each reader's answer is trained on; consensus: by
                 Dawid-Skene, of masks by STAPLE; adjudicated: where readers differ, a third one says what counts
    adjudicator  that one
    agreement    Dice of each class from which masks do not differ
    gone         readers who left; what they said stands
    former       adjudicators who left, the last one in the end
    """

    readers: tuple[str, ...]
    overlap: float = 1.0
    readings: int = 2
    blind: bool = True
    target: Rule = "majority"
    adjudicator: str = ""
    agreement: float = 0.8
    gone: tuple[str, ...] = ()
    former: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """InputError, with the key of a recipe, for people that cannot be told apart, or too few of them."""
        people = (*self.readers, *self.former, *[self.adjudicator] * bool(self.adjudicator))
        for name in people:
            is_plain = name == name.strip() and 0 < len(name) <= MOST_NAME and name[0] != "." and name.isprintable()
            if not is_plain or any(sign in name for sign in (AND, "/", "\\")):
                raise InputError(
                    "oracle.readers", f"names of 1 to {MOST_NAME} letters, without {AND} and /", repr(name)
                )
        if len(set(people)) < len(people):
            raise InputError("oracle.readers", "each person once", ", ".join(people))
        if self.overlap and self.readings > len(self.readers):
            came = f"{self.readings} readings by {len(self.readers)} readers"
            raise InputError("oracle.readings", f"at most {len(self.readers)}, or oracle.overlap=0", came)
        if (self.target == "adjudicated") != bool(self.adjudicator):
            expected = "somebody, as oracle.target is adjudicated" if not self.adjudicator else "nobody"
            raise InputError("oracle.adjudicator", expected, self.adjudicator or "nobody")

    @property
    def present(self) -> tuple[str, ...]:
        """The readers who have not left."""
        return tuple(name for name in self.readers if name not in self.gone)

    @property
    def people(self) -> tuple[str, ...]:
        """All who may answer."""
        return (*self.present, *[self.adjudicator] * bool(self.adjudicator))

    @property
    def judges(self) -> tuple[str, ...]:
        """Whose word counts where readers differ, the present adjudicator before those who left."""
        return tuple(filter(None, (self.adjudicator, *reversed(self.former))))

    def check(self, where: str, name: str | None) -> str:
        """The name of one who may answer; InputError for one who left, UnknownName for another."""
        if name in (*self.gone, *self.former):
            raise InputError(where, f"one of {', '.join(self.people)}", f"{name}, who left")
        if name not in self.people:
            raise UnknownName(where, name or "nobody", self.people)
        return name


@dataclass(frozen=True)
class Change:
    """Other people from pick `rows` of the query of `round` on; a line of the ledger, of kind `readers`.

    hands  (sample, who left, who reads it now) of the query that was open then; nobody where all others do already
    """

    round: int
    rows: int
    readers: tuple[str, ...]
    gone: tuple[str, ...]
    adjudicator: str
    former: tuple[str, ...]
    hands: tuple[tuple[str, str, str], ...] = ()

    def to_text(self) -> str:
        """What `of` reads."""
        return json.dumps(vars(self), ensure_ascii=False)

    @staticmethod
    def of(entry: Entry) -> Change:
        """The change of a line of the ledger."""
        plain = json.loads(entry.text)
        hands = tuple((str(sample), str(left), str(now)) for sample, left, now in plain.pop("hands"))
        return Change(**_tuples(plain), hands=hands)


def first_reading(run: RunDir) -> Reading | None:
    """How several readers shared a run when it began; None where anybody answers, each sample once."""
    plain = run.facts().get("reading") if run.exists() else None
    if plain is None:
        return None
    return Reading(**_tuples(cast(Mapping[str, Any], plain)))


def _tuples(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Values of JSON with tuples for its lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}


def after(reading: Reading, changes: Sequence[Change]) -> Reading:
    """How readers share a run once the last of the changes was made."""
    if not changes:
        return reading
    last = changes[-1]
    return replace(reading, readers=last.readers, gone=last.gone, adjudicator=last.adjudicator, former=last.former)


def reading_of(run: RunDir) -> Reading | None:
    """How several readers share a run now; None where anybody answers, each sample once."""
    first = first_reading(run)
    return None if first is None else after(first, changes_of(run))


def changes_of(run: RunDir) -> tuple[Change, ...]:
    """What changed of the readers of a run, in order."""
    file = run.path / LEDGER
    if not file.is_file():
        return ()
    stat = file.stat()
    return _changes(run.path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _changes(path: Path, time: int, size: int) -> tuple[Change, ...]:
    return tuple(map(Change.of, Ledger(RunDir(path)).changes()))


def assignments(run: RunDir, round: int, reading: Reading) -> dict[str, tuple[str, ...]]:
    """The readers of each sample of a query, by its id; drawn with the seed of the run, as evenly as it goes.

    A change of people leaves what was asked before as it was, but for what it hands on.
    """
    rows, starts = run.query_rows(round) or [], run.query_starts(round)
    seed, readers, changes = int(cast(int, run.facts()["seed"])), dict[str, tuple[str, ...]](), changes_of(run)
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        ids = [i for i in dict.fromkeys(row["id"] for row in rows[start:end]) if i not in readers]
        order = derive(seed, f"readers from {start}", round).permutation(len(ids)).tolist()
        several, load = int(np.floor(reading.overlap * len(ids) + 0.5)), Counter[str]()
        names = _present(run, reading, changes, (round, start))
        for place, k in enumerate(order):
            turn = (place + round) % len(names)
            people = (*names[turn:], *names[:turn])
            chosen = sorted(people, key=lambda name: load[name])[: reading.readings if place < several else 1]
            load.update(chosen)
            readers[ids[k]] = tuple(name for name in names if name in chosen)
    for sample, left, now in (hand for change in changes if change.round == round for hand in change.hands):
        others = {name for name in readers[sample] if name != left} | {now}
        readers[sample] = tuple(name for name in reading.readers if name in others)
    return {row["id"]: readers[row["id"]] for row in rows}


def _present(run: RunDir, reading: Reading, changes: Sequence[Change], place: tuple[int, int]) -> tuple[str, ...]:
    """Who read when the pick at a place (round, row) was asked about."""
    before = [change for change in changes if (change.round, change.rows) <= place]
    first = first_reading(run) if changes and not before else None
    return (first or after(reading, before)).present
