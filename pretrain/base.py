"""What a self-supervised method is to the loop, and the few parts that methods share."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from lightly.models.utils import update_momentum
from lightly.utils import dist
from torch import Tensor, nn

from hybrid_al.data.views.policies import ViewPolicy
from hybrid_al.models.encoder import Encoder


@dataclass(frozen=True)
class Loss:
    """What one batch of B images cost.

    total       () what is minimised; its gradient is taken
    per_sample  (B,) the share of each image, without gradient; None where images have none
    confidence  (B,) in [0, 1], without gradient: the probability that the network gives to the right answer of its
                pretext task; None where the task has no right answer among several
    """

    total: Tensor
    per_sample: Tensor | None = None
    confidence: Tensor | None = None


class Method(Protocol):
    """A frozen dataclass of hyper-parameters; its whole loss is in `loss`."""

    @property
    def epochs(self) -> int:
        """Passes over the pool."""
        ...

    @property
    def batch(self) -> int:
        """Images a step, those of all processes together."""
        ...

    @property
    def accumulate(self) -> int:
        """Parts in which a step is computed, one after another, to save memory; their gradients are averaged.

        A part is what `loss` sees: batch norm and contrast reach over `batch / accumulate` images, not over the
        batch. So where a method has either, this is no larger batch.
        """
        ...

    @property
    def lr(self) -> float:
        """Peak learning rate of AdamW."""
        ...

    @property
    def weight_decay(self) -> float:
        """Decoupled weight decay."""
        ...

    def network(self, encoder: Encoder, example: Tensor) -> nn.ModuleDict:
        """All that a training changes, heads, decoders and EMA teachers included; the state of a method is here alone.

        Under `encoder` lies the given encoder itself: what is handed on, whether gradients or averages train it.
        What needs no gradient says so (`requires_grad`). Random weights come from torch's global generator, which
        the loop seeds and puts back. `example` (2, C, H, W) is two images of the pool, on the encoder's device.
        Raises InputError where the method cannot use this encoder; a network on the device `meta` is enough to know.
        """
        ...

    def loss(
        self, network: nn.ModuleDict, images: Tensor, views: ViewPolicy, generator: torch.Generator, progress: float
    ) -> Loss:
        """Loss of one batch of images (B, C, H, W) in [0, 1]; `progress` in [0, 1) is the share of steps done.

        Of several processes each has its B images; gradients are averaged over them. So what compares images reaches
        over all processes (`of_all`), and their losses average to that of one process with all images.
        """
        ...

    def after_step(self, network: nn.ModuleDict, progress: float) -> None:
        """What follows the optimiser's step, such as a teacher that moves; with the same progress as `loss`."""
        ...


def dim_of(encoder: Encoder, example: Tensor) -> int:
    """Size D of the embeddings; running statistics do not change."""
    was_training = encoder.training
    with torch.no_grad():
        dim = int(encoder.eval()(example).shape[1])
    encoder.train(was_training)
    return dim


def two_views(images: Tensor, views: ViewPolicy, generator: torch.Generator) -> Tensor:
    """Two views of each image as one batch (2B, C, H, W): the first views, then the second ones."""
    pair = torch.cat([views(images, generator), views(images, generator)])
    return pair.contiguous(memory_format=torch.channels_last)


def of_all(values: Tensor) -> Tensor:
    """Rows (B, ...) of this process -> those of all processes (W * B, ...), in their order, without gradient."""
    if dist.world_size() == 1:
        return values
    found: Sequence[Tensor] = dist.gather(values.detach().contiguous())
    whole: Tensor = torch.cat(list(found))
    return whole


def own_rows(values: Tensor) -> Tensor:
    """Where the B rows of this process lie in `of_all` (B,)."""
    return torch.arange(len(values), device=values.device) + int(dist.rank()) * len(values)


def teacher_of(students: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Copies that no gradient reaches, to be moved by `follow`.

    They stay in train mode with their students: their batch norm uses the statistics of its own batch and keeps
    running ones of its own, as in the code of BYOL, MoCo v3 and DINO. Only weights are averaged.
    """
    return nn.ModuleDict({name: copy.deepcopy(module) for name, module in students.items()}).requires_grad_(False)


def follow(students: nn.ModuleDict, teacher: nn.ModuleDict, momentum: float) -> None:
    """Move each weight of the teacher: momentum * its own + (1 - momentum) * that of the student of the same name."""
    for name, module in teacher.items():
        update_momentum(students[name], module, momentum)


def rising(start: float, progress: float) -> float:
    """A momentum that climbs from `start` to 1 along half a cosine, as in BYOL, MoCo v3 and DINO."""
    return 1 - (1 - start) * (1 + math.cos(math.pi * progress)) / 2
