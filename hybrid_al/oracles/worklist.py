"""A person who answers with classes or labels, through CSV files."""

from __future__ import annotations

import csv
import io
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from ..core.files import read_seal, seal, write_atomic
from ..core.manifest import Manifest
from ..core.rundir import RunDir
from ..core.seals import sealed, sha256_of, whole
from ..core.types import Annotation, AnnotationKind, IntArray, Target
from ..data.answers import ANSWERS, write_answer
from ..data.tables import lost_zeros, read_table
from ..errors import AwaitingLabels, InputError
from .base import SKIP, Notes
from .ledger import NUMBERED, WITHDRAWN, note, source_of
from .one_bit import NOT, asked_classes, in_full, merged
from .readers import reading_of
from .readings import AGREED, Readings
from .wording import WORDINGS, Wording, read_class

TAKEN = "the answers as they were taken in; a copy of the run may have them"


Picture = Callable[[int], npt.NDArray[np.uint8]]
"""Position -> the image (H, W, 1 or 3) for a person, in its own pixels."""


@dataclass(frozen=True)
class WorklistOracle:
    """A person who answers through files: a copy of the query goes out, answers come in by `take`, into the round.

    unasked  takes answers about images of the pool that nobody was asked about, and gives their pictures out; None
             where such answers are refused
    """

    run: RunDir
    manifest: Manifest
    classes: tuple[str, ...]
    wording: Wording = WORDINGS["class"]
    unasked: Picture | None = None

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; answers about samples of earlier rounds are corrections."""
        answers, missing = self.latest_answers(query, round)
        if missing and (readings := self.readings(round)) is not None:
            raise AwaitingLabels(f"{self.give_out_to_readers(readings)}\n{self.by_page} --reader NAME")
        if missing:
            file = self.give_out(round)
            command = shlex.join(["hybrid-al", "labels", str(self.run.path), str(file)])
            raise AwaitingLabels(
                f"round {round} waits for {len(missing)} of {len(query)} labels: fill in the column 'label' of "
                f"{file} ({self.wording.how}) and give it to: {command}\n{self.by_page}"
            )
        return answers

    @property
    def by_page(self) -> str:
        """The other way to answer, and its command."""
        return f"or answer in the browser: {shlex.join(['hybrid-al', 'label', str(self.run.path)])}"

    def give_out(self, round: int) -> Path:
        """Write the list that people fill in, a copy of the query, where it is not there yet; its path."""
        file, rows = self.run.worklist(round), self.run.query_rows(round) or []
        if not file.exists():
            write_list(file, rows[self.run.query_starts(round)[-1] :])
        return file

    def give_out_to_readers(self, readings: Readings) -> str:
        """Write the list of each reader, and of the adjudicator once all have read; what they owe, in words."""
        owed, round, judge = readings.owed, readings.round, readings.reading.adjudicator
        rows = (self.run.query_rows(round) or [])[self.run.query_starts(round)[-1] :]
        for name in readings.reading.readers if set(owed) != {judge} else (judge,):
            own = [row for row in rows if self.manifest.position[row["id"]] in owed.get(name, ())]
            if name == judge:
                own = [{**row, "reason": readings.difference(self.manifest.position[row["id"]])} for row in own]
            file = self.run.worklist(round).with_stem(f"{self.run.worklist(round).stem}_{name}")
            if own and not file.exists():
                write_list(file, own)
        who = ", ".join(f"{name} {len(samples)}" for name, samples in owed.items())
        lists = shlex.quote(str(self.run.path / "worklist"))
        take = f"hybrid-al labels {shlex.quote(str(self.run.path))} FILE --annotator NAME"
        return f"round {round} waits for readings: {who}; the lists of each are in {lists}, answers go to: {take}"

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`: nothing."""
        return {}

    def latest_answers(self, query: IntArray, round: int) -> tuple[tuple[Annotation, ...], list[int]]:
        """The last answer of a round about each sample, and the samples of the query that have none.

        Of several readers: what they say together, and the samples that one of them still has to answer.
        """
        if (readings := self.readings(round)) is not None:
            return readings.answers(lambda i, labels: write_answer(self.run, round, i, labels, folder=AGREED))
        latest = self.latest(round)
        return tuple(latest.values()), [i for i in query.tolist() if i not in latest]

    def readings(self, round: int) -> Readings | None:
        """What several readers said by a round; None where anybody answers, each sample once."""
        reading = reading_of(self.run)
        return None if reading is None else Readings(self, reading, round)

    def admit(self, where: object, annotator: str, samples: Iterable[int]) -> None:
        """InputError where several readers share the run, and one of the samples is not for `annotator` to answer."""
        if (readings := self.readings(len(self.run.rounds()))) is None:
            return
        readings.reading.check("--annotator", annotator)
        for i in samples:
            if (why := readings.refusal(i, annotator, unasked=self.unasked is not None)) is not None:
                raise InputError(where, why, repr(self.manifest.ids[i]))

    def latest(self, round: int) -> dict[int, Annotation]:
        """The answer of a round about each sample that stands in the end.

        A sample whose answer was withdrawn waits again; where an earlier round asked about it, that is a skip.
        """
        asked, latest = set(self.run.query_ids(round) or ()), dict[int, Annotation]()
        for answer in self.answers(round):
            if answer.target == WITHDRAWN and self.manifest.ids[answer.index] in asked:
                latest.pop(answer.index, None)
            else:
                latest[answer.index] = replace(answer, target=None) if answer.target == WITHDRAWN else answer
        return {a.index: a for a in self.with_exclusions(latest.values(), round)}

    def with_exclusions(self, answers: Iterable[Annotation], round: int) -> tuple[Annotation, ...]:
        """Answers of a round with what earlier rounds excluded of their samples (`one_bit.merged`)."""
        if not self.wording.refuses:
            return tuple(answers)
        before = self.run.labels(len(self.manifest)).as_of(round - 1).current
        return merged(answers, before, len(self.classes))

    def take(self, file: Path, annotator: str, *, replace: bool = False) -> tuple[int, int]:
        """Take in a CSV of `id,label`, whole or not at all; (number of its answers, answers still missing).

        A label is what `wording` reads, or "skip"; an empty one is no answer yet. InputError: no open query and nothing
        to correct; another answer than another annotator gave, unless `replace`; and, with its line, an id that was
        neither asked about nor labeled before, an unknown class, an id twice with different labels.
        """
        rows = ((f"{file} line {line}", row["id"], row["label"]) for line, row in csv_rows(file, ("id", "label")))
        return self.take_texts(file, rows, annotator, replace=replace)

    def take_texts(
        self, file: Path | str, rows: Iterable[tuple[str, str, str]], annotator: str, *, replace: bool = False
    ) -> tuple[int, int]:
        """As `take`, of (place for errors, id, label)."""
        round, ids = self.open_query("labels")
        answers: dict[str, str] = {}
        asked = asked_classes(self.run, round) if self.wording.refuses else {}
        for where, name, label in rows:
            index = self.manifest.find(name)
            sample = name if index is None else self.manifest.ids[index]
            if not label:
                continue
            if sample not in ids:
                expected = f"an id of the open query or of an earlier one{self.way_out(index)}"
                raise InputError(where, expected, repr(sample) + lost_zeros(name, ids))
            text = in_full(where, label, asked.get(sample)) if self.wording.refuses else label
            if self._meaning(where, answers.setdefault(sample, text)) != self._meaning(where, text):
                raise InputError(where, f"one label for {sample!r}", f"{answers[sample]!r} and {text!r}")
        if not answers:
            raise InputError(file, "at least one label", "none filled in")
        self.admit(file, annotator, (self.manifest.position[sample] for sample in answers))
        return len(answers), self.take_words(file, round, answers, annotator, replace=replace)

    def take_words(
        self, where: object, round: int, answers: Mapping[str, str], annotator: str, *, replace: bool = False
    ) -> int:
        """Store answers (id -> text) that the person did not give before; how many are still missing."""
        samples = [self.manifest.position[sample] for sample in answers]
        differs = self._differs(round, answers, annotator)
        new = self.unsaid(round, samples, differs, annotator)
        replaces = self.replaces(where, round, new, differs, annotator, replace=replace)
        texts = {self.manifest.ids[i]: answers[self.manifest.ids[i]] for i in new}
        return self.store(where, round, texts, annotator, replaces)

    def put(
        self, where: object, texts: Mapping[str, str], annotator: str, notes: Notes, *, replace: bool = False
    ) -> None:
        """See `Inbox.put`."""
        round, _ = self.open_query("labels")
        replaces = self.replaces_words(where, round, texts, annotator, replace=replace)
        self.store(where, round, texts, annotator, replaces, notes)

    def open_query(self, waits_for: str) -> tuple[int, set[str]]:
        """The round that takes answers in, and the ids that may be answered: of its query, or answered before.

        Where no query is open, answers are corrections that wait for the next round. See `unasked`.
        """
        round = len(self.run.rounds())
        query_ids, earlier = self.run.query_ids(round), self.run.labels(len(self.manifest)).current
        if query_ids is None and not earlier:
            raise InputError(self.run.path, f"a round that waits for {waits_for}", f"no open query in round {round}")
        pool = () if self.unasked is None else self.manifest.indices("pool").tolist()
        return round, {*(query_ids or ()), *(self.manifest.ids[i] for i in (*earlier, *pool))}

    def way_out(self, index: int | None) -> str:
        """How an answer about a sample that nobody was asked about is taken; empty where it is none of the pool."""
        is_of_pool = index is not None and self.manifest.splits[index] == "pool" and self.unasked is None
        return " (--unasked takes an answer about another image of the pool)" if is_of_pool else ""

    def replaces_words(
        self, where: object, round: int, answers: Mapping[str, str], annotator: str, *, replace: bool
    ) -> dict[str, str]:
        """See `replaces`, of answers (id -> text)."""
        samples = [self.manifest.position[sample] for sample in answers]
        differs = self._differs(round, answers, annotator)
        return self.replaces(where, round, samples, differs, annotator, replace=replace)

    def _differs(self, round: int, answers: Mapping[str, str], annotator: str) -> Callable[[Annotation], bool]:
        """Whether an earlier answer is another than that of these (id -> text)."""
        position = self.manifest.position
        said = [Annotation(position[i], *self._meaning(i, text), annotator, round) for i, text in answers.items()]
        meanings = {a.index: (a.kind, a.target) for a in self.with_exclusions(said, round)}
        asked = self._asked(round)

        def differs(a: Annotation) -> bool:
            if a.kind == "not" and a.round < round and a.index in asked:  # asked again: what was said no to stays no
                kind, target = meanings[a.index]
                return kind == "class" and target in cast(tuple[int, ...], a.target)
            return (a.kind, a.target) != meanings[a.index]

        return differs

    def _asked(self, round: int) -> set[int]:
        """The samples of the query of a round."""
        return {self.manifest.position[i] for i in self.run.query_ids(round) or ()}

    def replaces(
        self,
        where: object,
        round: int,
        samples: Iterable[int],
        differs: Callable[[Annotation], bool],
        annotator: str,
        *,
        replace: bool,
    ) -> dict[str, str]:
        """Id -> who gave the earlier answer, of the samples whose new answer differs from it.

        InputError where an answer of another annotator would change, unless `replace`.
        """
        earlier = self._earlier(round, annotator)
        changed = [earlier[i] for i in samples if i in earlier and differs(earlier[i])]
        others = [a for a in changed if a.annotator != annotator]
        if others and not replace:
            expected = f"the answers that others gave (--replace would put those of {annotator} in their place)"
            whose = ", ".join(f"{n} of {who}" for who, n in Counter(a.annotator for a in others).items())
            first = self.manifest.ids[others[0].index]
            raise InputError(where, expected, f"others than {whose}, the first about {first!r}; nothing was taken")
        return {self.manifest.ids[a.index]: a.annotator for a in changed}

    def unsaid(
        self, round: int, samples: Iterable[int], differs: Callable[[Annotation], bool], annotator: str
    ) -> list[int]:
        """The samples about which a person did not say the same before: a list that is handed in again is no answer.

        What was asked again in this round is one, whatever was said of it in an earlier round.
        """
        asked, earlier = self._asked(round), self._earlier(round, annotator)
        own = {i for i, a in earlier.items() if a.annotator == annotator and (i not in asked or a.round == round)}
        return [i for i in samples if i not in own or differs(earlier[i])]

    def _earlier(self, round: int, annotator: str) -> dict[int, Annotation]:
        """The answers that new ones stand in the place of, by sample: of several readers those of this one.

        What was answered in an earlier round counts where this round does not ask again, and where it excludes classes.
        """
        if self.readings(round) is not None:
            return self.standing(annotator)
        asked, current = self._asked(round), self.run.labels(len(self.manifest)).current
        earlier = {i: a for i, a in current.items() if i not in asked or a.kind == "not"}
        return earlier | self.latest(round)

    def standing(self, annotator: str) -> dict[int, Annotation]:
        """The answers of a person that stand by now, by sample."""
        round = len(self.run.rounds())
        if (readings := self.readings(round)) is not None:
            own = [said[annotator] for said in readings.said.values() if annotator in said]
            return {a.index: a for a in self.with_exclusions(own, round)}
        answers = {**self.run.labels(len(self.manifest)).current, **self.latest(round)}
        return {i: a for i, a in answers.items() if a.annotator == annotator}

    def store(
        self,
        where: object,
        round: int,
        answers: Mapping[str, str],
        annotator: str,
        replaces: Mapping[str, str] | None = None,
        notes: Notes | None = None,
    ) -> int:
        """Write answers (id -> text) as a CSV of the round, and note them in the ledger; how many are still missing.

        Of no answers no file is written. Once all have read, the adjudicator gets a list.

        where     they come from: a file, or what else a person calls it
        replaces  see there: it is noted beside the answers, as are the times and ledger entries of `notes`
        """
        if answers:
            self._write(where, round, answers, annotator, replaces or {}, notes or {})
        if (readings := self.readings(round)) is not None:
            if set(readings.owed) == {readings.reading.adjudicator}:
                self.give_out_to_readers(readings)
            return sum(map(len, readings.owed.values()))
        answered = self.latest(round)
        return sum(self.manifest.position[i] not in answered for i in set(self.run.query_ids(round) or ()))

    def _write(
        self,
        where: object,
        round: int,
        answers: Mapping[str, str],
        annotator: str,
        replaces: Mapping[str, str],
        notes: Notes,
    ) -> None:
        file = self.run.round_path(round) / "answers" / f"{len(answer_files(self.run, round)):03d}.csv"
        now = datetime.now(UTC).isoformat(timespec="seconds")
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("id", "label", "annotator", "time", "replaces", "entry", "source"))
        source = source_of(self.run, where)
        for sample, label in answers.items():
            time, entry = notes.get(sample, (now, ""))
            writer.writerow((sample, label, annotator, time, replaces.get(sample, ""), entry, source))
        write_atomic(file, out.getvalue())
        drawn = [*file.with_suffix("").glob("[!.]*")]
        seal(file, files={f"{file.stem}/{picture.name}": sha256_of(picture) for picture in drawn})
        note(self.run, [file], self.wording.kind)

    def answers(self, round: int) -> Iterator[Annotation]:
        """The answers of a round in the order in which they came in; of a withdrawal the target is `WITHDRAWN`."""
        for file in answer_files(self.run, round):
            for row in _rows_of(file):
                with whole(file):
                    kind, target = self._meaning(str(file), row["label"])
                    index = self.manifest.position[row["id"]]
                    yield Annotation(index, kind, target, row["annotator"], round, row["time"])

    def _meaning(self, where: str, text: str) -> tuple[AnnotationKind, Target]:
        if text in (SKIP, WITHDRAWN):
            return "skip", None if text == SKIP else WITHDRAWN
        if self.wording.refuses and text.startswith(NOT):
            return "not", (read_class(where, text.removeprefix(NOT), self.classes),)
        return self.wording.kind, self.wording.read(where, text, self.classes)


def write_list(file: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write rows of a query as a list to fill in."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(file, out.getvalue())


def classes_of(run: RunDir) -> tuple[str, ...]:
    """The classes of a run, as it began."""
    return tuple(cast(list[str], run.facts()["classes"]))


def corrections(rows: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """Whose answers the rows of files of answers changed, and how many of them."""
    return dict(Counter(row["replaces"] for row in rows if row.get("replaces")))


def rows_behind(run: RunDir, count: int) -> list[dict[str, str]]:
    """The rows of the files of answers of the open round behind the first `count` files."""
    return [row for file in answer_files(run, len(run.rounds()))[count:] for row in _rows_of(file)]


def answer_files(run: RunDir, round: int) -> list[Path]:
    """The files of answers of a round, in the order in which they came in; InputError where one is gone or changed."""
    folder = run.round_path(round) / "answers"
    numbers = {int(f.stem) for f in (*folder.glob("*.csv"), *folder.glob("*.json")) if NUMBERED.fullmatch(f.stem)}
    files = [folder / f"{number:03d}.csv" for number in range(max(numbers, default=-1) + 1)]
    for file in files:
        sealed(file)
        facts = read_seal(file) if file.with_suffix(".json").is_file() else {}
        if not file.is_file() or facts is None:
            raise InputError(file, TAKEN, "one that was changed" if file.is_file() else "nothing there")
        for name, digest in facts.get("files", {}).items():
            picture = folder / name
            if not picture.is_file() or sha256_of(picture) != digest:
                raise InputError(picture, TAKEN, "one that was changed" if picture.is_file() else "nothing there")
    return files


def next_answers(run: RunDir, round: int) -> str:
    """The folder of a round for the pictures of the answers that come in next, beside their CSV."""
    return f"{ANSWERS}/{len(answer_files(run, round)):03d}"


def _rows_of(file: Path) -> list[dict[str, str]]:
    with whole(file), file.open(newline="", encoding="utf-8") as rows:
        return list(csv.DictReader(rows))


def csv_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, column -> value without spaces around) of a person's CSV; see `read_table` for errors."""
    header, lines = read_table(file, "answers")
    if any(column not in header for column in columns):
        several = f"columns {', '.join(columns[:-1])} and {columns[-1]}"
        expected = several if len(columns) > 1 else f"a column {columns[0]}"
        raise InputError(f"{file}, line 1", expected, ", ".join(header))
    for line, row in lines:
        yield line, {column: row[column] for column in columns}
