"""What strategies of domain shift share: which labels are of the source, a discriminator of domains, and anchors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..core.types import CLASS_FEATURES, BoolArray, FloatArray, IntArray, Need
from ..errors import InputError
from ..kernels.distances import nearest
from ..kernels.kmeans import k_means
from .base import QueryState
from .critic import draw_batch, minimise, perceptron, tensor
from .last_layer import probs_and_features
from .linear_head import scaled_embeddings

By = Literal["embeddings", "classes"]
"""What anchors are of: embeddings of stage 0, or the model's features of each class that it predicts."""


def needs_of(by: By) -> frozenset[Need]:
    """What `squared_to_anchors` reads."""
    return frozenset({"domains", "features" if by == "classes" else "embeddings"})


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


def squared_to_anchors(state: QueryState, anchors: int, by: By, rng: np.random.Generator) -> FloatArray:
    """Squared distance (M,) of each candidate to the nearest of `anchors` centroids of the source; 0 without labels.

    Of embeddings scaled to unit variance, or of class vectors as they are. Where no label is of the source, all labels
    stand for it.
    """
    source = of_source(state)
    rows = state.labels.labeled[source] if source.any() else state.labels.labeled
    if not len(rows):
        return np.zeros(len(state.candidates))
    vectors_of = class_vectors if by == "classes" else scaled_embeddings
    centroids, _ = k_means(vectors_of(state, rows).astype(np.float32), min(anchors, len(rows)), rng)
    squared, _ = nearest(vectors_of(state, state.candidates).astype(np.float32), centroids, 1)
    return squared[:, 0].astype(np.float64)


def class_vectors(state: QueryState, indices: IntArray) -> FloatArray:
    """The mean features of each class that is predicted in some samples (K, C * D), 0 where a class is not.

    MADA (ICCV 2021), equation 1. Of a mask each predicted class has its mean; a sample of one class has its features at
    the place of that class.
    """
    if state.scorer is not None:
        vectors = state.scorer(CLASS_FEATURES, indices, 1, 1)
        if not np.isfinite(vectors).all():
            raise InputError(f"class features of round {state.round}", "finite numbers", "others")
        return vectors
    probs, features = probs_and_features(replace(state, candidates=indices))
    vectors = np.zeros((*probs.shape, features.shape[1]), dtype=np.float32)
    vectors[np.arange(len(probs)), probs.argmax(axis=1)] = features
    return vectors.reshape(len(probs), -1)
