"""The ledger of a run: who answered what, when, how long and on which proposal; a line an answer, only ever appended.

`ledger.jsonl` lies in the run directory. Several processes may append: a line is on the disk before it counts as saved.
Answers enter the run by `collect`, through the run's one inbox.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Literal

import filelock

from ..core.rundir import RunDir
from ..core.seals import sha256_of
from ..core.types import AnnotationKind
from ..errors import InputError
from .base import SKIP

LEDGER = "ledger.jsonl"
REASONS = ("unsure", "unusable", "not of interest")
"""Why nobody could answer, where it is more than a skip."""
PROPOSALS = ("accepted", "edited", "discarded")
"""What people did with a proposal of a model, or of a segmenter that they gave boxes and points."""

EntryKind = AnnotationKind | Literal["withdrawn"]


@dataclass(frozen=True)
class Entry:
    """One answer, or the withdrawal of one.

    id          made by whoever answered: an answer that is sent twice is one entry
    sample      its id in the manifest, in round `round`
    text        the answer as `hybrid-al labels` takes it: words, `skip`, or the path of its file in the run directory
    digest      SHA-256 of that file
    time        UTC, by the clock of the server; `seconds` spent on the answer
    proposal    what became of a proposal, one of `PROPOSALS`; empty where none was seen
    proposer    of it: segmenter, both, or else the model
    proposed    the path of its mask in the run directory, where that is kept
    prompts     boxes and points that the segmenter was given, `refused` of its structures that were thrown away
    reason      of a skip, one of `REASONS`
    asked       why the sample was asked about
    replaces    whether it may stand in the place of another reader's answer
    supersedes  id of the earlier entry about the sample
    previous    digest of the line before, so that a changed ledger is seen
    """

    id: str
    round: int
    sample: str
    kind: EntryKind
    text: str
    reader: str
    time: str
    seconds: float = 0.0
    digest: str = ""
    proposal: str = ""
    reason: str = ""
    comment: str = ""
    asked: str = ""
    replaces: bool = False
    supersedes: str | None = None
    previous: str = ""
    proposer: str = ""
    proposed: str = ""
    prompts: int = 0
    refused: int = 0


class Ledger:
    """The entries of a run, read once and then as they come; safe for threads, and for processes beside each other.

    threads  the lock of this process, which whoever keeps something beside the entries shares
    """

    def __init__(self, run: RunDir) -> None:
        self.file = run.path / LEDGER
        self.threads = threading.RLock()
        self._processes = filelock.FileLock(run.path / f".{LEDGER}.lock", thread_local=False)
        self._entries: list[Entry] = []
        self._by_id: dict[str, Entry] = {}
        self._end, self._tip = 0, ""

    def entries(self) -> list[Entry]:
        """All entries by now. InputError where a line was changed or cut off since it was written."""
        with self.threads:
            self._read()
            return self._entries

    def find(self, id: str) -> Entry | None:
        """The entry of an id."""
        return self._by_id.get(id)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else appends meanwhile; all entries are read."""
        with self.threads, self._processes.acquire(poll_interval=0.003):
            self._read()
            yield

    def append(self, entry: Entry) -> Entry:
        """The entry as it stands on the disk when this returns; within `turn`."""
        entry = replace(entry, previous=self._tip)
        line = json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n"
        with self.file.open("ab", buffering=0) as out:
            torn = out.tell() > self._end  # what a killed process left of a line was never said to be saved
            out.write(b"\n" + line if torn else line)
            os.fsync(out.fileno())
        self._read()
        return self._by_id[entry.id]

    def _read(self) -> None:
        if not self.file.is_file():
            if self._end:
                raise InputError(self.file, f"the ledger with {len(self._entries)} answers", "nothing there")
            return
        with self.file.open("rb") as lines:
            if lines.seek(0, os.SEEK_END) < self._end:
                raise InputError(self.file, f"a ledger of {self._end} bytes or more", "one that was cut")
            lines.seek(self._end)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                self._end += len(line)
                if (entry := _entry(line)) is not None:
                    self._take(entry, line)

    def _take(self, entry: Entry, line: bytes) -> None:
        if entry.previous != self._tip:
            raise InputError(
                f"{self.file}, answer {len(self._entries) + 1}",
                "the line behind the one that it names",
                "a ledger that was changed",
            )
        self._tip = hashlib.sha256(line).hexdigest()[:16]
        self._entries.append(entry)
        self._by_id[entry.id] = entry


def _entry(line: bytes) -> Entry | None:
    """The entry of a line; None of one that a killed process left half-written."""
    try:
        return Entry(**json.loads(line))
    except (ValueError, TypeError):
        return None


def pending(entries: Iterable[Entry], taken: frozenset[str]) -> dict[str, Entry]:
    """The last answer about each sample that is not in the files of answers yet, by the ids of those that are."""
    waiting: dict[str, Entry] = {}
    for entry in entries:
        if entry.id in taken or entry.kind == "withdrawn":
            waiting.pop(entry.sample, None)
        else:
            waiting[entry.sample] = entry
    return waiting


def taken(run: RunDir) -> frozenset[str]:
    """Ids of the entries that are in the files of answers of a run."""
    return frozenset(
        row["entry"]
        for file in sorted(run.path.glob("rounds/*/answers/*.csv"))
        for row in rows_of(file)
        if row["entry"]
    )


def rows_of(file: Path) -> tuple[Mapping[str, str], ...]:
    """The rows of a file of answers, with an `entry` each."""
    stat = file.stat()
    return _rows(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _rows(file: Path, time: int, size: int) -> tuple[Mapping[str, str], ...]:
    with file.open(newline="", encoding="utf-8") as lines:
        return tuple({"entry": "", **row} for row in csv.DictReader(lines))


def effort(run: RunDir, r: int) -> dict[str, float]:
    """How people answered round r through the ledger, under the names of trackers; empty where nobody did.

    Shares of the answers that had a proposal of a model, in [0, 1], and the median of the seconds that were noted.
    """
    answers = pending((entry for entry in Ledger(run).entries() if entry.round == r), frozenset()).values()
    values = dict[str, float]()
    if proposals := [entry.proposal for entry in answers if entry.proposal]:
        values |= {f"people/{what}": proposals.count(what) / len(proposals) for what in PROPOSALS}
    if seconds := [entry.seconds for entry in answers if entry.seconds]:
        values["people/seconds"] = median(seconds)
    return values


def collect(run: RunDir) -> int:
    """Put the answers of the ledger into the run by its inbox; how many. The run must be locked.

    InputError where an answer differs from one that another reader gave by another way meanwhile, or its file changed.
    """
    from .inbox import inbox

    if not (run.path / LEDGER).is_file():
        return 0
    waiting = pending(Ledger(run).entries(), taken(run))
    for entry in waiting.values():
        if entry.digest and sha256_of(run.path / entry.text) != entry.digest:
            raise InputError(run.path / entry.text, f"the file that {entry.reader} drew", "another one")
    by_reader = lambda entry: (entry.reader, entry.replaces)  # noqa: E731
    for (reader, replaces), group in groupby(sorted(waiting.values(), key=by_reader), by_reader):
        entries = list(group)
        texts = {entry.sample: SKIP if entry.kind == "skip" else entry.text for entry in entries}
        notes = {entry.sample: (entry.time, entry.id) for entry in entries}
        inbox(run).put(run.path / LEDGER, texts, reader, notes, replace=replaces)
    return len(waiting)
