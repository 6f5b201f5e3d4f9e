"""USL-T: clusters that small heads learn on the embeddings, and the densest sample in each, or the surest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ...core.registry import Amount, Count, Decay, Few, Positive, Share, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...kernels.distances import BLOCK
from ...kernels.neighbours import Rows, neighbours
from ..base import About, QueryState, check_budget
from ..clusters import Clusters, fewest_labels_first
from ..cover import Neighbours
from ..critic import BATCH, minimise, tensor

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
@hyperparameters
class USLT:
    """Wang, Lian and Yu, Unsupervised Selective Labeling (ECCV 2022), section 3.4: the trained variant, USL-T.

    Heads without a bias on unit embeddings, with unit weights, give shares of as many clusters as there are labels and
    picks. Settings are those of the released code for a frozen encoder (ImageNet); clusters are those of the first
    head, and are asked as in TypiClust.

    local        weight of the loss towards a neighbour's shares, see `local_loss`; beside it that of `global_loss`
    neighbours   of a sample, itself among them, of which one is drawn at each step
    temperature  that sharpens the neighbour's shares; `adjustment` of its logits by the log of the mean shares, whose
                 running mean keeps `momentum` at a step
    threshold    samples whose largest share is above it shall have it whole
    scale        of the cosines that are the logits
    choice       of a cluster: `density`, the least mean distance to the neighbours (released for ImageNet), or `share`,
                 the largest share by the mean over the heads (released for CIFAR)
    steps, rate  of Adam on batches of 512; ours
    """

    heads: Few = 3
    local: Amount = 0.5
    neighbours: Neighbours = 20
    temperature: Positive = 0.5
    adjustment: Amount = 2.5
    momentum: Decay = 0.5
    threshold: Share = 0.0
    scale: Positive = 40.0
    choice: Literal["density", "share"] = "density"
    steps: Count = 100
    rate: Positive = 0.01

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Wang, Lian, Yu: *Unsupervised Selective Labeling for More Effective Semi-Supervised Learning*, ECCV "
        "2022, section 3.4",
        passes="0",
        time="N 4096 D for the graph + heads (512 steps + N) (L + b) D",
        memory="N (D + neighbours) + 4096 heads (L + b)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, that of the largest cluster without labels first; ties in random order."""
        check_budget(state, budget)
        labeled = state.labels.labeled
        samples = np.union1d(state.candidates, labeled)
        vectors = state.vectors(samples, "cosine")
        squared, near = neighbours(vectors, min(self.neighbours, len(vectors)), rng)
        share, cluster = self._learn(vectors, near, len(labeled) + budget, rng)
        value = share if self.choice == "share" else -np.sqrt(squared.clip(0)).mean(axis=1, dtype=np.float64)
        clusters = Clusters(
            samples,
            partial(state.vectors, metric="cosine"),
            np.unique(cluster, return_inverse=True)[1],
            vectors[:0],
            np.isin(samples, labeled),
            np.isin(samples, state.candidates),
        )
        noise = rng.random(len(samples))
        picks = fewest_labels_first(clusters, budget, lambda rows: rows[np.lexsort((noise[rows], -value[rows]))])
        word = "share" if self.choice == "share" else "minus the mean distance to neighbours,"
        reasons = tuple(f"{word} {value[p.row]:.2g} in {p.cluster}" for p in picks)
        return Query(samples[[p.row for p in picks]], reasons=reasons)

    def _learn(self, unit_PD: FloatArray, near: Rows, k: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
        """The largest share of each row by the mean over heads (P,), and its cluster by the first head (P,)."""
        import torch
        import torch.nn.functional as F

        rows = tensor(unit_PD)
        # weights are rows of the pool, so that no cluster begins far from all
        first = torch.from_numpy(rng.choice(len(rows), (self.heads, k), replace=self.heads * k > len(rows)))
        weight = rows[first].requires_grad_()
        optimizer = torch.optim.Adam([weight], lr=self.rate)
        mean = torch.full((self.heads, 1, k), 1 / k)

        def logits_of(x: torch.Tensor) -> torch.Tensor:
            return self.scale * F.normalize(weight, dim=2) @ x.T

        for _ in range(self.steps):
            batch = rng.permutation(len(rows))[: 4 * BATCH]
            partners = near[batch, rng.integers(near.shape[1], size=len(batch))].astype(np.int64)
            logits = logits_of(rows[torch.from_numpy(batch)]).transpose(1, 2)
            with torch.no_grad():
                target = logits_of(rows[torch.from_numpy(partners)]).transpose(1, 2)
            local = local_loss(logits, target, mean, self.adjustment, self.temperature)
            minimise(optimizer, self.local * local + global_loss(logits, self.threshold))
            mean = self.momentum * mean + (1 - self.momentum) * target.softmax(dim=2).mean(dim=1, keepdim=True)
        share, cluster = np.empty(len(rows)), np.empty(len(rows), dtype=np.int64)
        with torch.no_grad():
            for start in range(0, len(rows), BLOCK):
                shares = logits_of(rows[start : start + BLOCK]).softmax(dim=1)
                share[start : start + BLOCK] = shares.amax(dim=1).mean(dim=0).numpy()
                cluster[start : start + BLOCK] = shares[0].argmax(dim=0).numpy()
        return share, cluster


def local_loss(
    logits_HBK: torch.Tensor, of_neighbours: torch.Tensor, mean_H1K: torch.Tensor, adjustment: float, temperature: float
) -> torch.Tensor:
    """KL of the shares from the sharpened ones of the neighbours, less what all have: mean over rows, sum over heads.

    The neighbour's logits are lowered by adjustment x log of the mean shares: what most have counts little.
    """
    adjusted = of_neighbours - adjustment * mean_H1K.clamp(min=1e-30).log()
    target = (adjusted / temperature).log_softmax(dim=2)
    divergence: torch.Tensor = (target.exp() * (target - logits_HBK.log_softmax(dim=2))).sum(dim=2)
    return divergence.mean(dim=1).sum()


def global_loss(logits_HBK: torch.Tensor, threshold: float) -> torch.Tensor:
    """Minus log of the largest share where it is above the threshold: mean over all rows, sum over heads."""
    largest = logits_HBK.log_softmax(dim=2).amax(dim=2)
    return -(largest * (largest.detach().exp() > threshold)).mean(dim=1).sum()
