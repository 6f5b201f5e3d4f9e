"""S3VAADA: a submodular sum of vulnerability, diversity and representativeness of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.special

from ...core.registry import Count, Positive, Share, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...errors import InputError
from ..base import About, QueryState, check_budget
from ..last_layer import features_and_head

SMALL = 1e-6
BLOCK = 4096  # candidates whose gains are computed at once


@dataclass(frozen=True)
@hyperparameters
class S3VAADA:
    """Rangwani et al., Submodular Subset Selection for Virtual Adversarial Active Domain Adaptation (ICCV 2021).

    Greedy gain of alpha x vulnerability + beta x the least divergence from what is picked + (1 - alpha - beta) x
    representativeness, each brought to [0, 1]. Vulnerability (section 4.1): mean divergence of the predictions under
    `restarts` virtual adversarial changes of the features, from the prediction and from one another.

    alpha, beta  weights (0.5 and 0.3)
    restarts     random starts of the adversarial direction
    radius       length of the change, relative to the mean length of the features; ours, as the change is of features
    rows         candidates that the representativeness counts over: a random sample of a larger pool
    """

    alpha: Share = 0.5
    beta: Share = 0.3
    restarts: Count = 5
    radius: Positive = 0.1
    rows: Count = 2000

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Rangwani et al.: *S3VAADA: Submodular Subset Selection for Virtual Adversarial Active Domain "
        "Adaptation*, ICCV 2021, section 4",
        passes="1",
        time="M C (restarts (D + restarts) + min(M, rows)), and M (C + min(M, rows)) a pick",
        memory="M (D + min(M, rows))",
    )

    def __post_init__(self) -> None:
        """Refuse weights of more than 1 in all."""
        if self.alpha + self.beta > 1:
            raise InputError("s3vaada: alpha + beta", "1 at most", f"{self.alpha + self.beta:g}")

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked."""
        check_budget(state, budget)
        features, weight, bias = features_and_head(state)
        order = rng.permutation(len(features))  # ties fall at random
        features = features[order]
        logits = features @ weight.T + bias
        log_p = scipy.special.log_softmax(logits, axis=1).clip(-30)
        length = self.radius * float(np.linalg.norm(features, axis=1).mean())
        vulnerable = _to_unit(vulnerability(features, weight, bias, length, self.restarts, rng))
        picks = self._greedy(vulnerable, log_p, budget, rng)
        reasons = tuple(f"vulnerability {vulnerable[p]:.3g} of 1, unlike earlier picks" for p in picks)
        return Query(state.candidates[order][picks], reasons=reasons)

    def _greedy(self, vulnerable: FloatArray, log_p: FloatArray, budget: int, rng: np.random.Generator) -> list[int]:
        p = np.exp(log_p)
        base = np.sort(rng.permutation(len(p))[: self.rows])
        likeness = _likeness(p, base)
        negative_entropy = (p * log_p).sum(axis=1)
        widest = max(SMALL, *(float((negative_entropy[i] - log_p @ p[i]).max()) for i in base))
        least, covered = np.full(len(p), np.inf), np.zeros(len(base), dtype=np.float32)
        free, picks = np.ones(len(p), dtype=bool), list[int]()
        while len(picks) < budget:
            gain = self.alpha * vulnerable
            if picks:
                gain = gain + self.beta * (least / widest).clip(0, 1)
                rest = 1 - self.alpha - self.beta
                for start in range(0, len(p), BLOCK):
                    block = slice(start, start + BLOCK)
                    gain[block] += rest * (likeness[:, block] - covered[:, None]).clip(0).mean(axis=0)
            picks.append(int(np.where(free, gain, -np.inf).argmax()))
            free[picks[-1]] = False
            least = np.minimum(least, negative_entropy[picks[-1]] - log_p @ p[picks[-1]])
            covered = np.maximum(covered, likeness[:, picks[-1]])
        return picks


def vulnerability(
    features_MD: FloatArray,
    weight_CD: FloatArray,
    bias_C: FloatArray,
    length: float,
    restarts: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Mean over all pairs of restarts of KL divergences in nats (M,), those from the prediction on the diagonal.

    A change goes along F d, one step of power iteration from a random direction d, with F the Fisher matrix W' (diag(p)
    - p p') W: the gradient of the divergence at a small d.
    """
    logits = features_MD @ weight_CD.T + bias_C
    log_p = scipy.special.log_softmax(logits, axis=1).clip(-30)
    p, changed = np.exp(log_p), list[FloatArray]()
    for _ in range(restarts):
        start = rng.normal(size=features_MD.shape)
        along = (start / np.linalg.norm(start, axis=1, keepdims=True)) @ weight_CD.T
        step = (p * (along - (p * along).sum(axis=1, keepdims=True))) @ weight_CD
        step /= np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-30)
        changed.append(scipy.special.log_softmax(logits + length * step @ weight_CD.T, axis=1).clip(-30))
    total = np.zeros(len(p))
    for i, one in enumerate(changed):
        total += (p * (log_p - one)).sum(axis=1)
        for j, two in enumerate(changed):
            total += (np.exp(one) * (one - two)).sum(axis=1) if i != j else 0
    mean: FloatArray = total.clip(0) / restarts**2
    return mean


def _likeness(p_MC: FloatArray, base_R: IntArray) -> FloatArray:
    """Closeness of the predictions of some rows to all, in [0, 1]: (R, M) of float32, the one array of that size."""
    like: FloatArray = np.sqrt(p_MC[base_R]).astype(np.float32) @ np.sqrt(p_MC).astype(np.float32).T
    np.maximum(np.subtract(1, like, out=like), 0, out=like)
    np.negative(np.log(np.add(like, np.float32(SMALL), out=like), out=like), out=like)
    return _to_unit(like)


def _to_unit(values: FloatArray) -> FloatArray:
    """Values brought to [0, 1] in place; 0 where all are equal."""
    low, high = values.min(), values.max()
    values -= low
    values /= max(float(high - low), 1e-12)
    return values
