"""The ledger of a run: who answered what, when, how long and on which proposal; a line an answer, only ever appended.

`ledger.jsonl` lies in the run directory. Several processes may append: a line is on the disk before it counts as saved.
Answers of the page enter the run by `collect`, through the run's one inbox; answers of files, which the inbox takes in
at once, are noted here right after that by `note`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
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
NUMBERED = re.compile(r"\d{3,5}")
"""The names of folders of rounds, and those of files of answers before the suffix."""
REASONS = ("unsure", "unusable", "not of interest")
"""Why nobody could answer, where it is more than a skip."""
PROPOSALS = ("accepted", "edited", "discarded")
"""What people did with a proposal of a model, or of a segmenter that they gave boxes and points."""

PEOPLE: Literal["readers"] = "readers"
"""The kind of a line that is no answer: other people read from then on (`readers.Change`)."""
EntryKind = AnnotationKind | Literal["withdrawn", "readers"]
PAGE = "page"
"""The source of an answer that came over the page."""
WITHDRAWN = ""
"""The text of a withdrawal in the files of answers."""


@dataclass(frozen=True)
class Entry:
    """One answer, or the withdrawal of one; or a change of the people who answer, which is no entry of a sample.

    id          made by the page: an answer that is sent twice is one entry; of a file `round/file of answers/row`
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
    supersedes  id of the earlier entry about the sample; where several readers share the run, of the same one
    previous    digest of the line before, so that a changed ledger is seen
    check       digest of all the others, which tells of the last line what `previous` of the next one would
    source      `PAGE`, or the name of the file or of the server that the answer came in
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
    source: str = PAGE
    proposer: str = ""
    proposed: str = ""
    prompts: int = 0
    refused: int = 0
    check: str = ""

    def digest_of_all(self) -> str:
        """What `check` is of an entry that is as it was written."""
        return _digest(json.dumps({**vars(self), "check": ""}).encode())


class Ledger:
    """The entries of a run, read once and then as they come; safe for threads, and for processes beside each other.

    threads  the lock of this process, which whoever keeps something beside the entries shares
    """

    def __init__(self, run: RunDir) -> None:
        self.file = run.path / LEDGER
        self.threads = threading.RLock()
        self._processes = filelock.FileLock(run.path / f".{LEDGER}.lock", thread_local=False)
        self._entries: list[Entry] = []
        self._changes: list[Entry] = []
        self._by_id: dict[str, Entry] = {}
        self._end, self._tip = 0, ""
        self._tips: set[str] = set()

    def entries(self) -> list[Entry]:
        """All answers and withdrawals by now. InputError where a line was changed or cut off since it was written."""
        with self.threads:
            self._read()
            return self._entries

    def changes(self) -> list[Entry]:
        """The lines of kind `PEOPLE` by now; errors as of `entries`."""
        with self.threads:
            self._read()
            return self._changes

    def tip(self) -> str:
        """Digest of the last line, which stands for all before it; empty where there is none."""
        with self.threads:
            self._read()
            return self._tip

    def has(self, tip: str) -> bool:
        """Whether a digest was that of the last line once."""
        return tip in self._tips

    def find(self, id: str) -> Entry | None:
        """The entry of an id."""
        return self._by_id.get(id)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else appends meanwhile; all entries are read."""
        with self.threads, self._processes.acquire(poll_interval=0.003):
            self._read()
            yield

    def append(self, *entries: Entry) -> None:
        """Entries, which are on the disk when this returns; within `turn`."""
        chained, lines, tip = list[Entry](), list[bytes](), self._tip
        for entry in entries:
            behind = replace(entry, previous=tip)
            chained.append(replace(behind, check=behind.digest_of_all()))
            lines.append(json.dumps(asdict(chained[-1]), ensure_ascii=False).encode() + b"\n")
            tip = _digest(lines[-1])
        with self.file.open("ab", buffering=0) as out:
            torn = out.tell() > self._end  # what a killed process left of a line was never said to be saved
            out.write(b"\n" * torn + b"".join(lines))
            os.fsync(out.fileno())
            self._end = out.tell()
        for entry, line in zip(chained, lines, strict=True):
            self._take(entry, line)

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
                if (entry := self._entry(line)) is not None:
                    self._take(entry, line)

    def _entry(self, line: bytes) -> Entry | None:
        """The entry of a line; None of one that a killed process left half-written. InputError of a damaged one."""
        try:
            entry = Entry(**json.loads(line))
        except (ValueError, TypeError, RecursionError):
            if not line.endswith(b"}\n"):
                return None
        else:
            if entry.check in ("", entry.digest_of_all()):
                return entry
        raise InputError(f"{self.file}, answer {len(self._entries) + 1}", "the line as it was written", "a damaged one")

    def _take(self, entry: Entry, line: bytes) -> None:
        if entry.previous != self._tip:
            raise InputError(
                f"{self.file}, answer {len(self._entries) + 1}",
                "the line behind the one that it names",
                "a ledger that was changed",
            )
        self._tip = _digest(line)
        self._tips.add(self._tip)
        (self._changes if entry.kind == PEOPLE else self._entries).append(entry)
        self._by_id[entry.id] = entry


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:16]


def pending(entries: Iterable[Entry], taken: frozenset[str], *, shared: bool = False) -> list[Entry]:
    """The last answer about each sample that is not in the files of answers yet, by the ids of those that are.

    A withdrawal takes back the answer that waits; where none does, it waits itself, for the one that is in the files.

    shared  several readers share the run: the last answer of each of them
    """
    waiting: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        key = _about(entry.sample, entry.reader, shared=shared)
        if entry.id in taken or (entry.kind == "withdrawn" and key in waiting):
            waiting.pop(key, None)
        else:
            waiting[key] = entry
    return list(waiting.values())


def _about(sample: str, reader: str, *, shared: bool) -> tuple[str, str]:
    """What a later answer stands in the place of."""
    return sample, reader if shared else ""


def waiting_of(run: RunDir) -> list[Entry]:
    """See `pending`: those of a run."""
    return pending(Ledger(run).entries(), taken(run), shared=is_shared(run))


def is_shared(run: RunDir) -> bool:
    """Whether several readers share a run."""
    return run.exists() and run.facts().get("reading") is not None


def files_of_answers(run: RunDir) -> list[Path]:
    """The files of answers of all rounds, in the order in which they came in."""
    files = run.path.glob("rounds/*/answers/*.csv")  # an editor or a file manager may leave copies beside them
    numbered = (file for file in files if NUMBERED.fullmatch(file.stem) and NUMBERED.fullmatch(file.parts[-3]))
    return sorted(numbered, key=lambda file: (int(file.parts[-3]), int(file.stem)))


def taken(run: RunDir) -> frozenset[str]:
    """Ids of the entries that are in the files of answers of a run."""
    return frozenset(row["entry"] for file in files_of_answers(run) for row in rows_of(file))


def rows_of(file: Path) -> tuple[Mapping[str, str], ...]:
    """The rows of a file of answers, each with the id of its `entry` in the ledger and its `source`."""
    stat = file.stat()
    return _rows(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _rows(file: Path, time: int, size: int) -> tuple[Mapping[str, str], ...]:
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    own = f"{file.parts[-3]}/{file.stem}"
    return tuple(
        {"replaces": "", "source": "a file", **row, "entry": row.get("entry") or f"{own}/{k}"}
        for k, row in enumerate(rows)
    )


def note(run: RunDir, files: Iterable[Path], kind: AnnotationKind) -> None:
    """Note the answers of files of answers that are not in the ledger yet: those of files, once each.

    kind  of the answers of the run
    """
    ledger = Ledger(run)
    new = [(file, row) for file in files for row in rows_of(file) if "/" in row["entry"]]
    if not new:
        return
    with ledger.turn():
        shared = is_shared(run)
        before = {_about(entry.sample, entry.reader, shared=shared): entry.id for entry in ledger.entries()}
        entries = list[Entry]()
        for file, row in new:
            if ledger.find(row["entry"]) is None:
                key = _about(row["id"], row["annotator"], shared=shared)
                entries.append(_noted(run, file, row, kind, before.get(key)))
                before[key] = row["entry"]
        if entries:
            ledger.append(*entries)


def _noted(run: RunDir, file: Path, row: Mapping[str, str], kind: AnnotationKind, before: str | None) -> Entry:
    """The entry of an answer that came in a file; `before`: id of the one before it about the sample."""
    round, text = int(file.parts[-3]), row["label"]
    picture = run.path / text if text.startswith(f"rounds/{file.parts[-3]}/") else None
    what: EntryKind = "withdrawn" if text == WITHDRAWN else "skip" if text == SKIP else kind
    return Entry(
        row["entry"],
        round,
        row["id"],
        what,
        text,
        row["annotator"],
        row["time"],
        digest=sha256_of(picture) if picture is not None and picture.is_file() else "",
        asked=reasons(run, round).get(row["id"], ""),
        replaces=bool(row["replaces"]),
        supersedes=before,
        source=row["source"],
    )


def source_of(run: RunDir, where: object) -> str:
    """What the ledger calls a file of answers: its name, which a run with hashed names leaves out."""
    if not isinstance(where, Path):
        return str(where)
    return f"a file{where.suffix}" if run.exists() and "salt" in run.facts() else where.name


def reasons(run: RunDir, round: int) -> Mapping[str, str]:
    """Why each sample of the query of a round was asked about."""
    file = run.round_path(round) / "query.csv"
    if not file.is_file():
        return {}
    stat = file.stat()
    return _reasons(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _reasons(file: Path, time: int, size: int) -> Mapping[str, str]:
    with file.open(newline="", encoding="utf-8") as lines:
        return {row["id"]: row["reason"] for row in csv.DictReader(lines)}


def effort(run: RunDir, r: int) -> dict[str, float]:
    """How people answered round r through the ledger, under the names of trackers; empty where nobody did.

    Shares of the answers that had a proposal of a model, in [0, 1], and the median of the seconds that were noted.
    """
    answers = pending((e for e in Ledger(run).entries() if e.round == r), frozenset(), shared=is_shared(run))
    values = dict[str, float]()
    if proposals := [entry.proposal for entry in answers if entry.proposal]:
        values |= {f"people/{what}": proposals.count(what) / len(proposals) for what in PROPOSALS}
    if seconds := [entry.seconds for entry in answers if entry.seconds]:
        values["people/seconds"] = median(seconds)
    return values


def collect(run: RunDir) -> int:
    """Put the answers of the page into the run by its inbox; how many. The run must be locked.

    Answers of files that a killed process did not note are noted first. InputError where an answer differs from one
    that another reader gave by another way meanwhile, or its file changed.
    """
    from .inbox import inbox, lists_of

    files = files_of_answers(run)
    if not files and not (run.path / LEDGER).is_file():
        return 0
    box = inbox(run)
    lists = lists_of(box)
    if lists is not None:
        note(run, files, lists.wording.kind)
    waiting = waiting_of(run)
    for entry in waiting:
        if entry.digest and sha256_of(run.path / entry.text) != entry.digest:
            raise InputError(run.path / entry.text, f"the file that {entry.reader} drew", "another one")
    by_reader = lambda entry: (entry.reader, entry.kind == "withdrawn", entry.replaces)  # noqa: E731
    for (reader, withdrawn, replaces), group in groupby(sorted(waiting, key=by_reader), by_reader):
        entries = list(group)
        notes = {entry.sample: (entry.time, entry.id) for entry in entries}
        if withdrawn and lists is not None:
            lists.store(run.path / LEDGER, len(run.rounds()), dict.fromkeys(notes, WITHDRAWN), reader, notes=notes)
            continue
        texts = {entry.sample: SKIP if entry.kind == "skip" else entry.text for entry in entries}
        box.put(run.path / LEDGER, texts, reader, notes, replace=replaces)
    return len(waiting)
