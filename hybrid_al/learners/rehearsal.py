"""A few steps of training on noise, to measure their time before there are any labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat

import numpy as np
import torch
from torch import Tensor, nn

from ..core.types import IntArray
from ..data.loaders import Inputs
from ..models.classifier import Classifier
from ..models.encoder import Encoder
from ..models.segmenter import Committee, Segmenter
from ..semi.base import Labeled, Objective
from ..semi.dense.base import DenseObjective, UnlabeledPixels
from ..train import Schedule, Sets, fit, learn


class _Noise(Inputs):
    """Inputs of a shape, filled with noise."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def plain(self, indices: IntArray) -> Tensor:
        return torch.rand(len(indices), *self.shape)

    def weak(self, indices: IntArray, generator: torch.Generator) -> Tensor:
        return self.plain(indices)

    def strong(self, indices: IntArray, generator: torch.Generator) -> Tensor:
        return self.plain(indices)

    def views(self, indices: IntArray, count: int, generator: torch.Generator) -> Iterator[Tensor]:
        return (self.plain(indices) for _ in range(count))


def rehearse_classes(
    encoder: Encoder,
    shape: tuple[int, ...],
    classes: int,
    objective: Objective,
    schedule: Schedule,
    *,
    steps: int,
    frozen: bool,
    multilabel: bool,
) -> None:
    """Train for `steps` steps on noise images of a shape (C, H, W); with `frozen`, only a head on embeddings."""
    with torch.no_grad():
        dim = int(encoder.eval()(torch.zeros(1, *shape)).shape[1])
    body: nn.Module = nn.Identity() if frozen else encoder
    pairs = getattr(objective, "pairs", False)
    network = Classifier(body, dim, classes, dropout=0.2, seed=0, multilabel=multilabel, pairs=pairs)
    labeled = np.arange(2 * classes, dtype=np.int64)
    unlabeled = np.arange(2 * classes, 2 * classes + schedule.batch * schedule.ratio, dtype=np.int64)
    targets = np.eye(classes, dtype=np.int64)[labeled % classes] if multilabel else labeled % classes
    sets = Sets(labeled, targets, unlabeled, len(labeled) + len(unlabeled))
    short = replace(schedule, steps=steps, min_steps=steps, cycles=1)
    noise = _Noise(dim) if frozen else _Noise(*shape)
    fit(network, objective, noise, sets, short, seed=0, log=lambda *_: None)


def rehearse_masks(
    network: Segmenter | Committee,
    shape: tuple[int, int, int],
    objective: DenseObjective,
    schedule: Schedule,
    *,
    steps: int,
) -> None:
    """Train a network for `steps` steps on noise images of a shape (C, H, W) with masks."""
    channels, height, width = shape
    images = torch.rand(schedule.batch, channels, height, width)
    unlabeled_images = torch.rand(schedule.batch * schedule.ratio, channels, height, width)
    labeled = Labeled(images, torch.zeros(len(images), height, width, dtype=torch.long))
    valid = torch.ones(len(unlabeled_images), height, width) > 0
    further_views = (unlabeled_images,) * (objective.strong_views - 1)
    unlabeled = UnlabeledPixels(
        np.arange(len(unlabeled_images)), unlabeled_images, unlabeled_images, valid, further_views
    )
    batches = repeat((np.arange(len(images)), labeled, unlabeled if objective.uses_unlabeled else None))
    quiet = lambda *_: None  # noqa: E731
    learn(network, objective.step, batches, quiet, replace(schedule, cycles=1), steps=steps, seed=0, log=quiet)
