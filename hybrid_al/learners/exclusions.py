"""Negative learning: what a sample is known not to be, as a term of the loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..core.rng import derive, derive_seed
from ..data.loaders import Inputs
from ..models.checkpoint import seeded
from ..models.classifier import Classifier
from ..semi.base import Labeled
from ..train import Penalty


def exclusion_loss(logits: Tensor, excluded: Tensor) -> Tensor:
    """Mean of -log(1 - sum of p over the excluded classes), of logits and masks (B, C), where some class is open.

    Of one excluded class that is -log(1 - p): Kim et al., NLNL: Negative Learning for Noisy Labels (ICCV 2019),
    equation 2. As a difference of logarithms it is finite where p is 1.
    """
    open_logits = logits.masked_fill(excluded, -torch.inf)
    return (logits.logsumexp(dim=1) - open_logits.logsumexp(dim=1)).mean()


def exclusions(
    excluded: Mapping[int, tuple[int, ...]], inputs: Inputs, *, batch: int, weight: float, seed: int
) -> Penalty[Classifier]:
    """`weight` times `exclusion_loss` on weak views of up to `batch` samples a step, drawn without replacement.

    excluded  sample -> classes that it is not; one at least
    """
    samples = np.asarray(sorted(excluded), dtype=np.int64)
    rng, generator = derive(seed, "exclusions"), seeded(derive_seed(seed, "views of exclusions"))

    def penalty(network: Classifier, labeled: Labeled) -> Tensor:
        rows = np.sort(rng.permutation(samples)[:batch])
        images = torch.cat(
            [labeled.x, inputs.weak(rows, generator)]
        )  # so that batch norm sees both, and never one alone
        logits = network(images)[len(labeled.x) :]
        mask = torch.zeros(logits.shape, dtype=torch.bool)
        for k, i in enumerate(rows.tolist()):
            mask[k, list(excluded[i])] = True
        return weight * exclusion_loss(logits, mask.to(logits.device))

    return penalty
