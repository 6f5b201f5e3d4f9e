"""The hybrid link: what training learned about the stability of each sample's pseudo-label, as a query score.

Written at every training step by `scores.recorder`, frozen into a `Consistency` when the fit is over, read by the
selection of the next round. Costs no pass over the pool of its own.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import InputError, UnknownName
from .registry import Amount, Decay, Share, hyperparameters
from .types import FloatArray, IntArray

PARTS = ("disagreement", "flips", "divergence")
ALL_PARTS = (*PARTS, "doubt", "below_threshold")
THRESHOLD = 0.95  # of FixMatch (Sohn et al., NeurIPS 2020), whatever the objective's own
Witness = Literal["objective", "student", "teacher", "both"]
Distance = Literal["jensen_shannon", "kullback_leibler"]


@dataclass(frozen=True)
@hyperparameters
class Recording:
    """What of a training goes into the record, and how it is read; what each is worth: benchmarks/RESULTS.md, "record".

    decay    weight that the past keeps at each further visit, in [0, 1]; 1 = a plain mean
    skip     share of the fit that is not recorded, in [0, 1): 2/3 leaves its last third
    witness  whose answers to the weak and the strong view are recorded: those of the step itself ("objective"), of
             the student or the teacher for both after the step, or the teacher's for the weak and the student's for the
             strong view ("both"); all but the first cost two passes a step without gradient, in eval mode
    distance between the two answers: Jensen-Shannon, or Kullback-Leibler of the strong view's from the weak one's, with
             `witness: both` of the student's from the teacher's (see `kullback_leibler`)
    shrink   visits' worth of the median that each row's uncertainty is mixed with, so that rows seen rarely differ less
    within   "class": mid-rank among the rows of the same pseudo-label in the place of the uncertainty itself
    carry    share of the last round's record that stays where both have seen a row, in [0, 1); 0 = replacement
    """

    decay: Share = 0.9
    skip: Decay = 0.0
    witness: Witness = "objective"
    shrink: Amount = 0.0
    within: Literal["all", "class"] = "all"
    carry: Decay = 0.0
    distance: Distance = "jensen_shannon"

    def visits(self, seen: IntArray) -> FloatArray:
        """What the running means of rows seen so often rest on (N,): 1 + decay + decay^2 + ... for each visit."""
        if self.decay == 1:
            return seen.astype(np.float64)
        total: FloatArray = (1 - self.decay**seen) / (1 - self.decay)
        return total


@dataclass(frozen=True)
class Consistency:
    """What one fit saw of every manifest row, each (N,).

    seen        visits as an unlabeled sample
    agreement   running share of visits at which weak and strong view were given the same class, in [0, 1]
    confidence  running mean of the largest weak-view probability, in [0, 1]
    flips       running share of visits at which the pseudo-label differed from the visit before, in [0, 1]
    divergence  running mean of how far apart the two views are (`Recording.distance`), in [0, 1]
    pseudo_label  class of the weak view at the last visit, -1 where there was none, and of several labels a sample
    above       running share of visits at which the largest weak-view probability was `THRESHOLD` or more, in [0, 1]

    Running means forget with `recording.decay` per visit, so that the last visits, made by the better model, count
    most.
    """

    seen: IntArray
    agreement: FloatArray
    confidence: FloatArray
    flips: FloatArray
    divergence: FloatArray
    pseudo_label: IntArray
    above: FloatArray
    recording: Recording = field(default_factory=Recording)

    def uncertainty(self, parts: tuple[str, ...] = PARTS) -> FloatArray:
        """Mean of the named parts (see `ALL_PARTS`), each in [0, 1]: 0 = steady, 1 = inconsistent (N,).

        Shrunk and ranked as `recording` says. A row seen fewer than two times, whose flips are unknown, gets the median
        of the others: "unseen = most uncertain" would be random sampling on a large pool.
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
        seen = self.seen > 1
        neutral = np.median(total[seen]) if seen.any() else 0.5
        if self.recording.shrink > 0:
            visits = self.recording.visits(self.seen)
            total = (visits * total + self.recording.shrink * neutral) / (visits + self.recording.shrink)
        if self.recording.within == "class":
            total, neutral = _ranks_within(total, np.where(seen, self.pseudo_label, -1)), 0.5
        return np.where(seen, total, neutral).astype(np.float32)

    def following(self, previous: Path | None) -> Consistency:
        """This record, with a share of that in the folder of the last round where `recording.carry` wants it."""
        if self.recording.carry == 0 or previous is None:
            return self
        return self.carried(Consistency.load(previous / "consistency.npz"))

    def carried(self, before: Consistency) -> Consistency:
        """This record with a share of the last round's (`recording.carry`) where both saw a row.

        Where only one did it stands alone. What both say is mixed number by number; pseudo-label and visits are the
        newer ones.
        """
        now, old = self.seen > 0, before.seen > 0
        share = np.where(now & old, self.recording.carry, np.where(old, 1.0, 0.0))
        mixed = {
            name: ((1 - share) * getattr(self, name) + share * getattr(before, name)).astype(np.float32)
            for name in ("agreement", "confidence", "flips", "divergence", "above")
        }
        seen = np.where(now, self.seen, before.seen)
        return replace(self, seen=seen, pseudo_label=np.where(now, self.pseudo_label, before.pseudo_label), **mixed)

    def arrays(self) -> dict[str, IntArray | FloatArray]:
        """Its arrays by name, as `load` expects them in an .npz file; how it is to be read only where that was said."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "recording"}
        said = np.frombuffer(json.dumps(asdict(self.recording)).encode(), dtype=np.uint8).astype(np.int64)
        return named if self.recording == Recording() else {**named, "recording": said}

    @classmethod
    def load(cls, path: Path) -> Consistency:
        """Read an .npz file of `arrays`."""
        with np.load(path, allow_pickle=False) as archive:
            names = {f.name for f in fields(cls)} - {"recording"}
            missing = names - set(archive.files)
            if missing:
                raise InputError(path, "the arrays of a consistency record", f"no {sorted(missing)[0]}")
            said = archive["recording"].astype(np.uint8).tobytes() if "recording" in archive.files else b"{}"
            return cls(**{name: archive[name] for name in names}, recording=Recording(**json.loads(said)))


def _ranks_within(values: FloatArray, groups: IntArray) -> FloatArray:
    """Mid-rank of each value among those of its group (N,), in (0, 1)."""
    from scipy.stats import rankdata  # takes half a second to import

    ranks = np.empty(len(values))
    for group in np.unique(groups):
        members = groups == group
        ranks[members] = (rankdata(values[members]) - 0.5) / members.sum()
    return ranks
