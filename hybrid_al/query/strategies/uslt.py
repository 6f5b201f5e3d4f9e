"""USL-T: clusters that a small head learns on the embeddings, and the sample that it is surest of in each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from ...core.registry import Amount, Count, Part, Positive, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...kernels.distances import BLOCK
from ...kernels.neighbours import neighbours
from ..base import About, QueryState, check_budget
from ..clusters import Clusters, fewest_labels_first
from ..cover import Neighbours
from ..critic import BATCH, minimise, tensor


@dataclass(frozen=True)
@hyperparameters
class USLT:
    """Wang, Lian and Yu, Unsupervised Selective Labeling (ECCV 2022), section 3.4: the trained variant, USL-T.

    A linear head gives each unit embedding shares of as many clusters as there are labels and picks. Its local loss
    wants the shares of a sample to be those of a neighbour, sharpened and less the mean of all; its global loss wants
    samples of a share above `threshold` to have it whole. Clusters are asked as in TypiClust, the surest first.

    neighbours   of a sample, itself among them, of which one is drawn at each step
    temperature  that sharpens the neighbour's shares; `weight` of the global loss
    scale        of the cosines that are the logits at the start
    """

    neighbours: Neighbours = 20
    temperature: Positive = 0.5
    threshold: Part = 0.95
    weight: Amount = 1.0
    scale: Positive = 10.0
    steps: Count = 100
    rate: Positive = 0.01

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Wang, Lian, Yu: *Unsupervised Selective Labeling for More Effective Semi-Supervised Learning*, ECCV "
        "2022, section 3.4",
        passes="0",
        time="N 4096 D for the graph + (512 steps + N) (L + b) D",
        memory="N (D + neighbours) + 4096 (L + b)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, the one of the largest cluster without labels first."""
        check_budget(state, budget)
        labeled = state.labels.labeled
        samples = np.union1d(state.candidates, labeled)
        vectors = state.vectors(samples, "cosine")
        share, cluster = self._learn(vectors, len(labeled) + budget, rng)
        clusters = Clusters(
            samples,
            partial(state.vectors, metric="cosine"),
            np.unique(cluster, return_inverse=True)[1],
            vectors[:0],
            np.isin(samples, labeled),
            np.isin(samples, state.candidates),
        )
        noise = rng.random(len(samples))
        picks = fewest_labels_first(clusters, budget, lambda rows: rows[np.lexsort((noise[rows], -share[rows]))])
        reasons = tuple(f"share {share[p.row]:.2g} of {p.cluster}" for p in picks)
        return Query(samples[[p.row for p in picks]], reasons=reasons)

    def _learn(self, unit_PD: FloatArray, k: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
        """The largest share of each row (P,), and its cluster (P,)."""
        import torch
        import torch.nn.functional as F

        _, near = neighbours(unit_PD, min(self.neighbours, len(unit_PD)), rng)
        rows = tensor(unit_PD)
        # centres are rows of the pool, so that no cluster begins far from all
        centres = self.scale * rows[torch.from_numpy(rng.choice(len(rows), k, replace=k > len(rows)))]
        weight, bias = centres.requires_grad_(), torch.zeros(k, requires_grad=True)
        optimizer = torch.optim.Adam([weight, bias], lr=self.rate)

        def head(x: torch.Tensor) -> torch.Tensor:
            return x @ weight.T + bias

        for _ in range(self.steps):
            batch = rng.permutation(len(rows))[: 4 * BATCH]
            partners = near[batch, rng.integers(near.shape[1], size=len(batch))].astype(np.int64)
            logits = head(rows[torch.from_numpy(batch)])
            with torch.no_grad():
                target = head(rows[torch.from_numpy(partners)])
                target = ((target - target.mean(dim=0)) / self.temperature).softmax(dim=1)
                sure = logits.softmax(dim=1).amax(dim=1) >= self.threshold
            own = F.cross_entropy(logits, logits.argmax(dim=1), reduction="none")
            minimise(optimizer, F.cross_entropy(logits, target) + self.weight * (own * sure).mean())
        with torch.no_grad():
            best = [head(rows[i : i + BLOCK]).softmax(dim=1).max(dim=1) for i in range(0, len(rows), BLOCK)]
        share: FloatArray = torch.cat([values for values, _ in best]).double().numpy()
        return share, torch.cat([place for _, place in best]).numpy()
