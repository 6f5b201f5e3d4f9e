"""The networks that a fit leaves, as a file and as the start of the next: student, teacher, other members.

A member of a committee is a teacher: one of a training of its own (`Schedule.members`), or of the end of a cycle of one
(`Schedule.cycles`). The first is the teacher of the first training; the others come training by training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from torch import nn

from ..models.checkpoint import load_into, load_weights, prefixed, save_weights, without_prefix
from ..train import Schedule

Network = TypeVar("Network", bound=nn.Module)


def save_networks(path: Path, student: nn.Module, teacher: nn.Module, others: Sequence[nn.Module]) -> None:
    """Write all as one file of safetensors."""
    parts = {"student": student, "teacher": teacher} | {f"member{m}": network for m, network in enumerate(others)}
    save_weights(path, {k: v for name, m in parts.items() for k, v in prefixed(name, m.state_dict()).items()})


def load_networks(
    path: Path, make: Callable[[], Network], schedule: Schedule
) -> tuple[Network, Network, tuple[Network, ...]]:
    """Student, teacher and others as `save_networks` wrote them, in eval mode."""
    tensors, count = load_weights(path), schedule.members * schedule.cycles - 1
    names = ("student", "teacher", *(f"member{m}" for m in range(count)))
    student, teacher, *others = (make().eval() for _ in names)
    for name, network in zip(names, (student, teacher, *others), strict=True):
        load_into(network, without_prefix(name, tensors), path)
    return student, teacher.requires_grad_(False), tuple(network.requires_grad_(False) for network in others)


def go_on(network: nn.Module, member: int, schedule: Schedule, previous: Path | None) -> None:
    """Give a network the weights that its training ended the last round with, where the schedule says so."""
    if schedule.start == "last" and previous is not None:
        file, last = previous / "model.safetensors", (member + 1) * schedule.cycles - 2
        load_into(network, without_prefix(f"member{last}" if member else "teacher", load_weights(file)), file)
