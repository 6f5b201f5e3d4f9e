"""The hybrid link: what training learned about the stability of each sample's pseudo-label, as a query score.

Fed at every training step by `ConsistencyRecorder`, frozen into a `Consistency` when the fit is over, read by the
selection of the next round. Costs no pass over the pool of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import scipy.special

from .errors import InputError, UnknownName
from .types import FloatArray, IntArray

PARTS = ("disagreement", "flips", "divergence")
ALL_PARTS = (*PARTS, "doubt", "below_threshold")
THRESHOLD = 0.95  # of FixMatch (Sohn et al., NeurIPS 2020), whatever the objective's own


@dataclass(frozen=True)
class Consistency:
    """What one fit saw of every manifest row, each (N,).

    seen        visits as an unlabeled sample
    agreement   running share of visits at which weak and strong view were given the same class, in [0, 1]
    confidence  running mean of the largest weak-view probability, in [0, 1]
    flips       running share of visits at which the pseudo-label differed from the visit before, in [0, 1]
    divergence  running mean of the Jensen-Shannon divergence of the two views in bits, in [0, 1]
    pseudo_label  class of the weak view at the last visit, -1 where there was none
    above       running share of visits at which the largest weak-view probability was `THRESHOLD` or more, in [0, 1]

    Running means forget with `ConsistencyRecorder.decay` per visit, so that the last visits, made by the
    better model, count most.
    """

    seen: IntArray
    agreement: FloatArray
    confidence: FloatArray
    flips: FloatArray
    divergence: FloatArray
    pseudo_label: IntArray
    above: FloatArray

    def uncertainty(self, parts: tuple[str, ...] = PARTS) -> FloatArray:
        """Mean of the named parts (see `ALL_PARTS`), each in [0, 1]: 0 = steady, 1 = inconsistent (N,).

        A row seen fewer than two times, whose flips are unknown, gets the median of the others: "unseen = most
        uncertain" would be random sampling on a large pool.
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
        return np.where(seen, total, neutral).astype(np.float32)

    def arrays(self) -> dict[str, IntArray | FloatArray]:
        """Its arrays by name, as `load` expects them in an .npz file."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def load(cls, path: Path) -> Consistency:
        """Read an .npz file of `arrays`."""
        with np.load(path, allow_pickle=False) as archive:
            missing = {f.name for f in fields(cls)} - set(archive.files)
            if missing:
                raise InputError(path, "the arrays of a consistency record", f"no {sorted(missing)[0]}")
            return cls(**{f.name: archive[f.name] for f in fields(cls)})


class ConsistencyRecorder:
    """Accumulates evidence over the steps of one fit; `record()` freezes it.

    decay in [0, 1): weight that the past keeps at each further visit; means are bias-corrected, so a row seen
    once carries that visit alone.
    """

    def __init__(self, n: int, *, decay: float = 0.9) -> None:
        self.decay = decay
        self._seen = np.zeros(n, dtype=np.int64)
        self._last = np.full(n, -1, dtype=np.int64)
        self._sums = np.zeros((5, n), dtype=np.float64)

    def update(self, indices: IntArray, weak: FloatArray, strong: FloatArray) -> None:
        """One step's evidence: distinct rows (B,), class probabilities of their weak and strong views (B, C)."""
        label = weak.argmax(axis=1)
        last = self._last[indices]
        flipped = (last >= 0) & (last != label)
        sure = np.take_along_axis(weak, label[:, None], axis=1)[:, 0]  # the maximum, for a tenth of its time
        agreed = label == strong.argmax(axis=1)
        new = np.stack([agreed, sure, flipped, jensen_shannon(weak, strong), sure >= THRESHOLD])
        self._sums[:, indices] = self.decay * self._sums[:, indices] + (1 - self.decay) * new
        self._last[indices] = label
        self._seen[indices] += 1

    @property
    def seen(self) -> IntArray:
        """Visits of each row so far (N,)."""
        return self._seen

    def record(self) -> Consistency:
        """The consistency so far; rows never seen hold zeros and `seen` 0."""
        weight = 1 - self.decay ** np.maximum(self._seen, 1)
        # a first visit cannot flip: flips are averaged over one visit fewer
        flip_weight = 1 - self.decay ** np.maximum(self._seen - 1, 1)
        agreement, confidence, flips, divergence, above = self._sums
        return Consistency(
            seen=self._seen.copy(),
            agreement=(agreement / weight).astype(np.float32),
            confidence=(confidence / weight).astype(np.float32),
            flips=(np.minimum(flips / flip_weight, 1)).astype(np.float32),
            divergence=(divergence / weight).astype(np.float32),
            pseudo_label=self._last.copy(),
            above=(above / weight).astype(np.float32),
        )


def jensen_shannon(p: FloatArray, q: FloatArray) -> FloatArray:
    """Jensen-Shannon divergence of the rows of p and q (B, C) in bits (B,), in [0, 1]; safe at zero."""
    mean = (p + q) / 2
    bits: FloatArray = _bits(mean) - (_bits(p) + _bits(q)) / 2
    return bits.clip(0, 1)


def _bits(p: FloatArray) -> FloatArray:
    entropy: FloatArray = scipy.special.entr(p).sum(axis=1) / np.log(2)
    return entropy
