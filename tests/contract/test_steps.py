"""Every objective and dense objective, and one of each from outside: what a training may rely on, whatever the loss.

That the unsupervised term moves the student is in tests/unit/semi, over the registries too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hybrid_al.core.registry import component
from hybrid_al.core.types import IGNORE
from hybrid_al.models.segmenter import Committee
from hybrid_al.semi import OBJECTIVES
from hybrid_al.semi.base import Labeled, Models, Step, Unlabeled
from hybrid_al.semi.dense import DENSE_OBJECTIVES
from hybrid_al.semi.dense.base import UnlabeledPixels
from hybrid_al.semi.ema import make_teacher
from hybrid_al.testing import unchanged_random_state
from tests.helpers.outside import HERE

C, DIM, SIDE, U = 3, 4, 6, 5


class Pixels(nn.Conv2d):
    """A network that looks at single pixels; what stands for its features are the channels of the image."""

    def __init__(self) -> None:
        super().__init__(2, C, 1)
        self.stride: Any = 1

    def decoded(self, images: Tensor) -> Tensor:
        return images

    def classify(self, decoded: Tensor, size: torch.Size) -> Tensor:
        return self(decoded)  # type: ignore[no-any-return]

    def outputs(self, images: Tensor) -> list[Tensor]:
        return [self(images), self(images.flip(3))]

    def perturbed(self, images: Tensor, share: float) -> Tensor:
        return self(nn.functional.dropout2d(images, share))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Batch:
    """An objective with all that a step takes; `step` makes networks and generators anew."""

    objective: Any
    network: Callable[[], nn.Module]
    labeled: Labeled
    unlabeled: Any

    def step(self, progress: float, *, unlabeled: bool = True) -> tuple[Step, Models]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            student = self.network()
            models = Models(student.train(), make_teacher(student), rng=np.random.default_rng(0))
            inputs = self.unlabeled if unlabeled and self.objective.uses_unlabeled else None
            return self.objective.step(models, self.labeled, inputs, progress), models


def batch(kind: str, name: str) -> Batch:
    """Eight labeled and five unlabeled samples, as vectors or as images."""
    generator, rows = torch.Generator().manual_seed(1), np.arange(U) + 7
    if kind == "class":
        x, weak = torch.randn(8, DIM, generator=generator), torch.randn(U, DIM, generator=generator)
        views = weak, weak + 0.1
        objective = component(OBJECTIVES, "train", name, {})
        unlabeled = Unlabeled(rows, *views, np.arange(20))
        return Batch(objective, lambda: nn.Linear(DIM, C), Labeled(x, torch.arange(8) % C), unlabeled)
    dense = component(DENSE_OBJECTIVES, "train", name, {})
    x, weak = (torch.randn(n, 2, SIDE, SIDE, generator=generator) for n in (8, U))
    y = torch.randint(C, (8, SIDE, SIDE), generator=generator)
    y[0] = IGNORE
    valid = torch.ones(U, SIDE, SIDE, dtype=torch.bool)
    valid[0, :3] = False
    strong, *others = (weak + 0.1 * k for k in range(1, 1 + dense.strong_views))

    def network() -> nn.Module:
        members: list[Any] = [Pixels() for _ in range(dense.networks)]
        return Committee(members) if len(members) > 1 else members[0]

    return Batch(dense, network, Labeled(x, y), UnlabeledPixels(rows, weak, strong, valid, tuple(others)))


objectives = pytest.mark.parametrize(
    ("kind", "name"),
    [("class", name) for name in [*OBJECTIVES, f"{HERE}:Objective"]]
    + [("pixels", name) for name in [*DENSE_OBJECTIVES, f"{HERE}:DenseObjective"]],
)


@objectives
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_a_step_has_a_finite_loss_that_moves_the_student_alone(kind: str, name: str, progress: float) -> None:
    step, models = batch(kind, name).step(progress)
    before = [p.clone() for p in models.teacher.parameters()]
    assert step.loss.shape == () and torch.isfinite(step.loss) and step.loss.requires_grad
    step.loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in models.student.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert any(g is not None and g.abs().max() > 0 for g in gradients)
    assert all(p.grad is None and torch.equal(p, b) for p, b in zip(models.teacher.parameters(), before, strict=True))
    assert not models.teacher.training and models.student.training
    assert "loss_labeled" in step.logs
    assert all(v.shape == () and torch.isfinite(v) and not v.requires_grad for v in step.logs.values())


@objectives
def test_evidence_is_there_where_unlabeled_samples_are_used(kind: str, name: str) -> None:
    inputs = batch(kind, name)
    step, _ = inputs.step(0.5)
    assert (step.evidence is not None) == inputs.objective.uses_unlabeled
    if step.evidence is not None:
        assert step.evidence.indices.tolist() == inputs.unlabeled.indices.tolist()
        for probs in step.evidence.probs():
            assert probs.shape[:2] == (U, C) and not probs.requires_grad
            torch.testing.assert_close(probs.sum(dim=1), torch.ones_like(probs[:, 0]))


@objectives
def test_without_unlabeled_samples_it_learns_from_labels(kind: str, name: str) -> None:
    step, _ = batch(kind, name).step(0.5, unlabeled=False)
    assert step.evidence is None and torch.isfinite(step.loss) and step.loss.requires_grad


@objectives
def test_the_same_step_twice_is_the_same(kind: str, name: str) -> None:
    """What is drawn comes from `models.rng` or, where dropout is meant, from the generator that the fit has seeded."""
    inputs = batch(kind, name)
    with unchanged_random_state():
        first, second = inputs.step(0.5)[0], inputs.step(0.5)[0]
    assert torch.equal(first.loss, second.loss)
    assert all(torch.equal(first.logs[key], second.logs[key]) for key in first.logs)
