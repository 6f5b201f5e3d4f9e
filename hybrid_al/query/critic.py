"""Small networks of a strategy's own, on embeddings or features; all their dice are those of the strategy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..core.types import FloatArray

if TYPE_CHECKING:
    import torch
    from torch import nn

BATCH = 128  # rows of a side in a step


def perceptron(widths: Sequence[int], rng: np.random.Generator) -> nn.Sequential:
    """Linear layers of these widths, the input's first, with ReLU in between; weights uniform, as torch draws them."""
    import torch
    from torch import nn

    layers = list[nn.Module]()
    for ins, outs in pairwise(widths):
        layer = torch.nn.utils.skip_init(nn.Linear, ins, outs)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            layer.weight.copy_(tensor(rng.uniform(-(ins**-0.5), ins**-0.5, (ins, outs)).T))
            layer.bias.copy_(tensor(rng.uniform(-(ins**-0.5), ins**-0.5, outs)))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def tensor(rows: FloatArray) -> torch.Tensor:
    """An array in float32."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))


def draw_batch(rows: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """`BATCH` distinct rows, or all where there are fewer, in random order."""
    import torch

    return rows[torch.from_numpy(rng.permutation(len(rows))[:BATCH])]


def minimise(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One step of the parameters that the optimizer holds."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def negative_bound(
    x: torch.Tensor, decoded: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor, beta: float
) -> torch.Tensor:
    """Mean over rows of |x - decoded|^2 / 2 + beta KL(N(mean, variance) || N(0, 1)), in nats, up to a constant."""
    divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2
    return ((x - decoded).square().sum(dim=1) / 2 + beta * divergence).mean()
