"""How far readers agree, class by class, and what they say together: votes, Dawid-Skene, and STAPLE for masks.

Answers of R readers about N samples are numbers of classes (N, R), `MISSING` where a reader was not asked or skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..core.types import IGNORE, BoolArray, FloatArray, IntArray, LabelMap
from ..errors import InputError

MISSING = -1
STEPS, CLOSE = 200, 1e-7  # of EM: the most, and the change of a probability at which it ends
SMALL = 1e-10


def votes(answers_NR: IntArray, classes: int) -> FloatArray:
    """How many readers say each class of each sample (N, K)."""
    _check(answers_NR, classes)
    return np.stack([(answers_NR == c).sum(axis=1) for c in range(classes)], axis=1).astype(np.float64)


def soft(answers_NR: IntArray, classes: int) -> FloatArray:
    """Share of the readers that say each class (N, K); nan where nobody answered."""
    counts = votes(answers_NR, classes)
    total = counts.sum(axis=1, keepdims=True)
    shares: FloatArray = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    return shares


def majority(answers_NR: IntArray, classes: int) -> IntArray:
    """The class that most readers say (N,); `MISSING` where two are said as often, or nobody answered."""
    counts = votes(answers_NR, classes)
    most = counts.max(axis=1, keepdims=True)
    alone = ((counts == most).sum(axis=1) == 1) & (most[:, 0] > 0)
    return np.where(alone, counts.argmax(axis=1), MISSING).astype(np.int64)


def cohen(answers_NR: IntArray, classes: int) -> FloatArray:
    """Cohen's kappa of each class against all others (K,), and of all classes together behind it (K + 1,).

    The mean over all pairs of readers, on what both of them answered; a pair that leaves no room for agreement (one
    class alone) is no part of it. nan where no pair is left. Cohen, A coefficient of agreement for nominal scales
    (1960).
    """
    from sklearn.metrics import cohen_kappa_score

    _check(answers_NR, classes)
    rows: list[list[float]] = [[] for _ in range(classes + 1)]
    for a, b in combinations(answers_NR.T, 2):
        both = (a != MISSING) & (b != MISSING)
        for row, x, y in (
            (k, *(v[both] if k == classes else v[both] == k for v in (a, b))) for k in range(classes + 1)
        ):
            if len(x) and len(np.unique(np.concatenate([x, y]))) > 1:
                rows[row].append(float(cohen_kappa_score(x, y)))
    return np.asarray([np.mean(row) if row else np.nan for row in rows])


def fleiss(answers_NR: IntArray, classes: int) -> FloatArray:
    """Fleiss' kappa of each class against all others, and of all classes together behind it (K + 1,).

    On the samples that all readers answered; nan where they are one class alone, or fewer than two. Fleiss, Measuring
    nominal scale agreement among many raters (1971).
    """
    from statsmodels.stats.inter_rater import fleiss_kappa

    whole = answers_NR[(answers_NR != MISSING).all(axis=1)]
    counts = votes(whole, classes)
    tables = [np.stack([counts[:, c], counts.sum(axis=1) - counts[:, c]], axis=1) for c in range(classes)]
    return np.asarray(
        [
            float(fleiss_kappa(table)) if len(table) > 1 and (table.sum(axis=0) > 0).sum() > 1 else np.nan
            for table in [*tables, counts]
        ]
    )


def dice(maps: list[LabelMap], classes: int) -> FloatArray:
    """Dice of each class (K,) between label maps (H, W) of one image by several readers: the mean over all pairs.

    Pixels that one of a pair does not know are no part of it; nan where no pair has the class.
    """
    rows: list[list[float]] = [[] for _ in range(classes)]
    for a, b in combinations(maps, 2):
        known = (a != IGNORE) & (b != IGNORE)
        for c, row in enumerate(rows):
            x, y = (a == c) & known, (b == c) & known
            if total := int(x.sum() + y.sum()):
                row.append(2 * float((x & y).sum()) / total)
    return np.asarray([np.mean(row) if row else np.nan for row in rows])


@dataclass(frozen=True)
class Consensus:
    """What readers say together, and how each of them errs.

    probs      (N, K) of each class
    confusion  (R, K, K) share of the answers of a reader (last axis) about samples of each class
    prior      (K,) share of each class
    """

    probs: FloatArray
    confusion: FloatArray
    prior: FloatArray


def dawid_skene(answers_NR: IntArray, classes: int) -> Consensus:
    """Classes by the readers' own rates of error, found with them: Dawid and Skene (Applied Statistics 28, 1979).

    EM from the shares of votes on; a reader's answers of one sample are independent given its class (their 2.2 to 2.5).
    InputError where a sample has no answer.
    """
    _check(answers_NR, classes)
    if (empty := np.flatnonzero((answers_NR == MISSING).all(axis=1))).size:
        raise InputError("answers", "one of each sample at least", f"none of sample {empty[0]}")
    said_NRK = (answers_NR[:, :, None] == np.arange(classes)).astype(np.float64)
    probs = soft(answers_NR, classes)
    for _ in range(STEPS):
        prior = probs.mean(axis=0)
        counts = np.einsum("nk,nrl->rkl", probs, said_NRK)
        total = counts.sum(axis=2, keepdims=True)
        confusion = np.divide(counts, total, out=np.full_like(counts, 1 / classes), where=total > 0)
        joint = np.log(prior + SMALL) + np.einsum("nrl,rkl->nk", said_NRK, np.log(confusion + SMALL))
        joint = np.exp(joint - joint.max(axis=1, keepdims=True))
        before, probs = probs, joint / joint.sum(axis=1, keepdims=True)
        if np.abs(probs - before).max() < CLOSE:
            break
    return Consensus(probs, confusion, prior)


@dataclass(frozen=True)
class MaskConsensus:
    """A structure that readers drew together: probability of each pixel (H, W), and how each reader draws (R,)."""

    probs: FloatArray
    sensitivity: FloatArray
    specificity: FloatArray


def staple(masks: BoolArray) -> MaskConsensus:
    """A structure from the masks (R, H, W) of readers: Warfield, Zou and Wells (TMI 2004), two parameters a reader.

    EM from sensitivity and specificity .99999 on, as there; the prior of a pixel is the share of all that was drawn.
    Where all readers drew nothing, or everything, that is the answer.
    """
    if masks.ndim != 3 or not len(masks):
        raise InputError("masks", "(readers, height, width), of one reader at least", str(masks.shape))
    drawn = masks.reshape(len(masks), -1)
    prior = float(drawn.mean())
    p, q = np.full(len(drawn), 0.99999), np.full(len(drawn), 0.99999)
    if prior in (0.0, 1.0):
        return MaskConsensus(np.full(masks.shape[1:], prior), np.ones(len(drawn)), np.ones(len(drawn)))
    probs = drawn.mean(axis=0)
    for _ in range(STEPS):
        inside = np.log(prior) + _log_likelihood(drawn, p, 1 - p)
        outside = np.log(1 - prior) + _log_likelihood(drawn, 1 - q, q)
        before, probs = probs, 1 / (1 + np.exp(np.clip(outside - inside, -700, 700)))
        p = (drawn * probs).sum(axis=1) / max(float(probs.sum()), SMALL)
        q = (~drawn * (1 - probs)).sum(axis=1) / max(float((1 - probs).sum()), SMALL)
        if np.abs(probs - before).max() < CLOSE:
            break
    return MaskConsensus(probs.reshape(masks.shape[1:]), p, q)


def _log_likelihood(drawn: BoolArray, yes: FloatArray, no: FloatArray) -> FloatArray:
    """Log of the probability of what all readers drew at each pixel, by theirs of drawing it and of leaving it."""
    log_yes, log_no = (np.log(np.clip(x, SMALL, 1.0))[:, None] for x in (yes, no))
    likelihood: FloatArray = np.where(drawn, log_yes, log_no).sum(axis=0)
    return likelihood


def _check(answers_NR: IntArray, classes: int) -> None:
    if answers_NR.ndim != 2 or (len(answers_NR) and not MISSING <= answers_NR.min() <= answers_NR.max() < classes):
        expected = f"numbers of classes (samples, readers) from 0 to {classes - 1}, or {MISSING}"
        raise InputError(
            "answers", expected, f"{answers_NR.shape}, {answers_NR.min(initial=0)} to {answers_NR.max(initial=0)}"
        )
