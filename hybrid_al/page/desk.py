"""The open query of a run as the page sees it, and the one place through which answers of the page go."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from ..core.labels import LABELLESS
from ..core.registry import component
from ..core.rundir import RunDir
from ..core.types import AnnotationKind, Target
from ..errors import HybridALError, InputError, RunLocked, UnknownName
from ..oracles.base import NONE, SEPARATOR, SKIP
from ..oracles.inbox import INBOXES, InboxSettings, Masks, Words, lists_of, owed
from ..oracles.ledger import PAGE, WITHDRAWN, Entry, Ledger, collect, pending, rows_of, taken
from ..oracles.masks import KINDS
from ..oracles.readers import AND, Change, Reading, after, check_reader, first_reading
from ..oracles.readings import Readings
from ..oracles.worklist import classes_of
from .answers import Submission, drawn, proposed, words

LAST = 50  # answers whose median says how long one takes
PATIENCE = 5.0  # seconds that a complete query waits for another process to let go of the run


class Refused(HybridALError):
    """An answer that is well made but cannot be taken now. `kind` tells the page what to do."""

    def __init__(self, kind: Literal["stale", "other", "taken"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Pick:
    """A line of `query.csv`: a sample that is asked about; `asks`: whether it is this class, yes or no."""

    index: int
    sample: str
    path: str
    score: str
    reason: str
    asks: str = ""


@dataclass(frozen=True)
class Standing:
    """The answer about a sample that counts by now; `entry` where it came through the ledger."""

    text: str
    reader: str
    entry: Entry | None
    taken: bool


class Desk:
    """A run that people answer; the run directory is the only state, so that any number of desks may be open.

    reader  who answers; None where the page asks. Where several readers share the run it is one of them, who sees what
            is theirs to answer, and no answer of another
    size    position -> height and width of an image in its own pixels, of a task whose answers are drawn
    """

    def __init__(self, run: RunDir, *, reader: str | None, size: Callable[[int], tuple[int, int]]) -> None:
        spec = run.current().get("inbox")
        if not isinstance(spec, dict):
            raise InputError(run.path, "a run that says how its answers come in (inbox in run.json)", "none")
        name = str(spec["name"])
        settings = component(INBOXES, f"{run.path}: inbox", name, {k: v for k, v in spec.items() if k != "name"})
        self.run, self.classes = run, classes_of(run)
        self.reader = None if reader is None else check_reader(reader)
        self.settings: InboxSettings = settings
        self._size = size
        self._ledger, self._first_reading = Ledger(run), first_reading(run)
        if self.reading is not None:
            self.reading.check("--reader", self.reader)
        self._asked: tuple[object, dict[str, Pick]] = (None, {})
        self._labels: tuple[int, dict[int, str]] = (-1, {})
        self._lock = self._ledger.threads  # one lock: two would wait for each other
        self._version: object = None  # of the files of answers, with what they hold:
        self._given: dict[str, Standing] = {}
        self._taken: frozenset[str] = frozenset()
        self._seen, self._standing = 0, dict[str, Standing]()  # entries of the ledger, and what follows from all

    @property
    def reading(self) -> Reading | None:
        """How several readers share the run now."""
        first = self._first_reading
        return None if first is None else after(first, list(map(Change.of, self._ledger.changes())))

    @property
    def is_blind(self) -> bool:
        """Whether the reader sees no proposal of the model."""
        return self.reading is not None and self.reading.blind

    @property
    def in_words(self) -> bool:
        """Whether answers are words, not drawings."""
        return isinstance(self.settings, Words)

    @property
    def kind(self) -> AnnotationKind:
        """The kind of an answer."""
        if isinstance(self.settings, Words):
            return "classes" if self.settings.kind == "classes" else "class"
        return KINDS[self.settings.answer] if isinstance(self.settings, Masks) else "box"

    # -- what is asked ------------------------------------------------------------------------------------------------

    def round(self) -> int:
        """The round that is not committed yet."""
        r = 0
        while (self.run.round_path(r) / "round.json").is_file():
            r += 1
        return r

    def picks(self, round: int) -> dict[str, Pick]:
        """The samples of a round's query by id, best first; none before the query is made."""
        file = self.run.round_path(round) / "query.csv"
        if not file.is_file():
            return {}
        stat = file.stat()
        judges = self.reading is not None and self.reader == self.reading.adjudicator
        people = len(self._ledger.changes())
        version = (round, stat.st_mtime_ns, stat.st_size, people, self._files(round) if judges else None)
        if self._asked[0] != version:
            with file.open(newline="", encoding="utf-8") as lines:
                rows = {row["id"]: row for row in reversed(list(csv.DictReader(lines)))}
            picks = [
                Pick(self._position[i], i, row["path"], row["score"], row["reason"], row.get("asks", ""))
                for i, row in reversed(list(rows.items()))
            ]
            self._asked = version, {pick.sample: pick for pick in self._own(picks, round)}
        return self._asked[1]

    def _own(self, picks: list[Pick], round: int) -> list[Pick]:
        """The picks that the reader answers: all of them, or what is theirs where several readers share the run."""
        if self.reading is None or self.reader is None:
            return picks
        if self.reader not in self.reading.people:
            return []
        readings = self._readings(round)
        if self.reader != self.reading.adjudicator:
            return [pick for pick in picks if self.reader in readings.readers[pick.index]]
        mine = {*readings.owed.get(self.reader, ()), *(i for i, said in readings.said.items() if self.reader in said)}
        return [replace(pick, reason=readings.difference(pick.index)) for pick in picks if pick.index in mine]

    def _readings(self, round: int) -> Readings:
        """What is in the files of answers."""
        lists = lists_of(self.settings.open(self.run))
        readings = None if lists is None else lists.readings(round)
        assert readings is not None  # see `reading`
        return readings

    def owed(self) -> dict[str, list[str]]:
        """What readers who share the run still have to answer; nothing where nobody does."""
        return owed(self.run, self.round()) or {}

    def _files(self, round: int) -> tuple[tuple[Path, int], ...]:
        """The files of answers of a round, and when they were written."""
        files = sorted((self.run.round_path(round) / "answers").glob("*.csv"))
        return tuple((file, file.stat().st_mtime_ns) for file in files)

    @cached_property
    def _position(self) -> Mapping[str, int]:
        return self.run.manifest().position

    def standings(self, round: int) -> dict[str, Standing]:
        """The answers of the query of a round by sample."""
        with self._lock:
            return dict(self._standings(round))

    def _standings(self, round: int) -> dict[str, Standing]:
        """As `standings`, of which it is no copy; under the lock. Only what is new on the disk is read."""
        picks, files = self.picks(round), self._files(round)
        version = (self._asked[0], files)
        if self._version != version:
            self._given, self._taken = {}, frozenset(row["entry"] for file, _ in files for row in rows_of(file))
            entries = {e.id: e for e in self._ledger.entries()}
            rows = (row for file, _ in files for row in rows_of(file))
            for row in (row for row in rows if row["id"] in picks and self._counts(row["annotator"])):
                self._given[row["id"]] = Standing(row["label"], row["annotator"], entries.get(row["entry"]), True)
                if row["label"] == WITHDRAWN:
                    del self._given[row["id"]]
            self._version, self._seen, self._standing = version, 0, dict(self._given)
        entries_now = self._ledger.entries()
        for k in range(self._seen, len(entries_now)):
            entry = entries_now[k]
            if entry.round == round and entry.sample in picks and self._counts(entry.reader):
                self._put(entry)
        self._seen = len(entries_now)
        return self._standing

    def _counts(self, reader: str) -> bool:
        """Whether the reader may see an answer of somebody."""
        return self.reading is None or reader == self.reader

    def _put(self, entry: Entry) -> None:
        """Let an entry stand in the place of the one before; see `pending` for what a withdrawal takes back."""
        before, given = self._standing.pop(entry.sample, None), self._given.get(entry.sample)
        if entry.id not in self._taken and entry.kind != "withdrawn":
            self._standing[entry.sample] = Standing(entry.text, entry.reader, entry, False)
        elif given is not None and (entry.id in self._taken or (before is not None and not before.taken)):
            self._standing[entry.sample] = given

    # -- what is answered ---------------------------------------------------------------------------------------------

    def answer(self, plain: Mapping[str, object]) -> dict[str, Any]:
        """Take one answer of the page: once this returns it is on the disk. How the query stands then.

        InputError: a bad answer. Refused: the round has moved on (stale), another reader answered otherwise (other).
        """
        submission = component({"answer": Submission}, "answer", "answer", plain)
        submission.check()
        reader = check_reader(self.reader or submission.reader)
        if submission.reader.strip() not in ("", reader):
            raise InputError("reader", f"{reader}, whose page this is", submission.reader)
        with self._ledger.turn():
            entry = self._ledger.find(submission.id)
            if entry is None:
                self._ledger.append(entry := self._entry(submission, reader))
            elif (entry.sample, entry.reader) != (submission.sample, reader):
                raise InputError("answer", f"a new id, as {entry.id} is that of another answer", submission.id)
        progress = self.progress()
        if progress["done"] == progress["total"]:
            self.settle()
        return {"saved": entry.id, "sample": entry.sample, "progress": progress}

    def _entry(self, submission: Submission, reader: str) -> Entry:
        pick = self._pick(submission)
        before = self._standings(submission.round).get(pick.sample)
        kind: AnnotationKind | Literal["withdrawn"] = self.kind
        text, digest, draft = "", "", ""
        if submission.kind == "withdrawn":
            kind = "withdrawn"
            self._check_withdrawal(before, reader)
        elif submission.kind == "skip":
            kind, text = "skip", SKIP
        elif self.in_words:
            text = words(submission.classes, self.classes, several=self.kind == "classes", asked=pick.asks)
        else:
            size = self._size(pick.index)
            text, digest = drawn(submission, self.run, self.settings, size, self.classes)
            draft = proposed(submission, text, self.run, size, self.classes)
        if before is not None and before.reader != reader and before.text != text and not submission.replace:
            message = f"{before.reader} answered {self._word(before.text)} about {pick.sample}; replace that answer?"
            raise Refused("other", message)
        return Entry(
            submission.id,
            submission.round,
            pick.sample,
            kind,
            text,
            reader,
            datetime.now(UTC).isoformat(timespec="seconds"),
            round(submission.seconds, 1),
            digest,
            submission.proposal,
            submission.reason if kind == "skip" else "",
            submission.comment,
            pick.reason,
            submission.replace,
            before.entry.id if before is not None and before.entry is not None else None,
            proposer=submission.proposer,
            proposed=draft,
            prompts=submission.prompts,
            refused=submission.refused,
        )

    def _pick(self, submission: Submission) -> Pick:
        """The pick that a submission is about."""
        now = self.round()
        picks = self.picks(now)
        if self.reading is not None and self.reader not in self.reading.people:
            raise Refused("stale", f"{self.reader} left the readers of this run, so this answer was not taken")
        if submission.round != now or not picks:
            is_over = f"round {submission.round} is over" if submission.round < now else "no query is open"
            raise Refused("stale", f"{is_over}, so this answer was not taken: load the page again")
        if submission.sample in picks:
            return picks[submission.sample]
        if submission.sample not in self._position:
            raise UnknownName("sample", submission.sample, self._position)
        raise InputError("sample", f"an image of the query of round {now}", f"{submission.sample!r}, not asked about")

    @staticmethod
    def _check_withdrawal(before: Standing | None, reader: str) -> None:
        if before is None or before.reader != reader:
            raise InputError("withdrawn", f"an answer of {reader}", "none")

    def _word(self, text: str) -> str:
        return text if self.in_words or text == SKIP else "with a drawing"

    def is_held(self) -> bool:
        """Whether another process is at work on the run."""
        try:
            with self.run.lock():
                return False
        except RunLocked:
            return True

    def settle(self, patience: float = PATIENCE) -> bool:
        """Put the answers into the run; whether none waits any more. Another process may hold the run meanwhile."""
        if not self._waits():
            return True
        deadline = time.monotonic() + patience
        while True:
            try:
                with self.run.lock():
                    collect(self.run)
                return True
            except RunLocked:
                if time.monotonic() > deadline:
                    return not self._waits()
                time.sleep(0.1)

    def _waits(self) -> bool:
        """Whether an answer is not in the run yet."""
        return bool(pending(self._ledger.entries(), taken(self.run), shared=self.reading is not None))

    # -- how it stands ------------------------------------------------------------------------------------------------

    def progress(self) -> dict[str, Any]:
        """Round, answers given and asked for, and the median seconds of the last of them: the reader's own, if any."""
        r = self.round()
        with self._lock:
            total, done = len(self.picks(r)), len(self._standings(r))
            entries = self._ledger.entries()
        own = (e for e in reversed(entries) if self.reader in (None, e.reader))
        times = [e.seconds for e in islice(own, LAST) if e.round == r and e.kind != "withdrawn" and e.seconds]
        pace = statistics.median(times) if times else None
        return {"round": r, "done": done, "total": total, "pace": pace}

    def state(self) -> dict[str, Any]:
        """All that the page shows of the open query but its images."""
        r = self.round()
        if self.reading is not None and self.reader == self.reading.adjudicator:
            self.settle(0)  # what readers differ about is what is in the files
        standing = self.standings(r)
        items = [{**asdict(pick), "answer": self._view(standing.get(sample))} for sample, pick in self.picks(r).items()]
        return {
            "run": str(self.run.path),
            "name": str(self.run.facts()["name"]),
            "kind": self.kind,
            "classes": self.classes,
            "reader": self.reader,
            "items": items,
            "progress": self.progress(),
        }

    @staticmethod
    def _view(standing: Standing | None) -> dict[str, Any] | None:
        if standing is None:
            return None
        entry = standing.entry
        return {
            "text": standing.text,
            "reader": standing.reader,
            "taken": standing.taken,
            "reason": entry.reason if entry else "",
            "comment": entry.comment if entry else "",
            "file": bool(entry and entry.digest and entry.source == PAGE),
        }

    def drawing(self, index: int) -> Path | None:
        """The file that was last drawn on the page about a sample of the open query."""
        standing = next((s for i, s in self.standings(self.round()).items() if self._position[i] == index), None)
        entry = standing.entry if standing else None
        return self.run.path / entry.text if entry and entry.digest and entry.source == PAGE else None

    def labels(self) -> dict[int, str]:
        """The labels by now, position -> classes in words, empty of a drawing; those of this round last.

        Where several readers share the run, those that the reader had part in.
        """
        r = self.round()
        if self._labels[0] != r:
            current = self.run.labels(len(self._position)).current
            known = [a for a in current.values() if self.reading is None or self.reader in a.annotator.split(AND)]
            self._labels = r, {a.index: self._name(a.target) for a in known if a.kind not in LABELLESS}
        given = {i: s.text if self.in_words else "" for i, s in self.standings(r).items() if s.text != SKIP}
        return self._labels[1] | {self._position[sample]: text for sample, text in given.items()}

    def _name(self, target: Target) -> str:
        numbers = (target,) if isinstance(target, int) else target if isinstance(target, tuple) else None
        return "" if numbers is None else SEPARATOR.join(self.classes[k] for k in numbers) or NONE
