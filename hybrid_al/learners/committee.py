"""The networks of a learner: trained member by member, as a file, and as the start of the next round.

A member of a committee is a teacher: one of a training of its own (`Schedule.members`), or of the end of a cycle of one
(`Schedule.cycles`). The first is the teacher of the first training; the others come training by training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from torch import nn

from ..core.learner import Log
from ..core.rng import derive_seed
from ..errors import InputError
from ..models.checkpoint import load_into, load_weights, prefixed, save_weights, without_prefix
from ..train import Schedule

Network = TypeVar("Network", bound=nn.Module)
Result = TypeVar("Result")

Train = Callable[[Network, int, int, Log], tuple[Network, tuple[Network, ...], Result]]
"""(untrained network, number of the member, its seed, log) -> its teacher, snapshots, and what else came of it; the
network itself is trained in place."""


@dataclass(frozen=True)
class Networks(Generic[Network]):
    """What a fit leaves, in eval mode: student and teacher of its first training, and the other members."""

    student: Network
    teacher: Network
    others: tuple[Network, ...] = ()

    @property
    def members(self) -> tuple[Network, ...]:
        """Who answers: the teacher, and the rest of the committee where there is one."""
        return (self.teacher, *self.others)

    def save(self, path: Path) -> None:
        """Write all as one file of safetensors."""
        parts = {"student": self.student, "teacher": self.teacher}
        parts |= {f"member{m}": network for m, network in enumerate(self.others)}
        save_weights(path, {k: v for name, m in parts.items() for k, v in prefixed(name, m.state_dict()).items()})

    @classmethod
    def load(cls, path: Path, make: Callable[[], Network], schedule: Schedule) -> Networks[Network]:
        """What `save` wrote."""
        tensors, count = load_weights(path), schedule.members * schedule.cycles - 1
        names = ("student", "teacher", *(f"member{m}" for m in range(count)))
        student, teacher, *others = (make().eval() for _ in names)
        for name, network in zip(names, (student, teacher, *others), strict=True):
            load_into(network, without_prefix(name, tensors), path)
        return cls(student, teacher.requires_grad_(False), tuple(network.requires_grad_(False) for network in others))


def of_last_fit(networks: Networks[Network] | None, where: object) -> Networks[Network]:
    """The networks of a learner; InputError where it has none yet."""
    if networks is None:
        raise InputError(where, "a learner that was fitted or loaded", "neither")
    return networks


def train_members(
    make: Callable[[int], Network],
    train: Train[Network, Result],
    schedule: Schedule,
    *,
    purpose: str,
    seed: int,
    log: Log,
    previous: Path | None,
) -> tuple[Networks[Network], Result]:
    """Train all members, each from a network of its own; all of them, and what else came of the first training.

    The first has the seed of the round and the log, the others have seeds of their own, derived for a `purpose`.
    """
    students, teachers, results = list[Network](), list[Network](), list[Result]()
    for member in range(schedule.members):
        own, told = (derive_seed(seed, purpose, member), _unheard) if member else (seed, log)
        network = make(own)
        go_on(network, member, schedule, previous)
        teacher, snapshots, result = train(network, member, own, told)
        students.append(network)
        teachers += [*snapshots, teacher] if member else [teacher, *snapshots]
        results.append(result)
    first, *others = (teacher.eval() for teacher in teachers)
    return Networks(students[0].eval(), first, tuple(others)), results[0]


def _unheard(values: Mapping[str, float], step: int) -> None:
    """The log of a training that nobody follows."""


def go_on(network: nn.Module, member: int, schedule: Schedule, previous: Path | None) -> None:
    """Give a network the weights that its training ended the last round with, where the schedule says so."""
    if schedule.start == "last" and previous is not None:
        file, last = previous / "model.safetensors", (member + 1) * schedule.cycles - 2
        load_into(network, without_prefix(f"member{last}" if member else "teacher", load_weights(file)), file)
