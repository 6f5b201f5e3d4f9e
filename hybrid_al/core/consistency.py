"""The hybrid link: how stable each sample's pseudo-label was during training, as a query score.

`scores.recorder` adds to it at every training step, a `Consistency` holds it when the fit is over, and the selection
of the next round reads it. It costs no further pass over the pool.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import InputError, UnknownName
from .files import read_arrays
from .registry import Amount, Decay, Share, hyperparameters
from .seals import whole
from .types import FloatArray, IntArray

PARTS = ("disagreement", "flips", "divergence")
ALL_PARTS = (*PARTS, "doubt", "below_threshold")
THRESHOLD = 0.95  # that of FixMatch (Sohn et al., NeurIPS 2020), whatever threshold the objective has
Witness = Literal["objective", "student", "teacher", "both"]
Distance = Literal["jensen_shannon", "kullback_leibler"]


@dataclass(frozen=True)
@hyperparameters
class Recording:
    """Which steps and predictions of a training are recorded, and how the record is read.

    decay    weight that the past keeps at each further visit, in [0, 1]; 1 = a plain mean
    skip     share of the fit that is not recorded, in [0, 1): 2/3 records the last third
    witness  model whose predictions for the weak and the strong view are recorded. "objective": those of the training
             step. "student", "teacher": of that model for both views, after the step. "both": the teacher's for the
             weak view, the student's for the strong one. All but the first cost two passes a step, without gradient, in
             eval mode
    distance between the two predictions p (weak view) and q (strong view): Jensen-Shannon, or Kullback-Leibler
             KL(p || q), see `kullback_leibler`
    shrink   the median counts as this many visits in each row's uncertainty, so that rows of few visits differ less
    within   "class": the score is the mid-rank among the rows of the same pseudo-label, not the uncertainty itself
    carry    share of the last round's record that stays where both rounds visited a row, in [0, 1); 0 = replacement
    """

    decay: Share = 0.9
    skip: Decay = 0.0
    witness: Witness = "objective"
    shrink: Amount = 0.0
    within: Literal["all", "class"] = "all"
    carry: Decay = 0.0
    distance: Distance = "jensen_shannon"

    def visits(self, counts: IntArray) -> FloatArray:
        """Sum of the weights of so many visits (N,): 1 + decay + decay^2 + ..."""
        if self.decay == 1:
            return counts.astype(np.float64)
        total: FloatArray = (1 - self.decay**counts) / (1 - self.decay)
        return total


@dataclass(frozen=True)
class Consistency:
    """Stability of the predictions for every manifest row during one fit, each array (N,).

    seen        visits as an unlabeled sample
    agreement   running share of visits at which the weak and the strong view had the same class, in [0, 1]
    confidence  running mean of the largest weak-view probability, in [0, 1]
    flips       running share of visits at which the pseudo-label differed from the visit before, in [0, 1]
    divergence  running mean of the distance between the two views (`Recording.distance`), in [0, 1]
    pseudo_label  class of the weak view at the last visit; -1 without a visit, and for several labels a sample
    above       running share of visits at which the largest weak-view probability was `THRESHOLD` or more, in [0, 1]
    parts       rows of a sample, where regions of images are recorded: its row is sample * parts + part

    Running means forget by `recording.decay` at each visit, so the last visits, by the better model, count most.
    """

    seen: IntArray
    agreement: FloatArray
    confidence: FloatArray
    flips: FloatArray
    divergence: FloatArray
    pseudo_label: IntArray
    above: FloatArray
    recording: Recording = field(default_factory=Recording)
    parts: int = 1

    def uncertainty(self, parts: tuple[str, ...] = PARTS) -> FloatArray:
        """Mean of the parts by name (see `ALL_PARTS`), in [0, 1]: 0 = steady, 1 = inconsistent (N,).

        Shrunk and ranked by the settings of `recording`. A row of fewer than two visits, whose flips are unknown, gets
        the median of the others: "no visit = most uncertain" would be random sampling on a large pool.
        """
        values = {
            "disagreement": 1 - self.agreement,
            "flips": self.flips,
            "divergence": self.divergence,
            "doubt": 1 - self.confidence,
            "below_threshold": 1 - self.above,
        }
        for name in parts:
            if name not in values:
                raise UnknownName("consistency", name, ALL_PARTS)
        total = np.stack([values[p] for p in parts]).mean(axis=0)
        revisited = self.seen > 1
        neutral = np.median(total[revisited]) if revisited.any() else 0.5
        if self.recording.shrink > 0:
            visits = self.recording.visits(self.seen)
            total = (visits * total + self.recording.shrink * neutral) / (visits + self.recording.shrink)
        if self.recording.within == "class":
            total, neutral = _ranks_within(total, np.where(revisited, self.pseudo_label, -1)), 0.5
        return np.where(revisited, total, neutral).astype(np.float32)

    def carry_from(self, previous: Path | None) -> Consistency:
        """This record, blended with that in the folder of the last round where `recording.carry` is above 0."""
        if self.recording.carry == 0 or previous is None:
            return self
        before = Consistency.load(previous / "consistency.npz")
        return self.blend(before.of(len(self.seen) // self.parts, self.parts))

    def of(self, n: int, parts: int | None = None) -> Consistency:
        """The record of n samples (N <= n) of `parts` each, by default as many as it has.

        Samples behind those of the record, and parts with higher numbers, came later (`data.grow`) and were never
        visited. InputError where the record says of no number of parts, and is no record of as many samples.
        """
        rows, parts = len(self.seen), self.parts if parts is None else parts
        own = parts if self.parts == 1 else self.parts  # versions before 29 November 2026 did not say it
        if rows % own or (own != self.parts and rows != n * own):
            raise InputError("consistency", f"a record of {n * own} regions", f"one of {rows}")
        kept = np.arange(rows).reshape(-1, own)[:, :parts]
        place = (np.arange(len(kept))[:, None] * parts + np.arange(kept.shape[1])).ravel()
        size = max(n, len(kept)) * parts

        def column(name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            out = np.full(size, -1 if name == "pseudo_label" else 0, dtype=values.dtype)
            out[place] = values[kept.ravel()]
            return out

        columns: dict[str, Any] = {name: column(name, getattr(self, name)) for name in _columns()}
        return replace(self, parts=parts, **columns)

    def blend(self, before: Consistency) -> Consistency:
        """This record with a share of the last round's (`recording.carry`) for rows that both visited.

        A row that only one of them visited has the numbers of that one. Pseudo-label and visits are the newer ones.
        """
        visited, visited_before = self.seen > 0, before.seen > 0
        share = np.where(visited & visited_before, self.recording.carry, np.where(visited_before, 1.0, 0.0))
        means = {
            name: ((1 - share) * getattr(self, name) + share * getattr(before, name)).astype(np.float32)
            for name in ("agreement", "confidence", "flips", "divergence", "above")
        }
        counts = np.where(visited, self.seen, before.seen)
        return replace(
            self, seen=counts, pseudo_label=np.where(visited, self.pseudo_label, before.pseudo_label), **means
        )

    def arrays(self) -> dict[str, IntArray | FloatArray]:
        """Arrays by name, as `load` expects them in an .npz file; with `recording` where it is not the default."""
        arrays = {name: getattr(self, name) for name in _columns()}
        if self.parts > 1:
            arrays["parts"] = np.asarray([self.parts])
        settings = np.frombuffer(json.dumps(asdict(self.recording)).encode(), dtype=np.uint8).astype(np.int64)
        return arrays if self.recording == Recording() else {**arrays, "recording": settings}

    @classmethod
    def load(cls, path: Path) -> Consistency:
        """Read an .npz file of `arrays`."""
        arrays, names = read_arrays(path), set(_columns())
        if missing := names - set(arrays):
            raise InputError(path, "the arrays of a consistency record", f"no {sorted(missing)[0]}")
        settings = arrays["recording"].astype(np.uint8).tobytes() if "recording" in arrays else b"{}"
        with whole(path):
            columns, parts = {name: arrays[name] for name in names}, int(arrays.get("parts", [1])[0])
            return cls(**columns, recording=Recording(**json.loads(settings)), parts=parts)


def _columns() -> list[str]:
    """Names of the arrays of a record."""
    return [f.name for f in fields(Consistency) if f.name not in ("recording", "parts")]


def _ranks_within(values: FloatArray, groups: IntArray) -> FloatArray:
    """Mid-rank of each value among those of its group (N,), in (0, 1)."""
    from scipy.stats import rankdata  # takes half a second to import

    ranks = np.empty(len(values))
    for group in np.unique(groups):
        members = groups == group
        ranks[members] = (rankdata(values[members]) - 0.5) / members.sum()
    return ranks
