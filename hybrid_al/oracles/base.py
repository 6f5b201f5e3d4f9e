"""What an oracle is, and the words that stand for no class."""

from __future__ import annotations

from typing import Protocol

from ..core.types import Annotation, IntArray

SKIP = "skip"


NONE = "none"


BETWEEN = ";"


class Oracle(Protocol):
    """Answers queries."""

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """An annotation of every sample of the query; `AwaitingLabels` where a person has not answered yet."""
        ...
