"""AL-BSQ: candidates that are uncertain and stand for the pool in the latents of an infoVAE, fused by Borda counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...core.registry import Amount, Count, Passes, Positive, hyperparameters
from ...core.types import FloatArray, Need, Query, Scores
from ...scores.ranks import mid_ranks
from ...scores.samples import summed_variance
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..critic import draw_batch, minimise, perceptron, tensor
from ..linear_head import scaled_embeddings
from ..terms import PASSES, standing

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
@hyperparameters
class BSQ:
    """Ozdemir et al., Active Learning for Segmentation Based on Bayesian Sample Queries (KBS 2021), section 3.

    One by one the candidate of the largest weighted sum of two mid-ranks (a Borda count): that of the variance over
    `samples` passes, and that of what it adds to the representation of the pool, the sum over `rows` samples of the
    pool of the similarity to the nearest of labels and picks.

    uncertainty, representativeness  weights of the two
    latent, width, steps, rate       of the infoVAE of embeddings: size of the latent, hidden units, steps of Adam, rate
    discrepancy                      weight of the maximum mean discrepancy of latents and prior (Zhao, Song, Ermon,
                                     InfoVAE, AAAI 2019, equation 6 with alpha 1, so that the divergence has weight 0)
    rows                             random samples that stand for the pool
    """

    samples: Passes = PASSES
    uncertainty: Amount = 1.0
    representativeness: Amount = 1.0
    latent: Count = 16
    width: Count = 128
    steps: Count = 200
    rate: Positive = 2e-3
    discrepancy: Amount = 100.0
    rows: Count = 500

    needs: ClassVar[frozenset[Need]] = frozenset({"samples", "embeddings"})
    about: ClassVar[About] = About(
        paper="Ozdemir et al.: *Active Learning for Segmentation Based on Bayesian Sample Queries*, Knowledge-Based "
        "Systems 2021, section 3; Zhao, Song, Ermon: *InfoVAE*, AAAI 2019",
        passes="samples",
        time="(256 steps + M) width (D + latent) + b M rows",
        memory="M (S C + D + rows)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order of the picks, ties in random order."""
        check_budget(state, budget)
        variance = state.score(summed_variance, self.samples)
        labeled = state.labels.labeled
        latents = self._latents(scaled_embeddings(state, np.concatenate([labeled, state.candidates])), rng)
        pool = latents[rng.permutation(len(latents))[: self.rows]]
        similarity, covered = nearness(latents, pool), np.zeros(len(pool), dtype=np.float32)
        if len(labeled):
            covered = similarity[: len(labeled)].max(axis=0)
        similarity = similarity[len(labeled) :]
        open_, picks, doubt = np.ones(len(variance), dtype=np.bool_), list[int](), mid_ranks(variance)
        first = {"variance": doubt, "representation": mid_ranks(gains(similarity, covered))}
        for _ in range(budget):
            rest = np.flatnonzero(open_)
            ranks = mid_ranks(gains(similarity, covered)[rest])
            total = self.uncertainty * mid_ranks(variance[rest]) + self.representativeness * ranks
            picks.append(int(rest[best_first(total, rng)[0]]))
            open_[picks[-1]] = False
            covered = np.maximum(covered, similarity[picks[-1]])
        values = self.uncertainty * first["variance"] + self.representativeness * first["representation"]
        return Query(
            state.candidates[picks],
            scores=Scores(state.candidates, values, first),
            reasons=tuple(standing(first, p) for p in picks),
        )

    def _latents(self, rows: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Mean latents (N, latent) of embeddings (N, D), by an infoVAE that is trained on them."""
        import torch

        x_all, size = tensor(rows), rows.shape[1]
        encoder = perceptron((size, self.width, 2 * self.latent), rng)
        decoder = perceptron((self.latent, self.width, size), rng)
        optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=self.rate)
        for _ in range(self.steps):
            x = draw_batch(x_all, rng)
            mean, log_variance = encoder(x).split(self.latent, dim=1)
            z = mean + (log_variance / 2).exp() * tensor(rng.normal(size=mean.shape))
            apart = (x - decoder(z)).square().sum(dim=1).mean() / 2
            prior = tensor(rng.normal(size=mean.shape))
            minimise(optimizer, apart + self.discrepancy * discrepancy(z, prior))
        with torch.no_grad():
            means: FloatArray = encoder(x_all)[:, : self.latent].numpy()
        return means


def discrepancy(z: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    """Squared maximum mean discrepancy of rows (B, k) and (B, k), kernel exp(-distance^2 / k), as the InfoVAE."""
    import torch

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        squared = (a[:, None] - b[None]).square().sum(dim=2)
        return torch.exp(-squared / z.shape[1]).mean()

    return kernel(z, z) + kernel(prior, prior) - 2 * kernel(z, prior)


def nearness(rows_NK: FloatArray, pool_RK: FloatArray) -> FloatArray:
    """exp(-distance^2 / median) (N, R) of latents and those of the pool, in float32; the median is of the pool."""
    within = squared_distances(pool_RK, pool_RK)[~np.eye(len(pool_RK), dtype=np.bool_)]
    median = float(np.median(within)) if within.size else 1.0
    values: FloatArray = np.exp(-squared_distances(rows_NK, pool_RK) / max(median, 1e-12))
    return values


def squared_distances(a_NK: FloatArray, b_RK: FloatArray) -> FloatArray:
    """Squared distances (N, R) in float32."""
    a, b = a_NK.astype(np.float32), b_RK.astype(np.float32)
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    values: FloatArray = squared.clip(0)
    return values


def gains(similarity_MR: FloatArray, covered_R: FloatArray) -> FloatArray:
    """What each candidate adds to the representation of the pool (M,)."""
    added: FloatArray = np.maximum(similarity_MR - covered_R, 0).sum(axis=1, dtype=np.float64)
    return added
