"""Random numbers for the images of a batch: the same in one process with all images and in several with shares."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Share(torch.Generator):
    """A generator with the same seed in `world` processes, which share the numbers of a batch in order of rank."""

    rank: int = 0
    world: int = 1


def generator(seed: int, rank: int = 0, world: int = 1) -> torch.Generator:
    """The generator of process `rank` of `world`; a plain one for a single process."""
    if world == 1:
        return torch.Generator().manual_seed(seed)
    share = Share()
    share.rank, share.world = rank, world
    return share.manual_seed(seed)


def rand(shape: Sequence[int], source: torch.Generator) -> Tensor:
    """Uniform numbers (B, ...) in [0, 1); with a `Share`, the draws of one process with all images for this share."""
    if not isinstance(source, Share):
        return torch.rand(shape, generator=source)
    b = shape[0]
    numbers = torch.rand((source.world * b, *shape[1:]), generator=source)
    return numbers[source.rank * b : (source.rank + 1) * b]


def randn(shape: Sequence[int], source: torch.Generator) -> Tensor:
    """Normal numbers (B, ...); with a `Share`, each process has its own.

    They are noise, one number a pixel: drawing those of all processes would cost each of them `world` times as much.
    """
    if not isinstance(source, Share):
        return torch.randn(shape, generator=source)
    seeds = torch.randint(2**62, (source.world,), generator=source)
    return torch.randn(shape, generator=torch.Generator().manual_seed(int(seeds[source.rank])))


def number(source: torch.Generator) -> int:
    """A whole number from 0 to 2**62; the same in all processes of a `Share`."""
    return int(torch.randint(2**62, (1,), generator=source))
