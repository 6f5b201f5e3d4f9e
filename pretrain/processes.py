"""The processes of a stage 0: this one, or those that torchrun started; Fabric over all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch

from hybrid_al.core.parent import leave_with
from hybrid_al.errors import HybridALError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

GO_ON = "the same command goes on from the last checkpoint of stage 0"


def world() -> int:
    """Number of processes that torchrun started, on all machines; 1 without it."""
    return _number("WORLD_SIZE", 1)


def rank() -> int:
    """Rank of this process. Process 0 writes files and messages, the others only train."""
    return _number("RANK", 0)


def leave_with_launcher() -> None:
    """End this process, where it is one of several, once torchrun is no more."""
    if world() > 1:
        leave_with(os.getppid())


def fabric(device: torch.device) -> Fabric:
    """Fabric on one device; under torchrun on the same kind of device, one each process, joined by DDP.

    A GPU computes in bfloat16 where it can (weights, optimiser and losses stay in float32). A CPU never does: without
    instructions for it, autocast is 10 to 50 times slower.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    cuda = device.type == "cuda"
    precision: Literal["bf16-mixed", "32-true"]
    precision = "bf16-mixed" if cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if world() == 1:
        return Fabric(accelerator=device.type, devices=[device.index or 0] if cuda else 1, precision=precision)
    local = _number("LOCAL_WORLD_SIZE", 1)
    # a method may train a part of its network in some steps only, as DINO does with its last layer
    strategy = DDPStrategy(find_unused_parameters=True)
    ddp = Fabric(
        accelerator=device.type, devices=local, num_nodes=world() // local, strategy=strategy, precision=precision
    )
    ddp.launch()
    return ddp


@contextmanager
def joined() -> Iterator[None]:
    """HybridALError in the place of what the network says once another of several processes has ended."""
    try:
        yield
    except RuntimeError as error:
        if world() == 1 or not (isinstance(error, torch.distributed.DistError) or "gloo" in str(error)):
            raise
        raise HybridALError(f"torchrun: process {rank()} lost another one; {GO_ON}") from error


def _number(name: str, otherwise: int) -> int:
    """A number from torchrun; other launchers set variables of these names, too."""
    return int(os.environ[name]) if "TORCHELASTIC_RUN_ID" in os.environ else otherwise
