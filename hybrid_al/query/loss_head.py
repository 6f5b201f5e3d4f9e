"""A small network on frozen embeddings that predicts the loss of a sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.types import FloatArray
from ..scores.losses import ranking_loss
from .base import QueryState
from .critic import BATCH, minimise, perceptron, tensor
from .linear_head import held_out_probs, scaled_embeddings


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
        return self.predict_all(rows, state, rng)[len(labeled) :]

    def predict_all(self, rows: FloatArray, state: QueryState, rng: np.random.Generator) -> FloatArray:
        """The same (L + M,) of the labeled samples and the candidates, from their scaled embeddings in this order."""
        known = len(state.labels.labeled)
        if known > 1:
            losses = self.losses(rows[:known], state, rng)
            if np.ptp(losses) > 0:
                return self.predicted_losses(rows[:known], losses, rows, rng)
        return np.zeros(len(rows))

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

        rows, losses = tensor(rows_LD), tensor(losses_L)
        network = perceptron((rows.shape[1], self.width, 1), rng)
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.rate, weight_decay=0.01)
        for _ in range(self.steps):
            batch = torch.from_numpy(rng.permutation(len(rows))[:BATCH])
            minimise(optimizer, ranking_loss(network(rows[batch])[:, 0], losses[batch], self.margin))
        with torch.no_grad():
            values: FloatArray = network(tensor(candidates_MD))[:, 0].numpy().astype(np.float64)
        return values
