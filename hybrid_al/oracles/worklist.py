"""A person who answers with classes or labels, through CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from ..core.manifest import Manifest
from ..core.rundir import RunDir, write_atomic
from ..core.types import Annotation, AnnotationKind, IntArray, Target
from ..errors import AwaitingLabels, InputError, UnknownName
from .base import NONE, SEPARATOR, SKIP


@dataclass(frozen=True)
class Wording:
    """How to read the text of an answer, in the column `label`.

    read  (place of the text for errors, text, classes) -> target of the annotation; InputError for an unknown name
    how   what to write into the column, for the person who answers
    """

    kind: AnnotationKind
    read: Callable[[str, str, tuple[str, ...]], Target]
    how: str


def _class(where: str, text: str, classes: tuple[str, ...]) -> int:
    if text not in classes:
        raise UnknownName(where, text, (*classes, SKIP))
    return classes.index(text)


def _labels(where: str, text: str, classes: tuple[str, ...]) -> tuple[int, ...]:
    """The labels that a text names, in the order of the classes; all others are absent."""
    if text == NONE:
        return ()
    names = [name.strip() for name in text.split(SEPARATOR)]
    for k, name in enumerate(names):
        if name not in classes:
            raise UnknownName(where, name, (*classes, NONE, SKIP) if len(names) == 1 else classes)
        if name in names[:k]:
            raise InputError(where, "each label once", f"{name!r} twice")
    return tuple(sorted(map(classes.index, names)))


WORDINGS: Mapping[str, Wording] = {
    "class": Wording("class", _class, f"a class, or {SKIP}"),
    "classes": Wording("classes", _labels, f"the labels that are there, {SEPARATOR} between them, {NONE} or {SKIP}"),
}
"""Wordings by the kind of the annotation."""


@dataclass(frozen=True)
class WorklistOracle:
    """A person who answers through files: `query.csv` goes out, answers come in by `take`, into the round's folder."""

    run: RunDir
    manifest: Manifest
    classes: tuple[str, ...]
    wording: Wording = WORDINGS["class"]

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; answers about samples of earlier rounds are corrections."""
        answers, missing = self.latest_answers(query, round)
        if missing:
            raise AwaitingLabels(
                f"round {round} waits for {len(missing)} of {len(query)} labels: fill in the column 'label' of "
                f"{self.run.round_path(round) / 'query.csv'} ({self.wording.how}) "
                f"and give it to: hybrid-al labels {self.run.path} FILE"
            )
        return answers

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`: nothing."""
        return {}

    def latest_answers(self, query: IntArray, round: int) -> tuple[tuple[Annotation, ...], list[int]]:
        """The last answer of a round about each sample, and the samples of the query that have none."""
        latest = {a.index: a for a in self.answers(round)}
        return tuple(latest.values()), [i for i in query.tolist() if i not in latest]

    def take(self, file: Path, annotator: str) -> tuple[int, int]:
        """Take in a CSV of `id,label`, whole or not at all; (number of its answers, answers still missing).

        A label is what `wording` reads, or "skip"; an empty one is no answer yet. InputError: no open query; and, with
        its line, an id that was neither asked about nor labeled before, an unknown class, an id twice with different
        labels.
        """
        round, ids = self.open_query("labels")
        answers: dict[str, str] = {}
        for line, row in csv_rows(file, ("id", "label")):
            where, sample, label = f"{file} line {line}", row["id"], row["label"]
            if not label:
                continue
            if sample not in ids:
                raise InputError(where, "an id of the open query or of an earlier one", repr(sample))
            if self._meaning(where, answers.setdefault(sample, label)) != self._meaning(where, label):
                raise InputError(where, f"one label for {sample!r}", f"{answers[sample]!r} and {label!r}")
        if not answers:
            raise InputError(file, "at least one label", "none filled in")
        return len(answers), self.store(round, answers, annotator)

    def open_query(self, waits_for: str) -> tuple[int, set[str]]:
        """The round that waits for answers, and the ids that may be answered: of its query, or labeled before."""
        round = len(self.run.rounds())
        query_ids = self.run.query_ids(round)
        if query_ids is None:
            raise InputError(self.run.path, f"a round that waits for {waits_for}", f"no open query in round {round}")
        return round, {*query_ids, *(self.manifest.ids[i] for i in self.run.labels(len(self.manifest)).current)}

    def store(self, round: int, answers: Mapping[str, str], annotator: str) -> int:
        """Write answers (id -> text) as a CSV of the round; the number of answers still missing."""
        folder = self.run.round_path(round) / "answers"
        number = len(list(folder.glob("*.csv")))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("id", "label", "annotator", "time"))
        writer.writerows((sample, label, annotator, now) for sample, label in answers.items())
        write_atomic(folder / f"{number:03d}.csv", out.getvalue())
        answered = {a.index for a in self.answers(round)}
        return sum(self.manifest.position[i] not in answered for i in set(self.run.query_ids(round) or ()))

    def answers(self, round: int) -> Iterator[Annotation]:
        """The answers of a round in the order in which they came in; the last about a sample counts."""
        for file in sorted((self.run.round_path(round) / "answers").glob("*.csv")):
            with file.open(newline="", encoding="utf-8") as rows:
                for row in csv.DictReader(rows):
                    kind, target = self._meaning(str(file), row["label"])
                    index = self.manifest.position[row["id"]]
                    yield Annotation(index, kind, target, row["annotator"], round, row["time"])

    def _meaning(self, where: str, text: str) -> tuple[AnnotationKind, Target]:
        return ("skip", None) if text == SKIP else (self.wording.kind, self.wording.read(where, text, self.classes))


def classes_of(run: RunDir) -> tuple[str, ...]:
    """The classes of a run, as it began."""
    return tuple(cast(list[str], run.facts()["classes"]))


def csv_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, column -> value without spaces around) of a person's CSV; InputError for a missing column."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(file, "a CSV file in UTF-8", getattr(error, "strerror", None) or "another encoding") from error
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    if any(column not in (reader.fieldnames or ()) for column in columns):
        expected = f"columns {', '.join(columns[:-1])} and {columns[-1]}"
        raise InputError(file, expected, ", ".join(reader.fieldnames or ["nothing"]))
    for row in reader:
        yield reader.line_num, {column: (row[column] or "").strip() for column in columns}
