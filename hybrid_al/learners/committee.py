"""The networks of a learner: trained member by member, as a file, and as the start of the next round.

A member of a committee is a teacher: of a training of its own (`Schedule.members`), or at the end of a cycle of a
training (`Schedule.cycles`). The first member is the teacher of the first training; the others follow in the order of
their trainings.
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
"""(untrained network, number of the member, its seed, log) -> its teacher, snapshots, and a further result; the network
itself is trained in place."""


@dataclass(frozen=True)
class Networks(Generic[Network]):
    """The networks of a fit, in eval mode: student and teacher of its first training, and the other members."""

    student: Network
    teacher: Network
    others: tuple[Network, ...] = ()

    @property
    def members(self) -> tuple[Network, ...]:
        """The networks that predict: the teacher, and the other members of a committee."""
        return (self.teacher, *self.others)

    def save(self, path: Path) -> None:
        """Write all networks as one file of safetensors."""
        networks = {"student": self.student, "teacher": self.teacher}
        networks |= {f"member{m}": network for m, network in enumerate(self.others)}
        save_weights(path, {k: v for name, m in networks.items() for k, v in prefixed(name, m.state_dict()).items()})

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
    """Train all members, each from its own network; returns the networks, and the result of the first training.

    The first member has the seed of the round and the log. The others are not logged; their seeds are derived for a
    `purpose`.
    """
    students, teachers, results = list[Network](), list[Network](), list[Result]()
    for member in range(schedule.members):
        member_seed, member_log = (derive_seed(seed, purpose, member), _no_log) if member else (seed, log)
        network = make(member_seed)
        warm_start(network, member, schedule, previous)
        teacher, snapshots, result = train(network, member, member_seed, member_log)
        students.append(network)
        teachers += [*snapshots, teacher] if member else [teacher, *snapshots]
        results.append(result)
    first, *others = (teacher.eval() for teacher in teachers)
    return Networks(students[0].eval(), first, tuple(others)), results[0]


def _no_log(values: Mapping[str, float], step: int) -> None:
    """The log of a training that is not logged."""


def warm_start(network: nn.Module, member: int, schedule: Schedule, previous: Path | None) -> None:
    """Load the weights of this member at the end of the last round, where the schedule starts from them."""
    if schedule.start == "last" and previous is not None:
        file, last = previous / "model.safetensors", (member + 1) * schedule.cycles - 2
        load_into(network, without_prefix(f"member{last}" if member else "teacher", load_weights(file)), file)
