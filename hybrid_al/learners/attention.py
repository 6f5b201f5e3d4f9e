"""Learner `attention`: multiple-instance learning on cached embeddings; a bag is the mean of its rows, by attention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..core.registry import Count, Decay, hyperparameters
from ..core.types import FloatArray, IntArray
from ..data.bags import BLOCK, Bags, block_means, instance_rows
from ..errors import InputError
from ..models.classifier import Standardize
from ..semi.base import Objective
from ..train import Schedule
from .network import Foundation, NetworkLearner, learner_over

LEAST_DEVIATION = 1e-6


@dataclass(frozen=True)
@hyperparameters
class Attention:
    """Settings of the learner: gated attention pooling of a bag's embeddings, and a linear layer on their mean.

    Ilse, Tomczak, Welling, Attention-based Deep Multiple Instance Learning (ICML 2018), equation 9. The encoder is
    fixed. In training a weak view of a bag is at most `tiles` of its rows, drawn anew, a strong one half of them; a
    prediction reads all rows, 8,192 at a time.

    hidden   units of the attention
    tiles    the most rows of a bag in a step of the training
    dropout  on the pooled embedding
    """

    hidden: Count = 64
    tiles: Count = 128
    dropout: Decay = 0.2

    schedule: ClassVar[Schedule] = Schedule(
        steps=200, min_steps=100, batch=16, ratio=1, lr_head=1e-3, lr_encoder=1e-3, ema_decay=0.95
    )
    frozen: ClassVar[bool] = True
    of_bags: ClassVar[bool] = True

    def build(self, base: Foundation, objective: Objective, schedule: Schedule) -> NetworkLearner:
        """A learner over bags; `base` has the pooled embeddings of bags, and those of their rows beside them."""
        assert base.bags is not None and base.instances is not None  # see `components.check_components`
        source = Instances(base.instances, base.bags, base.device)
        rows = np.concatenate([base.bags.rows(sample) for sample in base.pool.tolist()])
        mean, deviation = (torch.from_numpy(array).float() for array in block_means(base.instances, rows))
        scale = deviation.where(deviation > LEAST_DEVIATION, torch.ones(()))

        def body() -> AttentionPool:
            return AttentionPool(source, Standardize(mean, scale), len(mean), self.hidden)

        inputs = BagInputs(source, min(self.tiles, int(base.bags.sizes.max())))
        return learner_over(base, body, inputs, objective, schedule, dropout=self.dropout)


@dataclass(frozen=True, eq=False)
class Instances:
    """The embeddings (N, D) of the rows of bags; networks that are copied share them."""

    vectors: FloatArray
    bags: Bags
    device: torch.device

    def __deepcopy__(self, memo: dict[int, Any]) -> Instances:
        """Itself: it is read alone."""
        return self

    def rows(self, rows: IntArray) -> Tensor:
        """Embeddings (K, D) of some rows."""
        return torch.from_numpy(np.asarray(self.vectors[rows], dtype=np.float32)).to(self.device)

    def blocks(self, sample: int) -> Iterator[Tensor]:
        """Embeddings of the bag of a sample, `BLOCK` rows at a time."""
        rows = self.bags.rows(sample)
        return (self.rows(rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK))


class AttentionPool(nn.Module):
    """Bags -> features (B, D): the mean of their standardised embeddings, by weights w'(tanh(V h) * sigmoid(U h)).

    A batch is either positions of bags (B,) int64, of which all rows are read, a block at a time, or padded rows
    (B, T, D + 1), of which the last number is 1 for a row and 0 for padding.
    """

    def __init__(self, instances: Instances, standardize: Standardize, dim: int, hidden: int) -> None:
        super().__init__()
        self.instances, self.standardize = instances, standardize
        self.content, self.gate = nn.Linear(dim, hidden), nn.Linear(dim, hidden)
        self.weight = nn.Linear(hidden, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, D)."""
        if x.dtype == torch.int64:
            return torch.stack([self.whole(sample) for sample in x.tolist()])
        rows = self.standardize(x[..., :-1])
        scores = self.scores(rows).masked_fill(x[..., -1] <= 0, -torch.inf)
        return cast(Tensor, (scores.softmax(dim=1).unsqueeze(2) * rows).sum(dim=1))

    def scores(self, rows: Tensor) -> Tensor:
        """Logits of the attention (...,) of standardised embeddings (..., D)."""
        return cast(Tensor, self.weight(torch.tanh(self.content(rows)) * torch.sigmoid(self.gate(rows))).squeeze(-1))

    def whole(self, sample: int) -> Tensor:
        """Features (D,) of all rows of a bag; memory: a block of them."""
        device = self.instances.device
        largest = torch.tensor(-torch.inf, device=device)
        total, mean = torch.zeros((), device=device), torch.zeros((), device=device)
        for block in self.instances.blocks(sample):
            rows = self.standardize(block)
            scores = self.scores(rows)
            new = torch.maximum(largest, scores.max())
            weights, kept = (scores - new).exp(), (largest - new).exp()
            total, mean, largest = kept * total + weights.sum(), kept * mean + weights @ rows, new
        return mean / total

    @torch.no_grad()
    def attention(self, sample: int) -> FloatArray:
        """The weight (K,) of each row of a bag in its features; they sum to 1."""
        scores = torch.cat([self.scores(self.standardize(block)) for block in self.instances.blocks(sample)])
        weights: FloatArray = scores.double().softmax(dim=0).cpu().numpy()
        return weights


@dataclass(frozen=True)
class BagInputs:
    """Bags by the position of their first row (see `Inputs`); a view of one is at most `tiles` of its rows, padded."""

    instances: Instances
    tiles: int

    def plain(self, indices: IntArray) -> Tensor:
        """See `Inputs.plain`: positions (B,), of which the network reads all rows."""
        return torch.from_numpy(np.asarray(indices, dtype=np.int64))

    def weak(self, indices: IntArray, generator: torch.Generator) -> Tensor:
        """See `Inputs.weak`: other rows each time, (B, T, D + 1) with T the same in all batches."""
        return self._drawn(indices, generator, 1)

    def strong(self, indices: IntArray, generator: torch.Generator) -> Tensor:
        """See `Inputs.strong`: half of the rows of a weak view, one at least."""
        return self._drawn(indices, generator, 2)

    def views(self, indices: IntArray, count: int, generator: torch.Generator) -> Iterator[Tensor]:
        """See `Inputs.views`."""
        return (self.weak(indices, generator) for _ in range(count))

    def _drawn(self, indices: IntArray, generator: torch.Generator, divisor: int) -> Tensor:
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        out = torch.zeros(len(indices), self.tiles, self.instances.vectors.shape[1] + 1, device=self.instances.device)
        for padded, sample in zip(out, indices.tolist(), strict=True):
            rows = instance_rows(self.instances.bags, sample, self.tiles, rng)
            rows = rows[: -(-len(rows) // divisor)]
            padded[: len(rows), :-1], padded[: len(rows), -1] = self.instances.rows(np.sort(rows)), 1
        return out


def attention_of(learner: NetworkLearner, sample: int) -> FloatArray:
    """The attention (K,) of each row of the bag of a sample, ascending rows: mean over the members of the last fit."""
    pools = [member.encoder for member in learner.networks.members] if learner.networks is not None else []
    if not pools or not isinstance(pools[0], AttentionPool):
        raise InputError("attention", "the learner attention, fitted or loaded", "another one")
    weights: FloatArray = np.mean([cast(AttentionPool, pool.eval()).attention(sample) for pool in pools], axis=0)
    return weights
