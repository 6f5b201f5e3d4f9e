"""Objectives of masks that papers pair with a query: PLD-AL's refined labels, a committee kept apart by SVGD."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hybrid_al.core.types import IGNORE
from hybrid_al.models.segmenter import Committee
from hybrid_al.semi.base import Labeled, Models
from hybrid_al.semi.dense.base import dice_ce
from hybrid_al.semi.dense.pld import PseudoLabelDivergence, iou, slope_lost
from hybrid_al.semi.dense.svgd import SteinCommittee, stein
from hybrid_al.semi.ema import make_teacher


def masks() -> Labeled:
    generator = torch.Generator().manual_seed(3)
    y = torch.randint(3, (3, 6, 6), generator=generator)
    y[0, :2] = IGNORE
    return Labeled(torch.randn(3, 2, 6, 6, generator=generator), y)


def test_labels_are_refined_where_the_teacher_is_sure_once_the_fit_slows() -> None:
    torch.manual_seed(0)
    student = nn.Conv2d(2, 3, 1)
    teacher = make_teacher(student)
    with torch.no_grad():
        teacher.weight.mul_(10)
    models, labeled = Models(student, teacher), masks()
    plain = PseudoLabelDivergence(confidence=0.9).step(models, labeled, None, 0.0)
    assert plain.logs["refined"] == 0 and plain.loss.item() == dice_ce(student(labeled.x), labeled.y).item()
    models.memory["slowed"] = torch.tensor(True)
    refined = PseudoLabelDivergence(confidence=0.9).step(models, labeled, None, 0.0)
    sure, classes = teacher(labeled.x).softmax(dim=1).max(dim=1)
    y, changed = labeled.y.clone(), 0
    for place in np.ndindex(*y.shape):
        if y[place] != IGNORE and sure[place] >= 0.9 and classes[place] != y[place]:
            y[place], changed = classes[place], changed + 1
    assert changed > 0 and refined.logs["refined"].item() == pytest.approx(changed / int((labeled.y != IGNORE).sum()))
    assert refined.loss.item() == dice_ce(student(labeled.x), y).item()


def test_a_fit_that_flattens_is_noticed_and_one_that_grows_is_not() -> None:
    models, labeled = Models(nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)), masks()
    objective = PseudoLabelDivergence()
    curve = 0.8 * (1 - np.exp(-0.9 * np.arange(1, 8)))
    models.memory.update({"slowed": torch.tensor(False), "iou": torch.zeros(20, 2)})
    models.memory["iou"][:7] = torch.stack([torch.from_numpy(curve).float(), torch.ones(7)], dim=1)
    assert objective._slowed(models, labeled, 7 / 20 + 1e-6)
    growing = torch.linspace(0.1, 0.7, 7)
    models.memory.update({"slowed": torch.tensor(False), "iou": torch.zeros(20, 2)})
    models.memory["iou"][:7] = torch.stack([growing, torch.ones(7)], dim=1)
    assert not objective._slowed(models, labeled, 7 / 20 + 1e-6)
    assert models.memory["iou"][7, 1] == 1  # the batch of this step is a part of the next point


def test_the_lost_slope_is_that_of_the_curve_through_the_points() -> None:
    t = np.arange(1, 9)
    a, b, c = 0.7, 0.4, 1.3

    def slope(x: int) -> float:
        return a * b * c * float(x ** (c - 1)) * math.exp(-b * x**c)

    assert slope_lost(a * (1 - np.exp(-b * t**c))) == pytest.approx(1 - slope(8) / slope(1), abs=1e-3)
    assert slope_lost(np.array([0.1, 0.5, 0.6])) == 0


def test_intersection_over_union_is_of_structures_over_known_pixels() -> None:
    predicted = torch.tensor([[[0, 1, 1, 2, 2]]])
    y = torch.tensor([[[0, 1, 2, 2, IGNORE]]])
    assert iou(predicted, y) == pytest.approx(2 / 3)
    assert iou(torch.zeros(1, 2, 2, dtype=torch.long), torch.zeros(1, 2, 2, dtype=torch.long)) == 1


def test_steins_direction_equals_loops_over_particles() -> None:
    rng = np.random.default_rng(0)
    theta, slopes = rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    direction, nearness = stein(torch.from_numpy(theta), torch.from_numpy(slopes), 0.3)
    squared = [[((a - b) ** 2).sum() for b in theta] for a in theta]
    pairs = sorted(squared[i][j] for i in range(4) for j in range(4) if i != j)
    h = pairs[(len(pairs) - 1) // 2] / math.log(5)
    for i in range(4):
        total = np.zeros(5)
        for j in range(4):
            k = math.exp(-squared[j][i] / h)
            total += k * slopes[j] - 0.3 * (-2 * (theta[j] - theta[i]) / h * k)
        np.testing.assert_allclose(direction[i].numpy(), total / 4, rtol=1e-6)
    assert nearness.item() == pytest.approx(np.mean([math.exp(-d / h) for d in pairs]), rel=1e-6)


def committee(n: int) -> Committee:
    torch.manual_seed(0)
    return Committee(cast(Any, [nn.Conv2d(2, 3, 1) for _ in range(n)]))


def gradients(student: Committee) -> Tensor:
    return torch.stack([torch.cat([cast(Tensor, p.grad).flatten() for p in m.parameters()]) for m in student.members])


def test_the_gradient_of_the_committee_is_steins() -> None:
    student, labeled = committee(3), masks()
    losses = [dice_ce(m(labeled.x), labeled.y) for m in student.members]
    slopes = torch.stack(
        [
            torch.cat([s.flatten() for s in torch.autograd.grad(loss, list(m.parameters()))])
            for loss, m in zip(losses, student.members, strict=True)
        ]
    )
    theta = torch.stack([torch.cat([p.flatten() for p in m.parameters()]) for m in student.members]).detach()
    step = SteinCommittee(repulsion=0.5).step(Models(student, make_teacher(student)), labeled, None, 0.0)
    assert step.loss.item() == pytest.approx(sum(loss.item() for loss in losses), rel=1e-6)
    step.loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(gradients(student), stein(theta, slopes, 0.5)[0])


def test_repulsion_drives_the_members_apart() -> None:
    spreads = []
    for repulsion in (0.0, 0.3):
        student, labeled = committee(3), masks()
        optimizer = torch.optim.SGD(student.parameters(), lr=0.3)
        for _ in range(40):
            optimizer.zero_grad()
            step = SteinCommittee(repulsion=repulsion).step(Models(student, student), labeled, None, 0.0)
            step.loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            probs = torch.stack([m(labeled.x).softmax(dim=1) for m in student.members])
        spreads.append(probs.std(dim=0).mean().item())
    assert spreads[1] > 1.5 * spreads[0]
