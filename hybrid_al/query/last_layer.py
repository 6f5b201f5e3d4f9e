"""The model's last layer, for the strategies that read it: features, head and probabilities of one pass."""

from __future__ import annotations

import numpy as np

from ..core.types import FloatArray
from ..errors import InputError
from .base import QueryState
from .terms import with_cache


def probs_and_features(state: QueryState) -> tuple[FloatArray, FloatArray]:
    """Class probabilities (M, C) in float64 and finite features (M, D) of the candidates, by one pass."""
    once = with_cache(state)
    probs = once.probs().mean(axis=1, dtype=np.float64)
    blocks = [batch.features for batch in once.predictions() if batch.features is not None]
    features = np.concatenate(blocks) if blocks else np.empty((0, 0))
    if len(features) != len(probs) or not np.isfinite(features).all():
        raise InputError(f"predictions of round {state.round}", "finite features of every candidate", "others")
    return probs, features


def features_and_head(state: QueryState) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Features (M, D) of the candidates, weight (C, D) and bias (C,) of the last layer in float64, by one pass."""
    once = with_cache(state)
    _, features = probs_and_features(once)
    head = next(iter(once.predictions())).head
    if head is None or not all(np.isfinite(part).all() for part in head):
        raise InputError(f"predictions of round {state.round}", "a finite last layer", "none or another")
    return features.astype(np.float64), head[0].astype(np.float64), head[1].astype(np.float64)
