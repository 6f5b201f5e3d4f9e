"""WAAL: uncertain candidates that are far from the labeled set by a critic of the Wasserstein distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Amount, Count, Positive, hyperparameters
from ...core.types import FloatArray, Need, Query
from ..base import About, QueryState, check_budget
from ..critic import draw_batch, minimise, perceptron, tensor
from ..linear_head import scaled_embeddings
from ..ranking import best_by_value


@dataclass(frozen=True)
@hyperparameters
class WAAL:
    """Shui et al., Deep Active Learning: Unified and Principled Method (AISTATS 2020), section 4; the query alone.

    Smallest |log p|_2 / 2 + |log p|_1 / 2 - selection x critic. The critic of the embeddings is trained to be larger on
    candidates than on labeled samples, with gradients of length 1. Without labels by uncertainty alone.

    selection  weight of the critic
    penalty    on squared deviations of the gradient's length from 1
    width      hidden units; `steps` of Adam at `rate`
    """

    selection: Amount = 10.0
    penalty: Amount = 5.0
    width: Count = 128
    steps: Count = 100
    rate: Positive = 2e-3

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings", "predictions"})
    about: ClassVar[About] = About(
        paper="Shui, Zhou, Gagné, Wang: *Deep Active Learning: Unified and Principled Method for Query and Training*, "
        "AISTATS 2020, section 4",
        passes="1",
        time="(256 steps + M) width D",
        memory="M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the best score, ties in random order."""
        check_budget(state, budget)
        known = len(state.labels.labeled)
        logs = -np.log(np.maximum(state.probs().mean(axis=1, dtype=np.float64), 1e-12))
        rows = scaled_embeddings(state, np.concatenate([state.labels.labeled, state.candidates]))
        distance = self._critic(rows / np.sqrt(rows.shape[1]), known, rng) if known else np.zeros(len(logs))
        values = self.selection * distance - (np.linalg.norm(logs, axis=1) + logs.sum(axis=1)) / 2
        return best_by_value("uncertain and unlike what is labeled", values, state, budget, rng)

    def _critic(self, rows: FloatArray, known: int, rng: np.random.Generator) -> FloatArray:
        """The critic (M,) of the rows from `known` on, less its mean over those before."""
        import torch

        samples, critic = tensor(rows), perceptron((rows.shape[1], self.width, self.width, 1), rng)
        optimizer = torch.optim.Adam(critic.parameters(), lr=self.rate)
        for _ in range(self.steps):
            labeled, others = draw_batch(samples[:known], rng), draw_batch(samples[known:], rng)
            count = min(len(labeled), len(others))
            share = tensor(rng.random((count, 1)))
            between = (share * labeled[:count] + (1 - share) * others[:count]).requires_grad_()
            slope = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0].norm(dim=1)
            gap = critic(labeled).mean() - critic(others).mean()
            minimise(optimizer, gap + self.penalty * (slope - 1).square().mean())
        with torch.no_grad():
            values = critic(samples)[:, 0].double().numpy()
        above: FloatArray = values[known:] - values[:known].mean()
        return above
