"""A small network on frozen embeddings that predicts the loss of a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.types import FloatArray
from .base import QueryState
from .linear_head import held_out_probs, scaled_embeddings

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LossHead:
    """What the strategy `learning_loss` and the term of that name predict losses by; settings as in the strategy."""

    width: int = 128
    margin: float = 1.0
    steps: int = 200
    rate: float = 1e-3
    folds: int = 5
    strength: float = 0.01

    def predict(self, state: QueryState, rng: np.random.Generator) -> FloatArray:
        """Predicted losses (M,) of the candidates, up to a scale; 0 where those of all labeled samples are equal."""
        labeled = state.labels.labeled
        rows = scaled_embeddings(state, np.concatenate([labeled, state.candidates]))
        if len(labeled) > 1:
            losses = self.losses(rows[: len(labeled)], state, rng)
            if np.ptp(losses) > 0:
                return self.predicted_losses(rows[: len(labeled)], losses, rows[len(labeled) :], rng)
        return np.zeros(len(state.candidates))

    def losses(self, rows_LD: FloatArray, state: QueryState, rng: np.random.Generator) -> FloatArray:
        """Cross-entropy (L,) of each labeled sample by a head that was fitted without it."""
        _, targets = np.unique(state.labels.class_targets(), return_inverse=True)
        probs = held_out_probs(rows_LD, targets, self.folds, self.strength, rng)
        losses: FloatArray = -np.log(np.maximum(probs[np.arange(len(targets)), targets], 1e-12))
        return losses

    def predicted_losses(
        self, rows_LD: FloatArray, losses_L: FloatArray, candidates_MD: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """Predicted losses (M,) of the candidates, up to a scale, by a network trained on the labeled rows."""
        import torch

        rows, losses, candidates = (torch.from_numpy(a.astype(np.float32)) for a in (rows_LD, losses_L, candidates_MD))
        shapes = ((rows.shape[1], self.width), (self.width,), (self.width, 1), (1,))
        bounds = (rows.shape[1] ** -0.5, rows.shape[1] ** -0.5, self.width**-0.5, self.width**-0.5)
        weights = [
            torch.from_numpy(rng.uniform(-bound, bound, shape).astype(np.float32)).requires_grad_()
            for shape, bound in zip(shapes, bounds, strict=True)
        ]

        def network(x: torch.Tensor) -> torch.Tensor:
            return ((x @ weights[0] + weights[1]).relu() @ weights[2] + weights[3])[:, 0]

        optimizer = torch.optim.AdamW(weights, lr=self.rate, weight_decay=0.01)
        for _ in range(self.steps):
            batch = torch.from_numpy(rng.permutation(len(rows))[:128])
            optimizer.zero_grad()
            ranking_loss(network(rows[batch]), losses[batch], self.margin).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            values: FloatArray = network(candidates).numpy().astype(np.float64)
        return values


def ranking_loss(outputs_B: torch.Tensor, losses_B: torch.Tensor, margin: float) -> torch.Tensor:
    """Mean over the pairs of different losses of max(0, margin - (outputs_i - outputs_j) sign(losses_i - losses_j))."""
    order = (losses_B[:, None] - losses_B[None]).sign()
    gaps = (margin - order * (outputs_B[:, None] - outputs_B[None])).clamp_min(0)
    return (gaps * order.abs()).sum() / order.abs().sum().clamp_min(1)
