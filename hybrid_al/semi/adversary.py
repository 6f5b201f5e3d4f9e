"""A small network on features that an objective trains against them; its weights live in the memory of a fit."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Models

DECAYS = (0.9, 0.999)  # of Adam


class Adversary:
    """features (B, D) -> (B,) by two hidden layers of `width`; `descend` is a step of Adam at `rate`.

    The student's optimizer does not see it, so that it learns at its own rate, and several steps a batch where it must.
    """

    def __init__(self, models: Models, dim: int, *, width: int, rate: float, device: torch.device) -> None:
        self.memory, self.rate = models.memory, rate
        if "adversary/0" not in self.memory:
            shapes = [s for ins, outs in pairwise((dim, width, width, 1)) for s in ((outs, ins, ins), (outs, ins))]
            for k, (*shape, ins) in enumerate(shapes):
                drawn = models.rng.uniform(-(ins**-0.5), ins**-0.5, shape)
                self.memory[f"adversary/{k}"] = torch.tensor(drawn, dtype=torch.float32, device=device)
        self.weights = [self.memory[f"adversary/{k}"].detach().requires_grad_() for k in range(6)]  # of one storage

    def __call__(self, features: Tensor, *, learns: bool = False) -> Tensor:
        """Its output (B,); its weights get a gradient only where it learns."""
        weights, x = (self.weights if learns else [w.detach() for w in self.weights]), features
        for k in range(0, 6, 2):
            x = F.linear(x if k == 0 else x.relu(), weights[k], weights[k + 1])
        return x[:, 0]

    def descend(self, loss: Tensor) -> None:
        """One step of Adam down the loss."""
        slopes = torch.autograd.grad(loss, self.weights)
        with torch.no_grad():
            count = self.memory.get("adversary/steps", torch.zeros(())) + 1
            self.memory["adversary/steps"] = count
            for k, (weight, slope) in enumerate(zip(self.weights, slopes, strict=True)):
                moments = list[Tensor]()
                for decay, power in zip(DECAYS, (1, 2), strict=True):
                    name = f"adversary/{k}/{power}"
                    mean = self.memory.get(name, torch.zeros_like(slope)).lerp(slope**power, 1 - decay)
                    self.memory[name] = mean
                    moments.append(mean / (1 - decay ** count.item()))
                weight.sub_(self.rate * moments[0] / (moments[1].sqrt() + 1e-8))
