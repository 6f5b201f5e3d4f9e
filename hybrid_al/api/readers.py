"""`readers`: who reads a run, and other people from now on. What was asked changes hands only where it is said."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..core.rundir import RunDir
from ..errors import InputError, UnknownName
from ..oracles.inbox import inbox, lists_of, owed
from ..oracles.ledger import PEOPLE, Entry, Ledger, collect, pending, taken
from ..oracles.readers import Change, Reading, reading_of
from ..oracles.readings import Readings
from ..oracles.worklist import write_list

MAKE = "a run that several readers share (oracle.readers)"


@dataclass(frozen=True)
class People:
    """Who joins, who leaves (readers, or the adjudicator), and who judges from now on where that changes."""

    add: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    adjudicator: str = ""

    def apply(self, reading: Reading) -> Reading:
        """The reading with these people; InputError for a change that is none, or leaves nobody."""
        for k, name in enumerate(self.gone):
            if name not in reading.people:
                raise UnknownName("--gone", name, reading.people)
            if name in (*self.gone[:k], *self.add):
                raise InputError("--gone", "each person once, and nobody who joins", name)
        for name in self.add:
            if name in reading.present or self.add.count(name) > 1:
                raise InputError("--add", "somebody who does not read yet", name)
        judge, former = self._judge(reading)
        gone = tuple(name for name in (*reading.gone, *self.gone) if name in reading.readers and name not in self.add)
        readers = (*reading.readers, *(name for name in self.add if name not in reading.readers))
        after = replace(reading, readers=readers, gone=gone, adjudicator=judge, former=former)
        if not after.present:
            raise InputError("--gone", "at least one reader who stays, or joins (--add NAME)", "all")
        return after

    def _judge(self, reading: Reading) -> tuple[str, tuple[str, ...]]:
        """Who judges from now on, and who did before."""
        before = reading.adjudicator
        if not self.adjudicator or self.adjudicator == before:
            if before and before in self.gone:
                raise InputError("--adjudicator", f"who judges in the place of {before}", "nobody")
            return before, reading.former
        return self.adjudicator, (
            *(name for name in reading.former if name != self.adjudicator),
            *[before] * bool(before),
        )


def change(run: Path | str, people: People) -> list[str]:
    """Let other people read from the next query on; what changed, in lines. The run must be locked.

    The open query stays as it is shared, but what somebody who leaves still owes there: that goes to those who stay
    and do not read it already, as evenly as it goes. The ledger has it, and lists of it lie beside those of the run.
    InputError: a run that is not shared, or see `People.apply`.
    """
    disk = RunDir(Path(run))
    disk.current()
    if (before := reading_of(disk)) is None:
        raise InputError(disk.path, MAKE, "one that anybody answers")
    after = people.apply(before)
    if after == before:
        raise InputError("readers", "other people than those of the run", ", ".join(before.people))
    ledger = Ledger(disk)
    while True:
        collect(disk)
        with ledger.turn():
            if not pending(ledger.entries(), taken(disk), shared=True):  # else somebody answered just now
                return _append(disk, ledger, before, after)


def _append(run: RunDir, ledger: Ledger, before: Reading, after: Reading) -> list[str]:
    lists = lists_of(inbox(run))
    readings = None if lists is None else lists.readings(r := len(run.rounds()))
    if readings is None:
        raise InputError(run.path, MAKE, "another one")
    rows = run.query_rows(r) or []
    hands = _hands(readings, before, after)
    change = Change(r, len(rows), after.readers, after.gone, after.adjudicator, after.former, hands)
    said = _words(before, after, change, is_open=bool(readings.owed))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    number = len(ledger.changes())
    text, words = change.to_text(), "; ".join(said)
    ledger.append(Entry(f"readers-{number}", r, "", PEOPLE, text, "", now, comment=words, source="hybrid-al readers"))
    pairs = dict.fromkeys((left, name) for _, left, name in hands if name)
    for left, name in pairs:
        samples = {sample for sample, *people in hands if people == [left, name]}
        file = run.worklist(r).with_stem(f"{run.worklist(r).stem}_{name}_from_{left}")
        write_list(file, [row for row in rows if row["id"] in samples])
        said.append(f"their list: {file}")
    return said


def _hands(readings: Readings, before: Reading, after: Reading) -> tuple[tuple[str, str, str], ...]:
    """What those who leave still owe, with who reads it now; see `Change`."""
    ids, load = readings.lists.manifest.ids, Counter({name: len(owed) for name, owed in readings.owed.items()})
    holders = {i: set(names) for i, names in readings.readers.items()}
    hands = list[tuple[str, str, str]]()
    for left in (name for name in before.present if name in after.gone):
        for i in readings.owed.get(left, ()):
            free = [name for name in after.present if name not in holders[i]]
            now = min(free, key=lambda name: load[name], default="")
            holders[i] = holders[i] - {left} | {now}
            load[now] += 1
            hands.append((ids[i], left, now))
    return tuple(hands)


def _words(before: Reading, after: Reading, change: Change, *, is_open: bool) -> list[str]:
    """What a change is, line by line."""
    left = [name for name in before.present if name in after.gone]
    joined = [name for name in after.present if name not in before.present]
    place = f"the query of round {change.round + bool(change.rows)}"
    said = [f"from {place} on {', '.join(after.present)} read{'s' * (len(after.present) == 1)}"]
    said += [f"{', '.join(left)} left; what they said stands"] * bool(left)
    if after.adjudicator != before.adjudicator:
        said.append(f"{after.adjudicator} judges in the place of {before.adjudicator}, whose verdicts stand")
    if after.overlap and len(after.present) < after.readings:
        said.append(f"of picks that {after.readings} should read, {len(after.present)} can")
    if joined and is_open:
        said.append(f"the open query of round {change.round} stays shared as it was asked")
    counts = Counter((left, now) for _, left, now in change.hands)
    for (who, now), n in counts.items():
        then = f"{now} reads" if now else "nobody is left to read"
        said.append(f"of the open query {then} {n} that {who} had not")
    return said


def standing(run: Path | str) -> list[str]:
    """Who reads a run, what each still owes, and what changed of that; one line each."""
    disk = RunDir(Path(run))
    disk.facts()
    if (reading := reading_of(disk)) is None:
        raise InputError(disk.path, MAKE, "one that anybody answers")
    r = len(disk.rounds())
    waiting = owed(disk, r) or {}
    roles = dict.fromkeys(reading.present, "reads") | dict.fromkeys((*reading.gone, *reading.former), "left")
    roles |= {reading.adjudicator: "judges"} if reading.adjudicator else {}
    lines = [f"{name} {role}, {len(waiting.get(name, ()))} to answer in round {r}" for name, role in roles.items()]
    return lines + [f"{change.time}: {change.comment}" for change in Ledger(disk).changes()]
