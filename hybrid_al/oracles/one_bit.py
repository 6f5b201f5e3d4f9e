"""Answers of one bit: a person says yes or no to the class that the model guesses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..core.manifest import Manifest
from ..core.rundir import RunDir
from ..core.types import Annotation, IntArray
from ..errors import InputError
from .base import Oracle

ONE_BIT = "one_bit"
YES, NO = "yes", "no"
NOT = "not "
"""What an answer begins with that excludes a class: "not benign"."""


def asked_classes(run: RunDir, round: int) -> dict[str, str]:
    """Id -> the class that a round asks about; empty where it asks which class it is."""
    return {row["id"]: row["asks"] for row in run.query_rows(round) or [] if row.get("asks")}


def in_full(where: str, text: str, asked: str | None) -> str:
    """An answer whose words say the class: yes and no are about the one that was asked about."""
    if text not in (YES, NO):
        return text
    if asked is None:
        raise InputError(where, "a class, as nobody was asked whether it is a certain one", repr(text))
    return asked if text == YES else f"{NOT}{asked}"


def merged(answers: Iterable[Annotation], before: Mapping[int, Annotation], classes: int) -> tuple[Annotation, ...]:
    """Answers with what was excluded `before` of their samples; where one class is left, that is the answer."""

    def together(a: Annotation) -> Annotation:
        if a.kind != "not" or not isinstance(a.target, tuple):
            return a
        earlier = before.get(a.index)
        known = earlier.target if earlier is not None and earlier.kind == "not" else ()
        excluded = {*a.target, *(known if isinstance(known, tuple) else ())}
        left = [c for c in range(classes) if c not in excluded]
        return (
            replace(a, kind="class", target=left[0]) if len(left) == 1 else replace(a, target=tuple(sorted(excluded)))
        )

    return tuple(map(together, answers))


@dataclass(frozen=True)
class OneBitOracle:
    """Yes or no to the class that a query asks about, where it does; else the class.

    Hu et al., One-bit Supervision for Image Classification (NeurIPS 2020), section 3: an answer about a guess is one
    bit, and naming one of C classes log2 C of them. The cost of an annotation counts in bits.

    tells  whether `inner` names the class whatever is asked, as a simulated one does: its answer is cut to one bit
    """

    inner: Oracle
    run: RunDir
    manifest: Manifest
    classes: tuple[str, ...]
    tells: bool

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; "not" where the class is another."""
        asked = {self.manifest.position[i]: self.classes.index(c) for i, c in asked_classes(self.run, round).items()}
        answers = self.inner.annotate(query, round)
        if self.tells:
            answers = tuple(
                replace(a, kind="not", target=(asked[a.index],))
                if a.kind == "class" and a.target != asked.get(a.index, a.target)
                else a
                for a in answers
            )
            answers = merged(answers, self.run.labels(len(self.manifest)).current, len(self.classes))
        return tuple(replace(a, cost=1.0 if a.index in asked else math.log2(len(self.classes))) for a in answers)

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`."""
        return self.inner.score(indices, predicted)
