"""An open query of a `Loop`: the samples that are asked about, and how answers come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..core.types import IntArray
from ..errors import InputError, UnknownName
from ..oracles.base import SKIP
from ..oracles.worklist import WorklistOracle

Label = int | str | None
"""The number or the name of a class; None where nobody can say."""


@dataclass(frozen=True)
class OpenQuery:
    """Samples that wait for labels.

    round    of the loop, from 0
    indices  (k,) positions of the samples, in order of preference
    ids      (k,) their ids
    """

    round: int
    indices: IntArray
    ids: tuple[str, ...]
    oracle: WorklistOracle = field(repr=False)

    def tell(
        self,
        labels: Sequence[Label] | npt.NDArray[np.generic] | Mapping[int, Label],
        by: str = "me",
        *,
        replace: bool = False,
    ) -> int:
        """Take labels in, checked whole and then written to disk; how many of this query are still missing.

        labels  one for each of `indices`, or position -> label of some of them; also of samples that were labeled
                before, as corrections. A label is the number of a class, its name, or None where nobody can say
        by      who answered
        replace  put these labels in the place of others that another person gave

        The loop goes on when none is missing. Errors: a number of labels that is not k, an unknown class, a position
        that nobody asked about, another label than another person gave.
        """
        label_at = labels if isinstance(labels, Mapping) else self._in_order(labels)
        if not label_at:
            raise InputError("tell", "at least one label", "none")
        ids, classes = self.oracle.manifest.ids, self.oracle.classes
        _, open_ids = self.oracle.open_query("labels")
        answers: dict[str, str] = {}
        for index, label in label_at.items():
            if not 0 <= index < len(ids) or ids[index] not in open_ids:
                raise InputError("tell", "positions of this query or of labeled samples", str(index))
            answers[ids[index]] = answer(f"label of sample {index}", label, classes)
        self.oracle.admit("tell", by, label_at)
        return self.oracle.take_words("tell", self.round, answers, by, replace=replace)

    def _in_order(self, labels: Sequence[Label] | npt.NDArray[np.generic]) -> dict[int, Label]:
        if isinstance(labels, str) or not isinstance(labels, Sequence | np.ndarray):
            raise InputError("tell", "a list of labels, or a mapping of positions to labels", repr(labels))
        plain: list[Label] = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
        if len(plain) != len(self.indices):
            raise InputError("tell", f"{len(self.indices)} labels, one for each of indices", str(len(plain)))
        return dict(zip(self.indices.tolist(), plain, strict=True))


def answer(where: str, label: Label, classes: tuple[str, ...]) -> str:
    """A label as files of answers have it; an InputError says `where`."""
    if label is None:
        return SKIP
    if isinstance(label, str):
        if label not in classes:
            raise UnknownName(where, label, classes)
        return label
    if isinstance(label, bool) or not isinstance(label, int | np.integer) or not 0 <= label < len(classes):
        raise InputError(where, f"a class from 0 to {len(classes) - 1}, its name, or None", repr(label))
    return classes[int(label)]
