"""Learning loss: a small network learns from the labeled set which samples a head gets wrong, and scores candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...core.registry import Count, Positive, Several, hyperparameters
from ...core.types import FloatArray, Need, Query
from ..base import About, QueryState, check_budget
from ..linear_head import held_out_probs, scaled_embeddings
from ..ranking import best_by_value

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
@hyperparameters
class LearningLoss:
    """Largest predicted loss. Yoo and Kweon, Learning Loss for Active Learning (CVPR 2019), section 3.

    A linear head on frozen embeddings gives the loss of each labeled sample, by `folds`-fold cross-fitting. A network
    of one hidden layer learns, with the paper's ranking loss, to put pairs of samples in the order of these losses.
    Random where all losses are equal.

    width, margin  hidden units, and margin of the ranking loss (Yoo and Kweon: 128 and 1)
    steps, rate    of Adam, with weight decay 0.01; each step takes all pairs of up to 128 labeled samples
    folds          of the cross-fitting
    strength       inverse weight of the L2 penalty on the head, features scaled to unit variance
    """

    width: Count = 128
    margin: Positive = 1.0
    steps: Count = 200
    rate: Positive = 1e-3
    folds: Several = 5
    strength: Positive = 0.01

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Yoo, Kweon: *Learning Loss for Active Learning*, CVPR 2019, section 3",
        passes="0",
        time="folds L D C a step of a fit + (128 steps + M) width D",
        memory="M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest predicted loss, ties in random order."""
        check_budget(state, budget)
        labeled = state.labels.labeled
        values: FloatArray = np.zeros(len(state.candidates))
        rows = scaled_embeddings(state, np.concatenate([labeled, state.candidates]))
        if len(labeled) > 1:
            losses = self.losses(rows[: len(labeled)], state, rng)
            if np.ptp(losses) > 0:
                values = self.predicted_losses(rows[: len(labeled)], losses, rows[len(labeled) :], rng)
        return best_by_value("predicted loss", values, state, budget, rng)

    def losses(self, rows_LD: FloatArray, state: QueryState, rng: np.random.Generator) -> FloatArray:
        """Cross-entropy (L,) of each labeled sample by a head that was fitted without it."""
        _, targets = np.unique(state.labels.class_targets(), return_inverse=True)
        probs = held_out_probs(rows_LD, targets, self.folds, self.strength, rng)
        losses: FloatArray = -np.log(np.maximum(probs[np.arange(len(targets)), targets], 1e-12))
        return losses

    def predicted_losses(
        self, rows_LD: FloatArray, losses_L: FloatArray, candidates_MD: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """Predicted losses (M,) of the candidates, up to a scale, by a network trained on the labeled rows."""
        import torch

        rows, losses, candidates = (torch.from_numpy(a.astype(np.float32)) for a in (rows_LD, losses_L, candidates_MD))
        shapes = ((rows.shape[1], self.width), (self.width,), (self.width, 1), (1,))
        bounds = (rows.shape[1] ** -0.5, rows.shape[1] ** -0.5, self.width**-0.5, self.width**-0.5)
        weights = [
            torch.from_numpy(rng.uniform(-bound, bound, shape).astype(np.float32)).requires_grad_()
            for shape, bound in zip(shapes, bounds, strict=True)
        ]

        def network(x: torch.Tensor) -> torch.Tensor:
            return ((x @ weights[0] + weights[1]).relu() @ weights[2] + weights[3])[:, 0]

        optimizer = torch.optim.AdamW(weights, lr=self.rate, weight_decay=0.01)
        for _ in range(self.steps):
            batch = torch.from_numpy(rng.permutation(len(rows))[:128])
            optimizer.zero_grad()
            ranking_loss(network(rows[batch]), losses[batch], self.margin).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            values: FloatArray = network(candidates).numpy().astype(np.float64)
        return values


def ranking_loss(outputs_B: torch.Tensor, losses_B: torch.Tensor, margin: float) -> torch.Tensor:
    """Mean over the pairs of different losses of max(0, margin - (outputs_i - outputs_j) sign(losses_i - losses_j))."""
    order = (losses_B[:, None] - losses_B[None]).sign()
    gaps = (margin - order * (outputs_B[:, None] - outputs_B[None])).clamp_min(0)
    return (gaps * order.abs()).sum() / order.abs().sum().clamp_min(1)
