"""Whether the ledger of a run is whole and gives the labels of every round; who said what, in lines and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np

from ..core.labels import LabelStore
from ..core.rundir import RunDir
from ..core.seals import ROUND, sealed, sha256_of, whole
from ..core.types import GIVEN, Annotation, LabelMap, Target
from ..data.answers import file_name, read_answer
from ..errors import HybridALError, InputError
from .base import SKIP
from .inbox import inbox, lists_of
from .ledger import WITHDRAWN, Entry, Ledger, rows_of, waiting_of
from .readings import AGREED, Readings
from .worklist import WorklistOracle, answer_files

MOST = 20  # lines of what is wrong
COLUMNS = (
    *(
        "id",
        "round",
        "sample",
        "kind",
        "text",
        "reader",
        "time",
        "seconds",
        "proposer",
        "proposal",
        "reason",
        "comment",
    ),
    *("asked", "source", "supersedes", "standing", "digest"),
)
"""Of the ledger as a table, changes of readers last; `standing`: counts, superseded, withdrawn, waits, a withdrawal."""


@dataclass
class Audit:
    """A look at the ledger of a run; nothing is written.

    problems  a line for each thing that is not as it was written, once `check` was called
    """

    run: RunDir
    problems: list[str] = field(default_factory=list)

    @cached_property
    def ledger(self) -> Ledger:
        """InputError where its chain of digests is broken."""
        ledger = Ledger(self.run)
        ledger.entries()
        return ledger

    @cached_property
    def lists(self) -> WorklistOracle:
        """The files of answers; InputError where the answers of a run are of a kind from outside."""
        if (lists := lists_of(inbox(self.run))) is None:
            raise InputError(self.run.path, "a run whose answers are classes, masks or boxes", "another one")
        return lists

    @cached_property
    def rows(self) -> dict[str, tuple[int, Mapping[str, str]]]:
        """Entry -> its round and row in the files of answers, in the order in which they were taken."""
        rounds = range(len(self.run.rounds()) + 1)
        files = [(r, file) for r in rounds for file in answer_files(self.run, r)]
        return {row["entry"]: (r, row) for r, file in files for row in rows_of(file)}

    @cached_property
    def standing(self) -> dict[str, str]:
        """Entry -> counts, superseded, withdrawn, waits, or a withdrawal."""
        waiting, last = {entry.id for entry in waiting_of(self.run)}, dict[tuple[str, str], str]()
        shared, standing = self.lists.readings(0) is not None, dict[str, str]()
        for entry in self.ledger.entries():
            key = (entry.sample, entry.reader if shared else "")
            if (before := last.pop(key, None)) is not None:
                standing[before] = "withdrawn" if entry.kind == "withdrawn" else "superseded"
            if entry.kind == "withdrawn":
                standing[entry.id] = "a withdrawal"
            else:
                standing[entry.id], last[key] = "waits" if entry.id in waiting else "counts", entry.id
        return standing

    def check(self) -> None:
        """Fill `problems`: entries and files of answers name each other, and give the labels of every round."""
        for id, count in Counter(entry.id for entry in self.ledger.entries()).items():
            if count > 1:
                self.problems.append(f"entry {id} is there {count} times")
        for one in self.ledger.entries():
            self.problems += [f"round {one.round}, answer about {one.sample!r}: {why}" for why in self._lost(one)]
        for id, (r, row) in self.rows.items():
            entry = self.ledger.find(id)
            if entry is not None:
                self.problems += [f"round {r}, answer about {row['id']!r}: {why}" for why in self._differs(entry, row)]
            elif "/" not in id:
                self.problems.append(f"round {r}, answer about {row['id']!r}: its entry {id} is not in the ledger")
        labels = LabelStore(len(self.lists.manifest))
        labels = labels.add(a for a in self._has(0).annotations if a.annotator == GIVEN)
        for done in self.run.rounds():
            tip = done.digests.get("ledger")
            if tip is not None and not self.ledger.has(tip):
                self.problems.append(f"round {done.index}: the ledger lacks lines that it had then")
            labels = labels.add(self._said(done.index))
            if not self._is_simulated:
                self.problems += [f"round {done.index}: {why}" for why in self._other_labels(labels, done.index)]

    @property
    def _is_simulated(self) -> bool:
        """Whether the labels come from the data, so that nobody says them."""
        recipe = cast(dict[str, Any], self.run.facts()["recipe"])
        return bool(recipe["oracle"]["name"] == "simulated")

    def _lost(self, entry: Entry) -> Iterator[str]:
        """What is no more as it was of an answer that no file of answers has, and of what was proposed."""
        answer, draft = self.run.path / entry.text, self.run.path / entry.proposed
        if entry.digest and entry.id not in self.rows and not self._is(answer, entry.digest):
            yield f"{answer} is not what {entry.reader} drew"
        if entry.proposed not in ("", entry.text) and not self._is(draft, draft.stem):  # named by its digest
            yield f"{draft} is not what was proposed to {entry.reader}"

    @staticmethod
    def _is(file: Path, digest: str) -> bool:
        """Whether a file is there and its digest begins with this one."""
        return file.is_file() and sha256_of(file).startswith(digest)

    def _differs(self, entry: Entry, row: Mapping[str, str]) -> Iterator[str]:
        """In what an entry is another than its row."""
        text = WITHDRAWN if entry.kind == "withdrawn" else SKIP if entry.kind == "skip" else entry.text
        for name, mine, its in (("sample", entry.sample, row["id"]), ("reader", entry.reader, row["annotator"]),
                                ("time", entry.time, row["time"])):  # fmt: skip
            if mine != its:
                yield f"{name} {its!r}, in the ledger {mine!r}"
        if not entry.digest:
            if text != row["label"]:
                yield f"{row['label']!r}, in the ledger {text!r}"
            return
        file, kept = self.run.path / entry.text, self.run.path / row["label"]
        if not self._is(file, entry.digest):
            yield f"{file} is not what {entry.reader} drew"
        elif self.lists.wording.kind == "mask" and not np.array_equal(read_answer(file), read_answer(kept)):
            yield f"{kept} is not what {entry.reader} drew"

    def _said(self, r: int) -> tuple[Annotation, ...]:
        """The annotations that the answers of a round give, by themselves."""
        readings = self.lists.readings(r)
        if readings is None:
            return tuple(self.lists.latest(r).values())

        def kept(index: int, labels: LabelMap) -> str:
            file = self.run.round_path(r) / AGREED / file_name(index)
            if not file.is_file() or not np.array_equal(read_answer(file), labels):
                self.problems.append(f"{file} is not what the masks of its readers give")
            return file.relative_to(self.run.path).as_posix()

        return readings.answers(kept)[0]

    def _other_labels(self, labels: LabelStore, r: int) -> Iterator[str]:
        """The samples of which a round has another label than its answers give."""
        has, gives, ids = self._has(r).current, labels.current, self.lists.manifest.ids
        for i in sorted({*has, *gives}):
            if i not in has or i not in gives:
                yield f"label of {ids[i]!r} is {'missing' if i in gives else 'of nobody'}"
            elif _label(has[i]) != _label(
                gives[i] if has[i].region is None else replace(has[i], annotator=gives[i].annotator)
            ):
                yield f"label of {ids[i]!r} is {self._word(has[i])}, its answers give {self._word(gives[i])}"

    def _has(self, r: int) -> LabelStore:
        """The labels that a round has; none of one that is not committed."""
        folder, n = self.run.round_path(r), len(self.lists.manifest)
        if not (folder / ROUND).is_file():
            return LabelStore(n)
        with whole(file := sealed(folder / "labels.jsonl")):
            return LabelStore.from_jsonl(n, file.read_text(encoding="utf-8"))

    def labels(self) -> dict[int, Annotation]:
        """The labels by now, those of the open round too, by sample."""
        store = self.run.labels(len(self.lists.manifest))
        return store.add(self._said(len(self.run.rounds()))).current

    def _word(self, a: Annotation) -> str:
        return f"{a.kind} {a.target} of {a.annotator}"

    def lines(self) -> list[str]:
        """Who said what, and how the rounds stand; one line each."""
        entries, facts = self.ledger.entries(), self.run.facts()
        if not entries and not self.rows:
            return [f"{facts['name']} (seed {facts['seed']}): no person answered; there is no ledger"]
        lines = [f"{facts['name']} (seed {facts['seed']}): {len(entries)} entries in the ledger, their chain is whole"]
        if lacking := sum(self.ledger.find(id) is None for id in self.rows):
            lines.append(f"  {lacking} answers are in files alone; the next hybrid-al labels or run notes them")
        for reader in dict.fromkeys(entry.reader for entry in entries):
            lines.append(self._about([entry for entry in entries if entry.reader == reader]))
        lines += [f"  {change.time}: {change.comment}" for change in self.ledger.changes()]
        for r in range(len(self.run.rounds()) + 1):
            ids = self.run.query_ids(r)
            if ids is not None or any(of == r for of, _ in self.rows.values()):
                lines.append(self._round(r, len(set(ids or ()))))
        return lines

    def _about(self, entries: list[Entry]) -> str:
        answers = [entry for entry in entries if entry.kind != "withdrawn"]
        standing = Counter(self.standing[entry.id] for entry in entries)
        counts = [f"{len(answers)} answers", f"{sum(e.kind == 'skip' for e in answers)} of them skips"]
        counts += [f"{standing[what]} {what}" for what in ("superseded", "withdrawn", "waits") if standing[what]]
        if seconds := [entry.seconds for entry in answers if entry.seconds]:
            counts.append(f"{median(seconds):.1f} s each")
        sources = Counter(entry.source for entry in answers)
        by = ", ".join(f"{source} {n}" for source, n in sources.most_common(3)) + ", ..." * (len(sources) > 3)
        times = sorted(entry.time for entry in entries)
        return f"  {entries[0].reader}: {', '.join(counts)}; by {by or 'nothing'}; {times[0]} to {times[-1]}"

    def _round(self, r: int, asked: int) -> str:
        rows = [row for of, row in self.rows.values() if of == r]
        text = f"  round {r}: {asked} asked, {len(rows)} answers taken"
        if (readings := self.lists.readings(r)) is not None:
            text += f", {_differences(readings)}"
        return f"{text}, {'committed' if (self.run.round_path(r) / ROUND).is_file() else 'open'}"

    def table(self) -> list[tuple[object, ...]]:
        """The entries as rows of `COLUMNS`."""
        plain = [{**vars(entry), "standing": self.standing[entry.id]} for entry in self.ledger.entries()]
        plain += [{**vars(change), "standing": "a change of readers"} for change in self.ledger.changes()]
        return [tuple("" if row[name] is None else row[name] for name in COLUMNS) for row in plain]

    def refuse(self) -> None:
        """InputError with a line for each problem."""
        if self.problems:
            more = [f"... and {len(self.problems) - MOST} more"] * (len(self.problems) > MOST)
            came = "\n  ".join([f"{len(self.problems)} that are not:", *self.problems[:MOST], *more])
            raise InputError(self.run.path, "answers and labels as they were written", came)


def _label(a: Annotation) -> tuple[str, Target, str, tuple[Target, ...]]:
    return a.kind, a.target, a.annotator, a.votes


def _differences(readings: Readings) -> str:
    """How many samples several read, and what became of those about which they differ."""
    judges, several = readings.reading.judges, [i for i in readings.readers if len(readings.readings(i)) > 1]
    differ = [i for i in several if readings.differ(i)]
    text = f"{len(several)} read by several, {len(differ)} differ"
    if judges:
        judged = {i: verdict for i in several if (verdict := readings.verdict(i)) is not None}
        alone = sum(a.target not in {o.target for o in readings.readings(i).values()} for i, a in judged.items())
        text += f", {len(judged)} judged by {', '.join(judges)} ({alone} as no reader said)"
    return text


def audit(run: Path | str) -> Audit:
    """The ledger of a run, checked: see `Audit.problems`. InputError for no run, or a ledger whose chain is broken."""
    disk = RunDir(Path(run))
    disk.facts()
    one = Audit(disk)
    try:
        one.check()
    except HybridALError as error:
        one.problems.append(str(error))
    return one
