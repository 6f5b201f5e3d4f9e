"""SANGAL: from the labeled samples along the gradient of their loss, and to the real candidates nearest to the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.special

from ...core.embeddings import unit_rows
from ...core.registry import Amount, Count, Positive, Whole, hyperparameters
from ...core.types import FloatArray, Need, Query
from ...kernels.distances import squared_to
from ..base import About, QueryState, check_budget
from ..critic import draw_batch, minimise, negative_bound, perceptron, tensor
from ..last_layer import features_and_head

Map = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
@hyperparameters
class GradientWalk:
    """Dai et al., Suggestive Annotation of Brain Tumour Images with Gradient-Guided Sampling (MICCAI 2020), section 2.

    In the features of the last layer. Each labeled sample, the one of the largest loss first, goes a step in the
    direction in which its loss grows fastest, and the candidate nearest to where it comes is asked; then all go a
    further step, until the budget is met. With `latent`, a variational autoencoder learns the manifold of the features
    of labeled samples and candidates: after a step a walk comes back to it, and candidates are nearest in the latent
    space, as published. Random without labels.

    step    length of a step, relative to the mean length of the labeled features; ours
    latent  dimensions of the latent; 0: no autoencoder
    width, beta, steps, rate  of the autoencoder, as of `vaal`: hidden units, weight of the divergence, Adam; ours
    """

    step: Positive = 0.1
    latent: Whole = 0
    width: Count = 128
    beta: Amount = 0.1
    steps: Count = 200
    rate: Positive = 2e-3

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Dai et al.: *Suggestive Annotation of Brain Tumour Images with Gradient-Guided Sampling*, MICCAI 2020, "
        "section 2; Medical Image Analysis 2022",
        passes="1, of the labeled too",
        time="b M D + b D C; latent (128 steps + M) width D more, and b M latent in the place of b M D",
        memory="M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, walk by walk, ties in random order."""
        check_budget(state, budget)
        order, known = rng.permutation(len(state.candidates)), len(state.labels.labeled)
        samples = np.concatenate([state.labels.labeled, state.candidates[order]])
        features, weight, bias = features_and_head(replace(state, candidates=samples))
        if not known:
            return Query(samples[:budget], reasons=("a random one: nothing is labeled yet",) * budget)
        encode, decode = self._manifold(features, rng)
        places, rows, classes = features[:known], encode(features[known:]), state.labels.class_targets()
        length = self.step * float(np.linalg.norm(places, axis=1).mean())
        picks, reasons, free = list[int](), list[str](), np.ones(len(rows), dtype=bool)
        while len(picks) < budget:
            logits = places @ weight.T + bias
            losses = -scipy.special.log_softmax(logits, axis=1)[np.arange(known), classes]
            errors = scipy.special.softmax(logits, axis=1)
            errors[np.arange(known), classes] -= 1
            coded = encode(places + length * unit_rows(errors @ weight))
            places = decode(coded)
            for i in np.argsort(-losses, kind="stable")[: budget - len(picks)]:
                squared = np.where(free, squared_to(rows, coded[i]), np.inf)
                picks.append(int(squared.argmin()))
                free[picks[-1]] = False
                reasons.append(f"nearest to where the loss of a labeled sample grows, {losses[i]:.3g} before")
        return Query(state.candidates[order[picks]], reasons=tuple(reasons))

    def _manifold(self, features_KD: FloatArray, rng: np.random.Generator) -> tuple[Map, Map]:
        """The encoder, features (K, D) -> means of the latents (K, latent), and the decoder; without one no change."""
        if not self.latent:
            return np.asarray, np.asarray
        import torch

        mean, scale = features_KD.mean(axis=0), np.maximum(features_KD.std(axis=0), 1e-6)
        rows, size, k = tensor((features_KD - mean) / scale), features_KD.shape[1], self.latent
        encoder = perceptron((size, self.width, 2 * k), rng)
        decoder = perceptron((k, self.width, size), rng)
        optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=self.rate)
        for _ in range(self.steps):
            x = draw_batch(rows, rng)
            middle, log_variance = encoder(x).split(k, dim=1)
            z = middle + (log_variance / 2).exp() * tensor(rng.normal(size=middle.shape))
            minimise(optimizer, negative_bound(x, decoder(z), middle, log_variance, self.beta))

        def encode(x: FloatArray) -> FloatArray:
            with torch.no_grad():
                coded: FloatArray = encoder(tensor((x - mean) / scale))[:, :k].double().numpy()
            return coded

        def decode(z: FloatArray) -> FloatArray:
            with torch.no_grad():
                decoded: FloatArray = mean + scale * decoder(tensor(z)).double().numpy()
            return decoded

        return encode, decode
