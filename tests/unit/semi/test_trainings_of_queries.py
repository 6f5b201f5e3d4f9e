"""Objectives that papers pair with a query (TOD, BoostMIS, DFAL) against slow references and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hybrid_al.semi.adversarial_twin import AdversarialTwin, twins
from hybrid_al.semi.base import Labeled, Models, Unlabeled
from hybrid_al.semi.boostmis import BoostMIS
from hybrid_al.semi.ema import make_teacher
from hybrid_al.semi.tod import TOD

CLASSES, DIM = 3, 5


def networks(seed: int = 0, scale: float = 1.0) -> Models:
    torch.manual_seed(seed)
    student = nn.Linear(DIM, CLASSES)
    with torch.no_grad():
        student.weight.mul_(scale)
    teacher = make_teacher(student)
    with torch.no_grad():
        teacher.weight.add_(torch.randn(CLASSES, DIM))
    return Models(student, teacher)


def batches(count: int, seed: int = 1) -> list[tuple[Labeled, Unlabeled]]:
    generator, rng, rows = torch.Generator().manual_seed(seed), np.random.default_rng(seed), np.arange(12) * 2 + 1

    def draw(n: int) -> Tensor:
        return torch.randn(n, DIM, generator=generator)

    return [
        (
            Labeled(draw(6), torch.arange(6) % CLASSES),
            Unlabeled(rng.choice(rows, 8, replace=False), draw(8), draw(8), rows),
        )
        for _ in range(count)
    ]


def logits(network: nn.Module, x: Tensor) -> np.ndarray:
    assert isinstance(network, nn.Linear)
    return np.asarray(x.numpy() @ network.weight.detach().numpy().T + network.bias.detach().numpy(), dtype=np.float64)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def test_tod_equals_the_slow_reference() -> None:
    models, [(labeled, unlabeled)] = networks(), batches(1)
    step = TOD(weight=0.3).step(models, labeled, unlabeled, 0.0)
    total = 0.0
    for x in (labeled.x, unlabeled.weak):
        gaps = [
            (a - b) ** 2 for a, b in zip(logits(models.student, x).flat, logits(models.teacher, x).flat, strict=True)
        ]
        total += sum(gaps) / len(gaps)
    assert step.logs["loss_discrepancy"].item() == pytest.approx(total, rel=1e-5)
    assert step.loss.item() == pytest.approx(step.logs["loss_labeled"].item() + 0.3 * total, rel=1e-5)
    step.loss.backward()  # type: ignore[no-untyped-call]
    assert next(models.teacher.parameters()).grad is None


def test_boostmis_equals_the_slow_reference_over_several_steps() -> None:
    """The confident samples of a class now over those at the checkpoint before, 1 at most; then the whole threshold."""
    models, objective = networks(scale=2.0), BoostMIS(learning=0.6, time=0.3, rampup=0.5)
    won: dict[int, int] = {}
    before, checkpoint, rates = [0] * CLASSES, 0, []
    for (labeled, unlabeled), progress in zip(batches(8), [0.0, 0.05, 0.12, 0.25, 0.3, 0.42, 0.5, 0.9], strict=True):
        counts = [sum(k == c for k in won.values()) for c in range(CLASSES)]
        status = [min(1, n / b) if b else 1 for n, b in zip(counts, before, strict=True)]
        if int(10 * progress) > checkpoint:
            checkpoint, before = int(10 * progress), counts
        limits = [0.9 if progress >= 0.5 else 0.6 * s + 0.3 * progress / 0.5 for s in status]
        weak, strong = (softmax(logits(models.student, v)) for v in (unlabeled.weak, unlabeled.strong))
        total, open_ = 0.0, 0
        for row, w, s in zip(unlabeled.indices.tolist(), weak, strong, strict=True):
            k = int(w.argmax())
            won.pop(row, None)
            if w[k] >= limits[k]:
                won[row], total, open_ = k, total - math.log(s[k]), open_ + 1
        step = objective.step(models, labeled, unlabeled, progress)
        assert step.logs["mask_rate"].item() == open_ / 8
        assert step.logs["loss_unlabeled"].item() == pytest.approx(total / 8, rel=1e-5)
        rates.append(open_ / 8)
    assert len(set(rates)) > 2


def test_a_twin_lies_just_beyond_the_nearest_boundary_and_keeps_its_label() -> None:
    """In a linear network the step is exact: the least change of features (`boundary_distance`), and a bit more."""
    models, [(labeled, _)] = networks(), batches(1)
    moved = twins(models.student, labeled.x, rivals=CLASSES, overshoot=0.02)
    student = models.student
    assert isinstance(student, nn.Linear)
    weight, z = student.weight.detach().numpy(), logits(student, labeled.x)
    for x, y, scores in zip(labeled.x.numpy(), moved.numpy(), z, strict=True):
        c = int(scores.argmax())
        lengths = [(scores[c] - scores[k]) / np.linalg.norm(weight[c] - weight[k]) for k in range(CLASSES) if k != c]
        assert np.linalg.norm(y - x) == pytest.approx(1.02 * min(lengths), rel=1e-4)
    assert (logits(models.student, moved).argmax(axis=1) != z.argmax(axis=1)).all()
    assert student.training and student.weight.grad is None

    step = AdversarialTwin(weight=0.5, rivals=CLASSES).step(models, labeled, None, 0.0)
    losses = [
        -np.log(softmax(logits(models.student, v))[np.arange(6), labeled.y.numpy()]).mean() for v in (labeled.x, moved)
    ]
    assert step.loss.item() == pytest.approx((losses[0] + 0.5 * losses[1]) / 1.5, rel=1e-4)


def test_a_sample_without_slope_has_itself_as_its_twin() -> None:
    flat = nn.Linear(DIM, CLASSES)
    nn.init.zeros_(flat.weight)
    x = torch.randn(4, DIM)
    assert torch.equal(twins(flat, x, rivals=2, overshoot=0.02), x)
