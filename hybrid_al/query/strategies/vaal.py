"""VAAL: candidates whose latent a discriminator tells from those of labeled samples; with TA-VAAL and SRAAL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ...core.registry import Amount, Count, Positive, hyperparameters
from ...core.types import FloatArray, Need, Query
from ..base import About, QueryState, check_budget
from ..critic import draw_batch, minimise, negative_bound, perceptron, tensor
from ..linear_head import scaled_embeddings
from ..loss_head import LossHead
from ..ranking import best_by_value


@dataclass(frozen=True)
@hyperparameters
class VAAL:
    """Sinha, Ebrahimi and Darrell, Variational Adversarial Active Learning (ICCV 2019), section 3.

    A variational autoencoder of the embeddings, of labeled and other samples, learns latents that a discriminator takes
    for labeled; the discriminator learns to tell them apart. It asks the candidates that look least labeled. Random
    without labels.

    variant     `ranked`: TA-VAAL (Kim et al., CVPR 2021, section 3): decoder and discriminator see a rank by predicted
                loss too. `state`: the relabeling of SRAAL (Zhang et al., CVPR 2020, section 3.2): the discriminator
                learns of a candidate how certain the model is, in the place of 0
    latent      dimensions of the latent; `width` hidden units of each network
    beta, adversary   weights of the divergence from the prior, and of what the discriminator says
    steps, rate       of Adam for both; ours, as beta and adversary, for so few steps on embeddings
    """

    variant: Literal["plain", "ranked", "state"] = "plain"
    latent: Count = 32
    width: Count = 128
    beta: Amount = 0.1
    adversary: Amount = 0.1
    steps: Count = 100
    rate: Positive = 2e-3

    about: ClassVar[About] = About(
        paper="Sinha, Ebrahimi, Darrell: *Variational Adversarial Active Learning*, ICCV 2019, section 3; ranked: Kim "
        "et al.: *Task-Aware Variational Adversarial Active Learning*, CVPR 2021; state: Zhang et al.: "
        "*State-Relabeling Adversarial Active Learning*, CVPR 2020",
        passes="0; state 1",
        time="(256 steps + M) width (D + latent)",
        memory="M D",
    )

    @property
    def needs(self) -> frozenset[Need]:
        """Embeddings, and for the variant `state` predictions."""
        needs: frozenset[Need] = frozenset({"embeddings"})
        return needs | {"predictions"} if self.variant == "state" else needs

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates that look least labeled, ties in random order."""
        check_budget(state, budget)
        labeled = state.labels.labeled
        rows = scaled_embeddings(state, np.concatenate([labeled, state.candidates]))
        certainty = self._certainty(state)
        values: FloatArray = np.zeros(len(certainty))
        if len(labeled):
            values = self._unlabeled(rows, self._ranks(state, rows, rng), certainty, rng)
        return best_by_value("unlike what is labeled", values, state, budget, rng)

    def _certainty(self, state: QueryState) -> FloatArray:
        """What the discriminator is to say of each candidate (M,), in [0, 1]."""
        if self.variant == "state":
            return 1 - indicator(state.probs().mean(axis=1, dtype=np.float64))
        return np.zeros(len(state.candidates))

    def _ranks(self, state: QueryState, rows: FloatArray, rng: np.random.Generator) -> FloatArray:
        """The columns (L + M, 0 or 1) that decoder and discriminator see beside the latent."""
        if self.variant != "ranked":
            return np.empty((len(rows), 0))
        values = LossHead().predict_all(rows, state, rng)[:, None]
        ranks: FloatArray = 1 / (1 + np.exp(-(values - values.mean()) / max(float(values.std()), 1e-6)))
        return ranks

    def _unlabeled(
        self, rows: FloatArray, ranks: FloatArray, certainty_M: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """1 - the probability (M,) that the discriminator gives each candidate of being labeled."""
        import torch
        import torch.nn.functional as F

        known, size = len(rows) - len(certainty_M), rows.shape[1]
        goal = np.concatenate([np.ones(known), certainty_M])
        samples = tensor(np.column_stack([rows, ranks, goal]))
        extra, k = ranks.shape[1], self.latent
        encoder = perceptron((size, self.width, 2 * k), rng)
        decoder = perceptron((k + extra, self.width, size), rng)
        critic = perceptron((k + extra, self.width, self.width, 1), rng)
        autoencoder = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=self.rate)
        discriminator = torch.optim.Adam(critic.parameters(), lr=self.rate)
        for _ in range(self.steps):
            batch = torch.cat([draw_batch(samples[:known], rng), draw_batch(samples[known:], rng)])
            x, rank, target = batch[:, :size], batch[:, size:-1], batch[:, -1]
            mean, log_variance = encoder(x).split(k, dim=1)
            z = mean + (log_variance / 2).exp() * tensor(rng.normal(size=mean.shape))
            latent = torch.cat([z, rank], dim=1)
            fooled = F.binary_cross_entropy_with_logits(critic(latent)[:, 0], torch.ones_like(target))
            bound = negative_bound(x, decoder(latent), mean, log_variance, self.beta)
            minimise(autoencoder, bound + self.adversary * fooled)
            told = F.binary_cross_entropy_with_logits(critic(latent.detach())[:, 0], target)
            minimise(discriminator, told)
        with torch.no_grad():
            x, rank = samples[known:, :size], samples[known:, size:-1]
            values: FloatArray = -critic(torch.cat([encoder(x)[:, :k], rank], dim=1))[:, 0].double().numpy()
        return 1 / (1 + np.exp(-values))


def indicator(probs_MC: FloatArray) -> FloatArray:
    """Online uncertainty of SRAAL (M,), in [0, 1): 1 - least variance / variance x largest probability.

    The least variance is that of a distribution with the same largest probability, all others being equal; 1 - 1/C
    where all are equal.
    """
    largest, classes = probs_MC.max(axis=1), probs_MC.shape[1]
    rest = (1 - largest) / (classes - 1)
    least = ((largest - 1 / classes) ** 2 + (classes - 1) * (rest - 1 / classes) ** 2) / classes
    variance = probs_MC.var(axis=1)
    share = np.divide(least, variance, out=np.ones_like(least), where=variance > 1e-15)
    uncertain: FloatArray = 1 - share.clip(0, 1) * largest
    return uncertain
