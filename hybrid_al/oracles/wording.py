"""The words in which a person answers with classes or labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..core.types import AnnotationKind, Target
from ..errors import InputError, UnknownName
from .base import NONE, SEPARATOR, SKIP
from .one_bit import NO, NOT, ONE_BIT, YES


@dataclass(frozen=True)
class Wording:
    """How to read the text of an answer, in the column `label`.

    read  (place of the text for errors, text, classes) -> target of the annotation; InputError for an unknown name
    how   what to write into the column, for the person who answers
    words that are no class; `mark`: what stands between several classes
    refuses  whether "not" before a class excludes it, and yes and no are about the class that is asked about
    """

    kind: AnnotationKind
    read: Callable[[str, str, tuple[str, ...]], Target]
    how: str
    words: tuple[str, ...] = (SKIP,)
    mark: str = ""
    refuses: bool = False


def read_class(where: str, text: str, classes: tuple[str, ...]) -> int:
    """The class that a text names; UnknownName for another word."""
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


def _bit(where: str, text: str, classes: tuple[str, ...]) -> int:
    """As `read_class`, where yes and no are words too (`one_bit.in_full` reads them before)."""
    if text not in classes:
        raise UnknownName(where, text, (YES, NO, *classes, SKIP))
    return classes.index(text)


WORDINGS: Mapping[str, Wording] = {
    "class": Wording("class", read_class, f"a class, or {SKIP}"),
    "classes": Wording(
        "classes",
        _labels,
        f"the labels that are there, {SEPARATOR} between them, {NONE} or {SKIP}",
        words=(NONE, SKIP),
        mark=SEPARATOR,
    ),
    ONE_BIT: Wording(
        "class",
        _bit,
        f"{YES} or {NO} to the class in the column 'asks', a class where there is none, or {SKIP}",
        words=(SKIP, YES, NO),
        refuses=True,
    ),
}
"""Wordings by the kind of the annotation, and of answers of one bit."""


def refuse_reserved(classes: Sequence[str], wording: Wording) -> None:
    """InputError for a class that a person could not name, as an answer with its name says something else."""
    for name in classes:
        bad = (wording.mark and wording.mark in name) or (wording.refuses and name.startswith(NOT))
        if name in wording.words or name != name.strip() or bad:
            without = f"without {wording.mark} in them, and " if wording.mark else ""
            expected = (
                f"names {without}other than {' and '.join(wording.words)}, which say no class in answers of people"
            )
            raise InputError("data.classes", f"{expected}: rename the class in the data", repr(name))
