"""Input and output of an objective: the only module that objectives share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.types import IntArray
from ..models.classifier import Dropout

DROPOUTS = (Dropout, nn.modules.dropout._DropoutNd)


@dataclass(frozen=True)
class Models:
    """The two networks of a fit, x -> logits (B, C), and what an objective remembers between its steps.

    With `multilabel`, logits are (B, 2, L) and classes y (B, L): each of the L labels is a question of two classes.
    Objectives take the softmax over axis 1 and leave further axes alone, so they serve both tasks.

    The student is in train mode and receives gradients. The teacher is its moving average, in eval mode, and receives
    none. `memory` and `rng` are new in each fit; an objective itself keeps no state. `round` is that of the fit, 0 the
    first.
    """

    student: nn.Module
    teacher: nn.Module
    memory: dict[str, Tensor] = field(default_factory=dict)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    round: int = 0


@dataclass(frozen=True)
class Labeled:
    """Weak views x (B, ...) of labeled samples and their classes y (B,).

    source (B,): whether a sample is of the source, whose labels are given; None where there is none.
    """

    x: Tensor
    y: Tensor
    source: Tensor | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Unlabeled:
    """Weak and strong views (U, ...) of samples without labels, and their distinct manifest positions (U,).

    all_indices  (N,) positions of all unlabeled samples of the fit, from which batches are drawn
    """

    indices: IntArray
    weak: Tensor
    strong: Tensor
    all_indices: IntArray


@dataclass(frozen=True)
class Evidence:
    """Class probabilities (U, C) of the two views of each unlabeled sample of a step, without gradient."""

    indices: IntArray
    weak: Tensor
    strong: Tensor

    def probs(self) -> tuple[Tensor, Tensor]:
        """The probabilities (U, C) of the weak and of the strong views."""
        return self.weak, self.strong


class LogitEvidence(Evidence):
    """Evidence that holds logits; the record takes the softmax of many steps at once.

    For objectives that need no probabilities themselves: a softmax in every step is 1 % of a `frozen` step.
    """

    def probs(self) -> tuple[Tensor, Tensor]:
        """See `Evidence.probs`; of few classes a softmax along columns takes a thirtieth of the time along rows."""
        columns = (logits.float().movedim(1, 0).contiguous() for logits in (self.weak, self.strong))
        weak, strong = (logits.softmax(dim=0).movedim(0, 1) for logits in columns)
        return weak, strong


@dataclass(frozen=True)
class Step:
    """One step's loss (a scalar with gradient), its named terms, and the evidence for the consistency record."""

    loss: Tensor
    logs: Mapping[str, Tensor]
    evidence: Evidence | None = None


class Objective(Protocol):
    """A semi-supervised loss: a frozen dataclass of hyper-parameters; its whole loss is in `step`.

    It may say of itself: `own_loss` (its loss on labels is not cross-entropy alone, so that a solved head is trained
    on), `pairs` (with several labels a sample it wants two outputs a label), `trains_features` (not over fixed ones).
    """

    @property
    def uses_unlabeled(self) -> bool:
        """Whether `step` uses unlabeled batches."""
        ...

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """The loss of one step; `progress` runs from 0 to 1 over the fit; `unlabeled` is None when none are left."""
        ...


def cross_entropy_step(models: Models, labeled: Labeled) -> Step:
    """Cross-entropy on the labels: the step of every objective when no unlabeled samples are left."""
    loss = F.cross_entropy(models.student(labeled.x), labeled.y)
    return Step(loss, {"loss_labeled": loss.detach()})


@contextmanager
def without_dropout(network: nn.Module) -> Iterator[None]:
    """Passes of `network` without dropout, for targets; all else is as it was, so batch norm sees the batch.

    The networks of the papers on pseudo-labels have no dropout. A target with the noise of one pass is less confident
    and more often wrong than the network, and noise is what the other side of a consistency term is for.
    """
    dropouts = [module for module in network.modules() if isinstance(module, DROPOUTS) and module.training]
    for dropout in dropouts:
        dropout.eval()
    try:
        yield
    finally:
        for dropout in dropouts:
            dropout.train()


def passes(models: Models, labeled: Labeled, unlabeled: Unlabeled) -> tuple[Tensor, Tensor, Tensor]:
    """The student's logits of labeled samples (B, C), of strong views (U, C), and of weak views.

    Those of weak views are for targets: without gradient and without dropout.
    """
    with torch.no_grad(), without_dropout(models.student):
        logits_weak = models.student(unlabeled.weak)
    # one pass for labeled and strong views: batch norm sees one batch
    logits = models.student(torch.cat([labeled.x, unlabeled.strong]))
    logits_labeled, logits_strong = logits.split([len(labeled.x), len(unlabeled.strong)])
    return logits_labeled, logits_strong, logits_weak


def running_mean(models: Models, name: str, value: Tensor, *, decay: float, start: float | None = None) -> Tensor:
    """Running mean of a value over a fit, in `models.memory[name]`; begins at the first value, or at `start`."""
    first = value if start is None else torch.full_like(value, start)
    mean = decay * models.memory.get(name, first) + (1 - decay) * value
    models.memory[name] = mean
    return mean


def align(probs: Tensor, prior: Tensor, models: Models, *, decay: float = 0.99) -> Tensor:
    """Distribution alignment: probs (U, C, ...) rescaled so that their running mean approaches prior (C, ...).

    ReMixMatch (Berthelot et al. 2020), section 3.1. The running mean lives in `models.memory`.
    """
    mean = running_mean(models, "aligned_mean", probs.mean(dim=0), decay=decay)
    scaled = probs * (prior / mean.clamp_min(1e-6))
    return scaled / scaled.sum(dim=1, keepdim=True)


def class_prior(labeled: Labeled, classes: int, models: Models, *, decay: float = 0.99) -> Tensor:
    """Running class shares (C, ...) of the labeled batches, smoothed by one pseudo-count a class."""
    counts = one_hot(labeled.y, classes).sum(dim=0) + 1
    return running_mean(models, "labeled_prior", counts / counts.sum(dim=0), decay=decay)


def one_hot(y: Tensor, classes: int) -> Tensor:
    """Classes (B, ...) as numbers (B, C, ...) of float32."""
    return F.one_hot(y, classes).movedim(-1, 1).float()


def ramp_up(progress: float, share: float) -> float:
    """exp(-5 (1 - t)^2) over the first `share` of the fit, then 1, as Laine and Aila (ICLR 2017)."""
    return math.exp(-5 * (1 - min(progress / share, 1)) ** 2) if share > 0 else 1.0


def ramp_linear(progress: float, end: float, start: float = 0.0) -> float:
    """0 up to the share `start` of the fit, 1 from the share `end` on, linear between them."""
    if progress >= end:
        return 1.0
    return (progress - start) / (end - start) if progress > start else 0.0
