"""The interface of a self-supervised method, and the few functions that methods share."""

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

from hybrid_al.data.views.policies import View
from hybrid_al.models.encoder import Encoder


@dataclass(frozen=True)
class Loss:
    """Loss of one batch of B images.

    total       () the loss that is minimised, with gradient
    per_sample  (B,) the loss of each image, without gradient; None where a method has none
    confidence  (B,) in [0, 1], without gradient: the probability that the network gives to the right answer of its
                pretext task; None where the task is no choice among answers
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
        """Chunks in which a step is computed, one after another, to save memory; their gradients are averaged.

        `loss` sees one chunk: batch norm and contrast reach over `batch / accumulate` images, not over the batch. A
        method with either of them does not gain a larger batch by this.
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
        """All modules that training changes: encoder, heads, decoders, EMA teachers. A method has no other state.

        Under `encoder` lies the given encoder itself, the result of stage 0, whether gradients or averages train it.
        Weights without gradient have `requires_grad` False. Random weights come from torch's global generator, which
        the loop seeds and restores. `example` (2, C, H, W): two images of the pool, on the encoder's device.
        Raises InputError where the method cannot use this encoder, also for an encoder on the device `meta`.
        """
        ...

    def loss(
        self, network: nn.ModuleDict, images: Tensor, views: View, generator: torch.Generator, progress: float
    ) -> Loss:
        """Loss of one batch of images (B, C, H, W) in [0, 1]; `progress` in [0, 1) is the share of steps done.

        Each of several processes has its own B images; their gradients are averaged. A loss that compares images does
        so over all processes (`of_all`), so that the mean of their losses is that of one process with all images.
        """
        ...

    def after_step(self, network: nn.ModuleDict, progress: float) -> None:
        """Updates after the optimiser's step, such as those of a teacher; with the same progress as `loss`."""
        ...


def dim_of(encoder: Encoder, example: Tensor) -> int:
    """Size D of the embeddings; running statistics do not change."""
    was_training = encoder.training
    with torch.no_grad():
        dim = int(encoder.eval()(example).shape[1])
    encoder.train(was_training)
    return dim


def two_views(images: Tensor, views: View, generator: torch.Generator) -> Tensor:
    """Two views of each image as one batch (2B, C, H, W): the first views, then the second ones."""
    pair = torch.cat([views(images, generator), views(images, generator)])
    return pair.contiguous(memory_format=torch.channels_last)


def of_all(values: Tensor) -> Tensor:
    """Rows (B, ...) of this process -> those of all processes (W * B, ...), in their order, without gradient."""
    if dist.world_size() == 1:
        return values
    shards: Sequence[Tensor] = dist.gather(values.detach().contiguous())
    rows: Tensor = torch.cat(list(shards))
    return rows


def local_rows(values: Tensor) -> Tensor:
    """Indices (B,) of the rows of this process in `of_all`."""
    return torch.arange(len(values), device=values.device) + int(dist.rank()) * len(values)


def teacher_of(students: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Copies without gradient, to be updated by `follow`.

    They stay in train mode, like their students: their batch norm uses the statistics of the batch and has running
    statistics of its own, as in the code of BYOL, MoCo v3 and DINO. Only weights are averaged.
    """
    return nn.ModuleDict({name: copy.deepcopy(module) for name, module in students.items()}).requires_grad_(False)


def follow(students: nn.ModuleDict, teacher: nn.ModuleDict, momentum: float) -> None:
    """Move each weight of the teacher: momentum * its own + (1 - momentum) * that of the student of the same name."""
    for name, module in teacher.items():
        update_momentum(students[name], module, momentum)


def rising(start: float, progress: float) -> float:
    """A momentum that climbs from `start` to 1 along half a cosine, as in BYOL, MoCo v3 and DINO."""
    return 1 - (1 - start) * (1 + math.cos(math.pi * progress)) / 2
