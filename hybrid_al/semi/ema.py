"""The teacher: an exponential moving average of the student, parameters and buffers alike."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def make_teacher(student: Network) -> Network:
    """A frozen copy in eval mode."""
    teacher = copy.deepcopy(student).eval()
    return teacher.requires_grad_(False)


def averaging(teacher: nn.Module, student: nn.Module, *, decay: float) -> Callable[[int], None]:
    """Function that updates the teacher at a step, with the decay min(decay, (1 + step) / (10 + step)).

    Batch-norm statistics are averaged with the weights they belong to; counters are copied. The tensors are looked up
    here, once, as that took most of the time: a tensor that replaces one of them later takes no part.
    """
    pairs = list(zip(_tensors(teacher), _tensors(student), strict=True))
    averaged = [old for old, _ in pairs if old.is_floating_point()]
    towards = [new for old, new in pairs if old.is_floating_point()]
    counters = [(old, new) for old, new in pairs if not old.is_floating_point()]

    @torch.no_grad()
    def update(step: int) -> None:
        torch._foreach_lerp_(averaged, towards, 1 - min(decay, (1 + step) / (10 + step)))
        for old, new in counters:
            old.copy_(new)

    return update


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]
