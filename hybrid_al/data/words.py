"""What the texts and numbers of labels mean: a class, yes or no, several labels, or that nobody knows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from ..errors import InputError

Mark = str | int | float
"""A text or number that means "not labeled" (`data.unknown`)."""
Cell = tuple[str, str]
"""Where a text stands, for errors, and the text, without spaces around."""

_MARKS = "na n/a #n/a nan null nil none ? - -- . missing undefined uncertain unknown unk unlabeled unlabelled"
MISSING = frozenset(_MARKS.split(" "))
"""Texts, in lower case, that look like a missing label: nobody but the recipe can say whether they are a class."""
NOTHING = frozenset({"no finding", "no findings", "none", "nothing", "no label", "no labels"})
"""Texts, in lower case, that look like "none of the labels"."""
WHOLE = re.compile(r"[+-]?\d+(\.0*)?", re.ASCII)


def whole(text: str) -> int | None:
    """The whole number that a text is (3, 3.0, -1), else None."""
    return int(text.partition(".")[0]) if WHOLE.fullmatch(text) else None


def normal(text: str) -> str:
    """A text in one Unicode form, without spaces around: names are compared so."""
    return unicodedata.normalize("NFC", text.strip())


def plain(name: str) -> str:
    """A name in lower case, without spaces, underscores, hyphens and dots."""
    return re.sub(r"[\s_.-]+", "", name).lower()


def unknown_texts(unknown: Sequence[Mark], classes: Iterable[str] = ()) -> frozenset[str]:
    """The marks of `data.unknown` as `is_unknown` compares them; InputError where one is a class too."""
    for mark in unknown:
        if normal(str(mark)) in classes:
            raise InputError("data.unknown", "texts that are not in data.classes", repr(mark))
    return frozenset(_mark(str(mark)) for mark in unknown)


def is_unknown(text: str, unknown: frozenset[str]) -> bool:
    """Whether a text says that there is no label: it is empty or one of the marks; of numbers the value counts."""
    return not text or _mark(text) in unknown


def _mark(text: str) -> str:
    number = whole(text.strip())
    return normal(text) if number is None else str(number)


def looks_missing(text: str) -> bool:
    """Whether a text looks like a missing label, so that a recipe has to say what it is."""
    return text.lower() in MISSING or (whole(text) or 0) < 0


def missing_marks(texts: Iterable[str]) -> list[str]:
    """The texts that `class_numbers` refuses without classes, as they look like a missing label."""
    words = {text for text in texts if text}
    numeric = all(whole(text) is not None for text in words)
    return sorted(text for text in words if looks_missing(text) and not (numeric and whole(text) == -1))


def refuse_missing(where: str, text: str) -> None:
    """InputError where a text looks like a missing label."""
    if looks_missing(text):
        way = f"data.unknown: [{text!r}] if it means not labeled, or list it in data.classes if it is a class"
        raise InputError(where, "a class", f"{text!r}, which looks like a missing label: say {way}")


def class_names(classes: int | Sequence[str]) -> tuple[str, ...]:
    """The names of `data.classes`, a list or a number; InputError for an empty or repeated one."""
    names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(map(normal, classes))
    for name in names:
        if not name or names.count(name) > 1:
            raise InputError("data.classes", "a name for each class, each once", repr(name))
    return names


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of classes, each once, in the order of their numbers: whole numbers by value, else as texts."""
    words = set(names)
    numeric = all(whole(word) is not None for word in words)
    return tuple(sorted(words, key=lambda word: (whole(word) or 0 if numeric else 0, word)))


def class_numbers(
    cells: Sequence[Cell], classes: int | Sequence[str] | None, unknown: Sequence[Mark] = ()
) -> tuple[tuple[str, ...], list[int]]:
    """Names of the classes, and the class number of every cell; -1 where it is empty, or a mark of `unknown`.

    Texts are names where one of them is among the names, else numbers from 0: never a mix of both. Where all texts are
    whole numbers, 1.0 is 1, and -1 is unknown. InputError for a text that looks like a missing label and is no class.
    """
    given = () if classes is None else class_names(classes)
    marks = unknown_texts(unknown, given)
    texts = {text for _, text in cells if not is_unknown(text, marks)}
    numeric = all(whole(text) is not None for text in texts)
    plain = {t: str(whole(t)) if numeric and not (t in given or t.isdecimal()) else normal(t) for t in texts}
    words = {word for text, word in plain.items() if not (numeric and word == "-1" and text not in given)}
    if classes is None:
        for where, text in cells:
            if plain.get(text) in words:
                refuse_missing(where, text)
        given = in_order(words)
    number = {name: i for i, name in enumerate(given)}
    if not words & number.keys():
        number = {str(i): i for i in range(len(given))}
    for where, text in cells:
        if plain.get(text) in words and plain[text] not in number:
            hint = "; data.unknown lists texts that mean not labeled" if looks_missing(text) else ""
            raise InputError(where, f"a label among {', '.join(number)}{hint}", repr(text))
    return given, [number.get(plain.get(text, ""), -1) for _, text in cells]


def yes_or_no(text: str, unknown: frozenset[str]) -> int | None:
    """1, 0 or -1 (unknown: -1, uncertain, or no text at all); None where a text is nothing of that."""
    if is_unknown(text, unknown):
        return -1
    number = whole(text)
    return number if number in (-1, 0, 1) else None


def label_rows(
    cells: Sequence[Cell], separator: str, none: str, classes: int | Sequence[str] | None, unknown: Sequence[Mark] = ()
) -> tuple[tuple[str, ...], list[tuple[int, ...]]]:
    """Names of the labels, and of every cell, labels with `separator` between them, which of them it has (L,).

    The text `none` says that a sample has none of them. An empty cell, or a mark of `unknown`, gives -1 for each.
    """
    given = () if classes is None else class_names(classes)
    if none and normal(none) in given:
        raise InputError("data.none", "a text that is not in data.classes", repr(none))
    marks = unknown_texts(unknown, given)
    lists = [None if is_unknown(text, marks) else _parts(where, text, separator, none) for where, text in cells]
    if classes is None:
        for (where, _), names in zip(cells, lists, strict=True):
            for name in names or ():
                _refuse_nothing(where, name)
        given = in_order(name for names in lists for name in names or ())
    for (where, _), names in zip(cells, lists, strict=True):
        for name in names or ():
            if name not in given:
                raise InputError(where, f"labels among {', '.join(given)}{f', or {none}' if none else ''}", repr(name))
    return given, [tuple(-1 if names is None else int(name in names) for name in given) for names in lists]


def _parts(where: str, text: str, separator: str, none: str) -> list[str]:
    if none and normal(text) == normal(none):
        return []
    parts = [normal(part) for part in text.split(separator)]
    for k, part in enumerate(parts):
        if not part or part in parts[:k] or part == normal(none):
            came = repr(text) if part else f"{text!r}, with nothing beside a mark"
            alone = f", {none} alone" if none else ""
            raise InputError(where, f"labels with {separator} between them, each once{alone}", came)
    return parts


def _refuse_nothing(where: str, name: str) -> None:
    if name.lower() in NOTHING:
        way = f"data.none: {name!r} if it means that none of the labels is there, or list it in data.classes"
        raise InputError(where, "a label", f"{name!r}, which looks like none of the labels: say {way}")
    refuse_missing(where, name)
