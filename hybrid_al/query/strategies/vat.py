"""Virtual adversarial divergence: candidates whose prediction changes most under a small change of the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.special

from ...core.registry import Positive, hyperparameters
from ...core.types import FloatArray, Need, Query
from ..base import About, QueryState, check_budget
from ..last_layer import features_and_head
from ..ranking import best_by_value

CELLS = 2**22  # numbers computed at a time


@dataclass(frozen=True)
@hyperparameters
class VirtualAdversarial:
    """Zhang et al., BoostMIS (CVPR 2022), the unstable samples of section 3.3: largest divergence under perturbation.

    The perturbation is that of Miyato et al., Virtual Adversarial Training (TPAMI 2019), section 3.3, on the features
    of the last layer, where its direction is an exact eigenvector.

    radius  length of the perturbation, relative to the mean length of the candidates' features; ours
    """

    radius: Positive = 0.1

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Zhang et al.: *BoostMIS*, CVPR 2022, section 3.3; Miyato et al.: *Virtual Adversarial Training*, TPAMI "
        "2019, section 3.3",
        passes="1",
        time="M C (C^2 + D)",
        memory="M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest divergence, ties in random order."""
        check_budget(state, budget)
        features, weight, bias = features_and_head(state)
        length = self.radius * np.linalg.norm(features, axis=1).mean()
        values = adversarial_divergence(features, weight, bias, float(length))
        return best_by_value("vat", values, state, budget, rng)


def adversarial_divergence(
    features_MD: FloatArray, weight_CD: FloatArray, bias_C: FloatArray, length: float
) -> FloatArray:
    """KL(p(z) || p(z + r)) in nats (M,), r of `length` in the direction of fastest growth, the larger of both signs.

    To second order the divergence is r' W' F W r / 2 with F = diag(p) - p p' = B B', B = diag(sqrt p) - p sqrt(p)', so
    the largest eigenvector of W' F W is W' B v, with v that of the C x C matrix B' W W' B.
    """
    divergence, size = np.empty(len(features_MD)), max(CELLS // len(bias_C) ** 2, 1)
    for start in range(0, len(divergence), size):
        logits = features_MD[start : start + size] @ weight_CD.T + bias_C
        log_p = scipy.special.log_softmax(logits, axis=1)
        p, root = np.exp(log_p), np.exp(log_p / 2)
        b = root[:, :, None] * np.eye(p.shape[1]) - p[:, :, None] * root[:, None, :]
        _, vectors = np.linalg.eigh(b.transpose(0, 2, 1) @ (weight_CD @ weight_CD.T) @ b)
        direction = (b @ vectors[:, :, -1:])[:, :, 0] @ weight_CD
        norm = np.linalg.norm(direction, axis=1, keepdims=True)
        shift = length * np.divide(direction, norm, out=np.zeros_like(direction), where=norm > 0) @ weight_CD.T
        plus, minus = (
            (p * (log_p - scipy.special.log_softmax(logits + s * shift, axis=1))).sum(axis=1) for s in (1, -1)
        )
        divergence[start : start + size] = np.maximum(plus, minus).clip(0)
    return divergence
