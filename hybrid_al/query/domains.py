"""What strategies of domain shift share: which labels are of the source, a discriminator of domains, and anchors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.types import BoolArray, FloatArray
from ..kernels.distances import nearest
from ..kernels.kmeans import k_means
from .base import QueryState
from .critic import draw_batch, minimise, perceptron, tensor
from .linear_head import scaled_embeddings


def of_source(state: QueryState) -> BoolArray:
    """Whether each labeled sample is of the source (L,)."""
    labeled = state.labels.labeled
    if not len(labeled):
        return np.zeros(0, dtype=np.bool_)
    source: BoolArray = state.extra("source", labeled) > 0.5
    return source


@dataclass(frozen=True)
class Discriminator:
    """A network on scaled embeddings that tells two sets apart, each of the same weight; settings as in `aada`."""

    width: int = 128
    steps: int = 200
    rate: float = 1e-3

    def log_odds(
        self, first_AD: FloatArray, second_BD: FloatArray, rows_MD: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """Log odds (M,) that a row is of the second set, not the first; 0 where a set is empty.

        Time O(256 steps width D + M width D).
        """
        import torch
        import torch.nn.functional as F

        if not len(first_AD) or not len(second_BD):
            return np.zeros(len(rows_MD))
        first, second = tensor(first_AD), tensor(second_BD)
        network = perceptron((first.shape[1], self.width, self.width, 1), rng)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.rate)
        for _ in range(self.steps):
            sides = [network(draw_batch(rows, rng))[:, 0] for rows in (first, second)]
            minimise(optimizer, F.softplus(sides[0]).mean() + F.softplus(-sides[1]).mean())
        with torch.no_grad():
            odds: FloatArray = network(tensor(rows_MD))[:, 0].double().numpy()
        return odds


def squared_to_anchors(state: QueryState, anchors: int, rng: np.random.Generator) -> FloatArray:
    """Squared distance (M,) of each candidate to the nearest of `anchors` centroids of the source; 0 without labels.

    Of embeddings scaled to unit variance. Where no label is of the source, all labels stand for it.
    """
    source = of_source(state)
    rows = state.labels.labeled[source] if source.any() else state.labels.labeled
    if not len(rows):
        return np.zeros(len(state.candidates))
    vectors = scaled_embeddings(state, rows).astype(np.float32)
    centroids, _ = k_means(vectors, min(anchors, len(rows)), rng)
    squared, _ = nearest(scaled_embeddings(state, state.candidates).astype(np.float32), centroids, 1)
    return squared[:, 0].astype(np.float64)
