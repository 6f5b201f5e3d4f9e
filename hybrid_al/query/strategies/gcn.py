"""UncertainGCN and CoreGCN: a graph network on neighbours in the pool tells labeled from unlabeled samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ...core.registry import Count, Decay, Positive, Share, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...kernels.distances import k_center, nearest
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..critic import minimise, perceptron, tensor

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
@hyperparameters
class GCN:
    """Caramalau, Bhattarai and Kim, Sequential Graph Convolutional Network for Active Learning (CVPR 2021), section 3.

    Two graph convolutions on the pool give each sample a probability of being labeled. `core` asks as k-center between
    the hidden rows, `uncertain` those whose probability is nearest to `margin`. Random without labels, but for `core`.

    weight      of the unlabeled samples in the loss
    neighbours  of each sample in the graph, by cosine
    rows        of more candidates a random sample (10,000 in the paper), but no fewer than the budget
    """

    by: Literal["core", "uncertain"] = "core"
    margin: Share = 0.1
    weight: Positive = 1.2
    neighbours: Count = 10
    width: Count = 128
    dropout: Decay = 0.3
    steps: Count = 200
    rate: Positive = 1e-3
    rows: Count = 10_000

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Caramalau, Bhattarai, Kim: *Sequential Graph Convolutional Network for Active Learning*, CVPR 2021, "
        "section 3",
        passes="0",
        time="B^2 D + steps B width (D + neighbours), B = L + min(M, rows)",
        memory="B (D + width + neighbours)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates: `core` in the order in which they were picked, else nearest to the margin first."""
        check_budget(state, budget)
        labeled = state.labels.labeled
        candidates = rng.permutation(state.candidates)[: max(self.rows, budget)]
        hidden, probs = self._network(state.vectors(np.concatenate([labeled, candidates]), "cosine"), len(labeled), rng)
        if self.by == "core":
            picks, squared = k_center(hidden, np.arange(len(labeled)), budget)
            words = [f"distance {d:.3g} from labels and picks in the graph" for d in np.sqrt(squared)]
            words[0] = words[0] if len(labeled) else "nearest to the mean in the graph"
            return Query(candidates[picks - len(labeled)], reasons=tuple(words))
        gap = np.abs(probs[len(labeled) :] - self.margin) if len(labeled) else np.zeros(len(candidates))
        picks = best_first(-gap, rng)[:budget]
        reasons = tuple(f"labeled with probability {p:.3g} in the graph" for p in probs[len(labeled) + picks])
        return Query(candidates[picks], reasons=reasons)

    def _network(self, unit_PD: FloatArray, known: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Hidden rows (P, width) and probabilities (P,) of being labeled, by the network trained on the first rows."""
        import torch
        import torch.nn.functional as F

        x, graph = tensor(unit_PD), neighbour_graph(unit_PD, self.neighbours)
        first, last = (perceptron(widths, rng) for widths in ((x.shape[1], self.width), (self.width, 1)))
        optimizer = torch.optim.Adam([*first.parameters(), *last.parameters()], lr=self.rate, weight_decay=5e-4)
        target = (torch.arange(len(x)) < known).float()
        weight = torch.where(target > 0, 1 / max(known, 1), self.weight / max(len(x) - known, 1))
        for _ in range(self.steps):
            kept = tensor((rng.random((len(x), self.width)) >= self.dropout) / (1 - self.dropout))
            logits = graph @ last((graph @ first(x)).relu() * kept)
            minimise(optimizer, F.binary_cross_entropy_with_logits(logits[:, 0], target, weight, reduction="sum"))
        with torch.no_grad():
            hidden = (graph @ first(x)).relu()
            probs: FloatArray = (graph @ last(hidden))[:, 0].sigmoid().double().numpy()
            rows: FloatArray = hidden.numpy()
        return rows, probs


def neighbour_graph(unit_PD: FloatArray, m: int) -> torch.Tensor:
    """Sparse (P, P): each row has weight 1/2 on itself and 1/2 shared by its m nearest others, by (1 + cosine) / 2."""
    import torch

    p, m = len(unit_PD), min(m, len(unit_PD) - 1)
    own = np.tile(np.arange(p), (2, 1))
    if not m:
        return torch.sparse_coo_tensor(torch.from_numpy(own), torch.ones(p), (p, p), check_invariants=False)
    squared, rows = nearest(unit_PD, unit_PD, m, exclude_self=True)
    weights = (1 - squared / 4).clip(1e-6)
    values = np.concatenate([np.full(p, 0.5), (weights / weights.sum(axis=1, keepdims=True) / 2).reshape(-1)])
    places = np.concatenate([own, _pairs(rows)], axis=1)
    return torch.sparse_coo_tensor(torch.from_numpy(places), tensor(values), (p, p), check_invariants=False)


def _pairs(rows_PM: IntArray) -> IntArray:
    """Row and neighbour (2, P M) of each edge."""
    return np.stack([np.repeat(np.arange(len(rows_PM)), rows_PM.shape[1]), rows_PM.reshape(-1)])
