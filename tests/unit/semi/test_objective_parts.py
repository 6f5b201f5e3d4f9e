"""What objectives are made of: running means, alignment, ramps, the teacher's average, dropout switched off."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from hybrid_al.models.classifier import Dropout
from hybrid_al.semi.base import align, ramp_linear, ramp_up, running_mean, without_dropout
from hybrid_al.semi.ema import averaging, make_teacher
from tests.helpers.objectives import CLASSES, batch


def test_a_running_mean_by_hand() -> None:
    models, _, _ = batch()
    assert running_mean(models, "a", torch.tensor(4.0), decay=0.75).item() == 4
    assert running_mean(models, "a", torch.tensor(8.0), decay=0.75).item() == 5
    assert running_mean(models, "b", torch.tensor([4.0, 0.0]), decay=0.75, start=2.0).tolist() == [2.5, 1.5]


def test_alignment_pulls_the_running_mean_to_the_prior() -> None:
    models, _, _ = batch()
    prior = torch.tensor([0.2, 0.3, 0.5])
    generator = torch.Generator().manual_seed(1)
    for _ in range(300):
        probs = torch.rand(64, CLASSES, generator=generator) * torch.tensor([8.0, 1.0, 1.0])
        aligned = align(probs / probs.sum(dim=1, keepdim=True), prior, models, decay=0.9)
    assert torch.allclose(aligned.sum(dim=1), torch.ones(64))
    before = (probs / probs.sum(dim=1, keepdim=True)).mean(dim=0)
    assert (aligned.mean(dim=0) - prior).abs().max() < 0.35 * (before - prior).abs().max()


def test_teacher_averages_parameters_and_statistics_and_copies_counters() -> None:
    linear, bn = nn.Linear(2, 2), nn.BatchNorm1d(2)
    student = nn.Sequential(linear, bn)
    teacher = make_teacher(student)
    average = averaging(teacher, student, decay=0.9)
    with torch.no_grad():
        linear.weight.fill_(1.0)
        teacher.get_parameter("0.weight").fill_(0.0)
        student.get_buffer("1.running_mean").fill_(2.0)
        student.get_buffer("1.num_batches_tracked").fill_(7)
    average(1000)
    assert torch.allclose(teacher.get_parameter("0.weight"), torch.full((2, 2), 0.1))
    assert torch.allclose(teacher.get_buffer("1.running_mean"), torch.full((2,), 0.2))
    assert teacher.get_buffer("1.num_batches_tracked").item() == 7
    assert not any(p.requires_grad for p in teacher.parameters())
    average(0)  # the ramp: the first step keeps a tenth
    assert torch.allclose(teacher.get_parameter("0.weight"), torch.full((2, 2), 0.91))


def test_ramps_against_their_curves() -> None:
    """A ramp of length 0 is 1 throughout; any other rises to 1 at its end and stays there."""
    for t in (0.0, 0.1, 0.2, 0.35, 0.4, 0.9):
        assert ramp_up(t, 0.4) == pytest.approx(math.exp(-5 * (1 - t / 0.4) ** 2) if t < 0.4 else 1)
        assert ramp_linear(t, 0.4, 0.2) == pytest.approx(np.interp(t, [0.2, 0.4], [0, 1]))
    assert ramp_up(0, 0) == ramp_linear(0, 0) == ramp_linear(0.2, 0.2, 0.2) == 1
    assert ramp_linear(0.1, 0.2, 0.2) == 0


def test_without_dropout_switches_off_what_drops_and_nothing_else() -> None:
    network = nn.Sequential(
        Dropout(0.5), nn.Dropout2d(0.5), nn.AlphaDropout(0.5), nn.BatchNorm1d(2), nn.Dropout().eval()
    )
    with pytest.raises(KeyError), without_dropout(network):
        assert [module.training for module in network] == [False, False, False, True, False]
        raise KeyError
    assert [module.training for module in network] == [True, True, True, True, False]
