"""Random numbers for the images of a batch: the same whether one process has all of them or several share them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Share(torch.Generator):
    """A generator that `world` processes seed alike; what they draw for a batch is dealt out to them in order."""

    rank: int = 0
    world: int = 1


def generator(seed: int, rank: int = 0, world: int = 1) -> torch.Generator:
    """For process `rank` of `world`; a plain one where it is the only one."""
    if world == 1:
        return torch.Generator().manual_seed(seed)
    shared = Share()
    shared.rank, shared.world = rank, world
    return shared.manual_seed(seed)


def rand(shape: Sequence[int], source: torch.Generator) -> Tensor:
    """Uniform numbers (B, ...) in [0, 1); with a `Share`, what one process with all images would draw for these."""
    if not isinstance(source, Share):
        return torch.rand(shape, generator=source)
    b = shape[0]
    whole = torch.rand((source.world * b, *shape[1:]), generator=source)
    return whole[source.rank * b : (source.rank + 1) * b]


def randn(shape: Sequence[int], source: torch.Generator) -> Tensor:
    """Normal numbers (B, ...); with a `Share`, each process has its own.

    They are noise, one a pixel: to draw those of all processes would cost each of them `world` times as much.
    """
    if not isinstance(source, Share):
        return torch.randn(shape, generator=source)
    seeds = torch.randint(2**62, (source.world,), generator=source)
    return torch.randn(shape, generator=torch.Generator().manual_seed(int(seeds[source.rank])))
