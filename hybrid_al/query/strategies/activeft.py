"""ActiveFT: prototypes that are pulled to the pool and push each other away, then the samples nearest to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import unit_rows
from ...core.registry import Count, Positive, hyperparameters
from ...core.types import FloatArray, Need, Query
from ..base import About, QueryState, check_budget

BLOCK = 4096  # rows of the pool at a time


@dataclass(frozen=True)
@hyperparameters
class ActiveFT:
    """Xie et al., Active Finetuning: Exploiting Annotation Budget in the Pretraining-Finetuning Paradigm (CVPR 2023).

    Section 3.3: with unit vectors f, prototypes c and temperature t, Adam lowers the mean over the pool of
    log(exp(f c_k / t) + sum over l != k of exp(c_k c_l / t)) - f c_k / t, with k the nearest prototype of f. Labeled
    samples are prototypes that do not move. O(iterations P (labels + budget) D) time, O(P D) bytes.
    """

    temperature: Positive = 0.07
    iterations: Count = 300
    rate: Positive = 1e-3

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Xie et al.: *Active Finetuning*, CVPR 2023, section 3.3",
        passes="0",
        time="iterations N (L + b) D",
        memory="N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates: to each prototype the nearest unpicked one, prototypes of the largest share first."""
        check_budget(state, budget)
        pool = state.vectors(np.union1d(state.candidates, state.labels.labeled), "cosine")
        candidates = state.vectors(state.candidates, "cosine")
        fixed = state.vectors(state.labels.labeled, "cosine")
        free = candidates[rng.permutation(len(candidates))[:budget]]
        mean, square = np.zeros_like(free), np.zeros_like(free)
        for turn in range(1, self.iterations + 1):
            _, gradient, _ = prototype_loss(pool, free, fixed, self.temperature)
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (np.square(gradient) - square)
            free = free - self.rate * mean / (1 - 0.9**turn) / (np.sqrt(square / (1 - 0.999**turn)) + 1e-8)
        _, _, counts = prototype_loss(pool, free, fixed, self.temperature)
        picks = list[int]()
        for prototype in np.argsort(-counts, kind="stable"):
            near = candidates @ unit_rows(free[prototype])
            near[picks] = -np.inf
            picks.append(int(near.argmax()))
        shares = np.sort(counts)[::-1] / len(pool)
        return Query(
            state.candidates[picks],
            reasons=tuple(f"nearest to a prototype of {100 * share:.2g} % of the pool" for share in shares),
        )


def prototype_loss(
    pool_PD: FloatArray, free_KD: FloatArray, fixed_FD: FloatArray, temperature: float
) -> tuple[float, FloatArray, FloatArray]:
    """The loss, its gradient in the free prototypes (K, D), and how many of the pool are nearest to each (K,).

    Only the direction of a prototype counts; its length may be any but 0. `pool` and `fixed` are unit vectors.
    """
    unit = np.concatenate([unit_rows(free_KD), fixed_FD])
    push = np.exp(unit @ unit.T / temperature)
    np.fill_diagonal(push, 0)
    push_sums = push.sum(axis=1)
    loss, counts = 0.0, np.zeros(len(unit))
    pull_sums, weight = np.zeros_like(unit), np.zeros(len(unit))  # sums over the rows nearest to each
    for start in range(0, len(pool_PD), BLOCK):
        rows = pool_PD[start : start + BLOCK]
        near = rows @ unit.T / temperature
        k = near.argmax(axis=1)
        pull = np.exp(near[np.arange(len(rows)), k])
        loss += float(np.log1p(push_sums[k] / pull).sum())
        shares = -push_sums[k] / (pull + push_sums[k]) / temperature
        np.add.at(pull_sums, k, shares[:, None] * rows)
        weight += np.bincount(k, 1 / (pull + push_sums[k]), minlength=len(unit))
        counts += np.bincount(k, minlength=len(unit))
    weighted = weight[:, None] * push
    gradient = (pull_sums + (weighted + weighted.T) @ unit / temperature)[: len(free_KD)] / len(pool_PD)
    along = (gradient * unit[: len(free_KD)]).sum(axis=1, keepdims=True) * unit[: len(free_KD)]
    length = np.linalg.norm(free_KD, axis=1, keepdims=True)
    inward: FloatArray = ((gradient - along) / np.maximum(length, 1e-12)).astype(free_KD.dtype)
    return loss / len(pool_PD), inward, counts[: len(free_KD)]
