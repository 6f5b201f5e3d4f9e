"""What tests of objectives start with: a linear student, one batch of each kind, and softmax by NumPy."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from hybrid_al.semi import OBJECTIVES
from hybrid_al.semi.base import Labeled, Models, Unlabeled
from hybrid_al.semi.ema import make_teacher

CLASSES, DIM = 3, 5
EVIDENCE = {
    "evidential",
    "distinctive_margin",
    "tod",
    "boostmis",
    "adversarial_twin",
}  # a loss of its own on labels, for queries by it
# for a target beside a source: not in the study of the objectives
DOMAINS = {"energy", "mme", "dann", "waal", "shot", "anchors", "divide"}
SEMI = [name for name, kind in OBJECTIVES.items() if kind().uses_unlabeled and name not in EVIDENCE | DOMAINS]


def batch(
    seed: int = 0, scale: float = 20.0, classes: int = CLASSES, unlabeled: int = 8
) -> tuple[Models, Labeled, Unlabeled]:
    """A linear student with confident outputs, a teacher that differs from it, and one batch of each kind."""
    generator = torch.Generator().manual_seed(seed)
    student = nn.Linear(DIM, classes)
    with torch.no_grad():
        student.weight.copy_(torch.randn(classes, DIM, generator=generator) * scale)
        student.bias.zero_()
    teacher = make_teacher(student)
    with torch.no_grad():
        teacher.weight.add_(torch.randn(classes, DIM, generator=generator))
    labeled = Labeled(torch.randn(6, DIM, generator=generator), torch.arange(6) % classes)
    weak = torch.randn(unlabeled, DIM, generator=generator)
    strong = weak + 0.5 * torch.randn(unlabeled, DIM, generator=generator)
    rows = np.arange(unlabeled)
    return Models(student, teacher), labeled, Unlabeled(rows, weak, strong, rows)


def steps(classes: int, scale: float, n: int = 6) -> tuple[Models, list[tuple[Labeled, Unlabeled]]]:
    """A student, and batches of eight from 20 unlabeled samples at manifest positions 3, 5, ... 41."""
    models, _, _ = batch(scale=scale, classes=classes)
    generator, rng = torch.Generator().manual_seed(1), np.random.default_rng(1)
    all_indices, batches = np.arange(20) * 2 + 3, []
    for _ in range(n):
        y = torch.randint(min(classes, 2), (6,), generator=generator)  # two classes alone, and not evenly
        labeled = Labeled(torch.randn(6, DIM, generator=generator), y)
        weak = torch.randn(8, DIM, generator=generator)
        strong = weak + 0.5 * torch.randn(8, DIM, generator=generator)
        batches.append((labeled, Unlabeled(rng.choice(all_indices, 8, replace=False), weak, strong, all_indices)))
    return models, batches


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def logits(network: nn.Module, x: Tensor) -> np.ndarray:
    assert isinstance(network, nn.Linear)
    return np.asarray(x.numpy() @ network.weight.detach().numpy().T + network.bias.detach().numpy())


def cross_entropy(scores: np.ndarray, y: Tensor) -> float:
    return float(np.mean([-math.log(p[c]) for p, c in zip(softmax(scores), y.tolist(), strict=True)]))
