"""A person who answers about classes and labels, through CSV files."""

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
from .base import BETWEEN, NONE, SKIP


@dataclass(frozen=True)
class Wording:
    """What a person's answer about a sample means, as a text in the column `label`.

    read  (where it stands, the text, the classes) -> the annotation's target; an unknown name is an InputError
    how   what the column wants, for the one who fills it in
    """

    kind: AnnotationKind
    read: Callable[[str, str, tuple[str, ...]], Target]
    how: str


def _class(where: str, said: str, classes: tuple[str, ...]) -> int:
    if said not in classes:
        raise UnknownName(where, said, (*classes, SKIP))
    return classes.index(said)


def _labels(where: str, said: str, classes: tuple[str, ...]) -> tuple[int, ...]:
    """The labels that are there, in the order of the classes; those that are not named are not there."""
    if said == NONE:
        return ()
    names = [name.strip() for name in said.split(BETWEEN)]
    for k, name in enumerate(names):
        if name not in classes:
            raise UnknownName(where, name, (*classes, NONE, SKIP) if len(names) == 1 else classes)
        if name in names[:k]:
            raise InputError(where, "each label once", f"{name!r} twice")
    return tuple(sorted(map(classes.index, names)))


WORDINGS: Mapping[str, Wording] = {
    "class": Wording("class", _class, f"a class, or {SKIP}"),
    "classes": Wording("classes", _labels, f"the labels that are there, {BETWEEN} between them, {NONE} or {SKIP}"),
}
"""How a person answers in words, by the kind of the annotation."""


@dataclass(frozen=True)
class WorklistOracle:
    """A person, through files: `query.csv` goes out, answers come in by `take`, and wait in the round's folder."""

    run: RunDir
    manifest: Manifest
    classes: tuple[str, ...]
    wording: Wording = WORDINGS["class"]

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; answers about samples of earlier rounds come along as corrections."""
        given, missing = self.given(query, round)
        if missing:
            raise AwaitingLabels(
                f"round {round} waits for {len(missing)} of {len(query)} labels: fill in the column 'label' of "
                f"{self.run.round_path(round) / 'query.csv'} ({self.wording.how}) "
                f"and give it to: hybrid-al labels {self.run.path} FILE"
            )
        return given

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`: nothing."""
        return {}

    def given(self, query: IntArray, round: int) -> tuple[tuple[Annotation, ...], list[int]]:
        """The answers that came in during a round, the last about each sample; and who of the query has none."""
        last = {a.index: a for a in self.answers(round)}
        return tuple(last.values()), [i for i in query.tolist() if i not in last]

    def take(self, file: Path, annotator: str) -> tuple[int, int]:
        """Take a CSV of `id,label` in, whole or not at all; (answers taken, answers still missing).

        A label is what `wording` reads, or "skip"; an empty one is no answer yet. Errors, each with its line: an id
        that was neither asked for nor labeled before, an unknown class, an id twice with different labels, no open
        query.
        """
        round, known = self.open_query("labels")
        answers: dict[str, str] = {}
        for line, row in csv_rows(file, ("id", "label")):
            where, sample, label = f"{file} line {line}", row["id"], row["label"]
            if not label:
                continue
            if sample not in known:
                raise InputError(where, "an id of the open query or of an earlier one", repr(sample))
            if self._means(where, answers.setdefault(sample, label)) != self._means(where, label):
                raise InputError(where, f"one label for {sample!r}", f"{answers[sample]!r} and {label!r}")
        if not answers:
            raise InputError(file, "at least one label", "none filled in")
        return len(answers), self.store(round, answers, annotator)

    def open_query(self, waits_for: str) -> tuple[int, set[str]]:
        """The round that waits for answers, and the ids that may be answered: those asked or labeled before."""
        round = len(self.run.rounds())
        asked = self.run.query_ids(round)
        if asked is None:
            raise InputError(self.run.path, f"a round that waits for {waits_for}", f"no open query in round {round}")
        return round, {*asked, *(self.manifest.ids[i] for i in self.run.labels(len(self.manifest)).current)}

    def store(self, round: int, answers: Mapping[str, str], annotator: str) -> int:
        """Write what was answered, id -> text, as a CSV of the round; how many answers are still missing."""
        folder = self.run.round_path(round) / "answers"
        number = len(list(folder.glob("*.csv")))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("id", "label", "annotator", "time"))
        writer.writerows((sample, label, annotator, now) for sample, label in answers.items())
        write_atomic(folder / f"{number:03d}.csv", out.getvalue())
        given = {a.index for a in self.answers(round)}
        return sum(self.manifest.position[i] not in given for i in set(self.run.query_ids(round) or ()))

    def answers(self, round: int) -> Iterator[Annotation]:
        """What came in during a round, in the order in which it did; a later answer about a sample counts."""
        for file in sorted((self.run.round_path(round) / "answers").glob("*.csv")):
            with file.open(newline="", encoding="utf-8") as rows:
                for row in csv.DictReader(rows):
                    kind, target = self._means(str(file), row["label"])
                    index = self.manifest.position[row["id"]]
                    yield Annotation(index, kind, target, row["annotator"], round, row["time"])

    def _means(self, where: str, said: str) -> tuple[AnnotationKind, Target]:
        return ("skip", None) if said == SKIP else (self.wording.kind, self.wording.read(where, said, self.classes))


def classes_of(run: RunDir) -> tuple[str, ...]:
    """The classes that a run began with."""
    return tuple(cast(list[str], run.facts()["classes"]))


def csv_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, value of each column) of a CSV that a person made, without spaces around; errors say what it lacks."""
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
