"""DINO (Caron et al. 2021): match the sharpened, centred code of a slow copy for the other view."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import cast

import torch
from lightly.models.modules import DINOProjectionHead
from lightly.models.modules.center import Center
from torch import Tensor, nn

from hybrid_al.core.registry import Amount, Count, Positive, Share, Whole, hyperparameters
from hybrid_al.data.views.policies import View
from hybrid_al.models.encoder import Encoder

from .base import Loss, dim_of, follow, rising, two_views


@dataclass(frozen=True)
@hyperparameters
class DINO:
    """Cross-entropy between the codes of teacher and student for two views; section 3.1, algorithm 1 of the paper.

    The result is the teacher's encoder, the better one (section 5.2). Two views of the full size, no
    small ones: the paper's multi-crop wants images larger than those here.

    codes         paper: 65536 (appendix C); fewer for small pools
    hidden        paper: 2048; narrower for small encoders
    batch_norm    in the head; the paper has none for ViT. Here without it all codes become alike within tens of
                  steps and the loss stays at log(codes): 64 drawn cells, 160 steps, 3.47 = log(32) against 2.88 with
    temperatures  student 0.1, teacher 0.04 throughout (the code's default; the paper warms up to 0.07)
    centering     decay of the running mean of the teacher's outputs, 0.9 as published
    momentum      start of the teacher's; paper: 0.996 over 125,000 steps; a stage 0 here has hundreds: 0.99
    frozen        epochs in which the last layer of the head is not trained; 1 as in the paper's code
    """

    epochs: Count = 8
    batch: Count = 256
    accumulate: Count = 1
    lr: Positive = 5e-4
    weight_decay: Amount = 0.04
    codes: Count = 1024
    hidden: Count = 512
    bottleneck: Count = 256
    batch_norm: bool = True
    student_temperature: Positive = 0.1
    teacher_temperature: Positive = 0.04
    centering: Share = 0.9
    momentum: Share = 0.99
    frozen: Whole = 1

    def network(self, encoder: Encoder, example: Tensor) -> nn.ModuleDict:
        """Teacher (`encoder`, `head`), student, and the centre of the teacher's outputs."""
        dim = dim_of(encoder, example)
        student = nn.ModuleDict({"encoder": copy.deepcopy(encoder), "head": self._head(dim)})
        head = self._head(dim)
        head.load_state_dict(student["head"].state_dict())
        center = Center(size=(1, self.codes), momentum=self.centering)
        teacher = {"encoder": encoder.requires_grad_(False), "head": head.requires_grad_(False)}
        return nn.ModuleDict({**teacher, "student": student, "center": center})

    def _head(self, dim: int) -> nn.Module:
        with warnings.catch_warnings():  # lightly builds it on torch's older weight_norm
            warnings.filterwarnings("ignore", message=".*weight_norm. is deprecated", category=FutureWarning)
            return cast(nn.Module, DINOProjectionHead(dim, self.hidden, self.bottleneck, self.codes, self.batch_norm))

    def loss(
        self, network: nn.ModuleDict, images: Tensor, views: View, generator: torch.Generator, progress: float
    ) -> Loss:
        """See `Method.loss`; an image's share is the mean of its two directions. Moves the centre."""
        pair = two_views(images, views, generator)
        student, center = cast(nn.ModuleDict, network["student"]), cast(Center, network["center"])
        last = cast(nn.Module, student["head"].last_layer)
        cast(nn.Parameter, last.weight_v).requires_grad_(progress * self.epochs >= self.frozen)
        with torch.no_grad():
            codes = network["head"](network["encoder"](pair))
            first, second = ((codes - center.value) / self.teacher_temperature).softmax(dim=1).chunk(2)
            center.update(codes)
        logs = (student["head"](student["encoder"](pair)) / self.student_temperature).log_softmax(dim=1)
        costs = -(torch.cat([second, first]) * logs).sum(dim=1)
        per_sample = costs.view(2, -1).mean(dim=0)
        return Loss(per_sample.mean(), per_sample.detach())

    def after_step(self, network: nn.ModuleDict, progress: float) -> None:
        """Update the teacher."""
        student, momentum = cast(nn.ModuleDict, network["student"]), rising(self.momentum, progress)
        follow(student, nn.ModuleDict({name: network[name] for name in student}), momentum)
