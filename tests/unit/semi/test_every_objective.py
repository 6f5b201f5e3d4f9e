"""What holds for every objective: closed masks, gradients where they belong, odd batches, dropout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hybrid_al.bench.grid import load_grid
from hybrid_al.models.classifier import Dropout
from hybrid_al.semi import OBJECTIVES
from hybrid_al.semi.base import Labeled, Models, Objective
from hybrid_al.semi.debiased import Debiased
from hybrid_al.semi.fixmatch import FixMatch
from hybrid_al.semi.flexmatch import FlexMatch
from hybrid_al.semi.freematch import FreeMatch
from hybrid_al.semi.pseudo_label import PseudoLabel
from hybrid_al.semi.softmatch import SoftMatch
from hybrid_al.semi.uda import UDA
from tests.helpers.objectives import CLASSES, DOMAINS, EVIDENCE, SEMI, batch, steps

WITHOUT_MASK = {"pi_model", "mean_teacher", "mixmatch"}


@pytest.mark.parametrize("name", SEMI)
def test_unsupervised_term_moves_the_student_and_leaves_the_teacher_alone(name: str) -> None:
    objective: Objective = OBJECTIVES[name]()
    # an answer that is certain to the last bit is its own pseudo-label already, and has nothing to learn from it
    models, labeled, unlabeled = batch(scale=10.0 if name == "pseudo_label" else 20.0)
    models.teacher.requires_grad_(True)  # so that a gradient would show
    step = objective.step(models, labeled, unlabeled, 1.0)
    assert step.logs["loss_unlabeled"].item() > 0
    (step.loss - nn.functional.cross_entropy(models.student(labeled.x), labeled.y)).backward()  # type: ignore[no-untyped-call]
    assert isinstance(models.student, nn.Linear) and models.student.weight.grad is not None
    assert float(models.student.weight.grad.abs().max()) > 1e-6
    assert all(p.grad is None for p in models.teacher.parameters())


def test_the_study_of_the_objectives_has_all_that_use_unlabeled_samples() -> None:
    study = load_grid(Path(__file__).parents[3] / "benchmarks" / "objectives.yaml")
    assert set(study.objectives) == set(OBJECTIVES) - EVIDENCE - DOMAINS


@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - EVIDENCE - {"shot"}))  # which smooths labels
def test_without_unlabeled_samples_an_objective_is_cross_entropy(name: str) -> None:
    models, labeled, _ = batch()
    step = OBJECTIVES[name]().step(models, labeled, None, 0.5)
    assert torch.equal(step.loss, nn.functional.cross_entropy(models.student(labeled.x), labeled.y))
    assert step.evidence is None


@pytest.mark.parametrize("name", [*SEMI, *sorted(DOMAINS)])
def test_evidence_is_of_the_batch_and_carries_no_gradient(name: str) -> None:
    models, labeled, unlabeled = batch()
    evidence = OBJECTIVES[name]().step(models, labeled, unlabeled, 0.5).evidence
    assert evidence is not None
    assert np.array_equal(evidence.indices, unlabeled.indices)
    for probs in evidence.probs():
        assert not probs.requires_grad
        assert torch.allclose(probs.sum(dim=1), torch.ones(len(unlabeled.indices)))


def _even(models: Models) -> None:
    models.memory["won"] = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def _out_of_reach(models: Models) -> None:
    models.memory.update({"confidence": torch.tensor(9.0), "variance": torch.tensor(1e-3)})


CLOSED: dict[str, tuple[Objective, Callable[[Models], None]]] = {
    "pseudo_label": (PseudoLabel(entropy=0.0, entropy_end=0.0), lambda _: None),
    "uda": (UDA(threshold=2.0), lambda _: None),
    "fixmatch": (FixMatch(threshold=2.0), lambda _: None),
    "flexmatch": (FlexMatch(threshold=9.0), _even),
    "freematch": (FreeMatch(fairness=1.0), _out_of_reach),
    "softmatch": (SoftMatch(decay=1.0), _out_of_reach),
    "debiased": (Debiased(threshold=2.0), lambda _: None),
}


def test_every_objective_is_listed_with_its_closed_mask_or_as_without_one() -> None:
    assert set(CLOSED) | WITHOUT_MASK == set(SEMI) and not set(CLOSED) & WITHOUT_MASK


@pytest.mark.parametrize("name", CLOSED)
def test_a_closed_mask_leaves_the_labels_alone(name: str) -> None:
    objective, close = CLOSED[name]
    models, labeled, unlabeled = batch(scale=1.0)
    close(models)
    step = objective.step(models, labeled, unlabeled, 1.0)
    assert step.logs["loss_unlabeled"].item() == 0 and step.logs["mask_rate"].item() == 0
    assert torch.equal(step.loss.detach(), step.logs["loss_labeled"])
    step.loss.backward()  # type: ignore[no-untyped-call]
    assert isinstance(models.student, nn.Linear) and models.student.weight.grad is not None
    got = models.student.weight.grad.clone()
    models.student.zero_grad()
    alone = models.student(labeled.x)
    if name == "debiased":
        alone = alone + models.memory["labeled_prior"].log()
    nn.functional.cross_entropy(alone, labeled.y).backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(got).all() and torch.allclose(got, models.student.weight.grad, atol=1e-7)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
@pytest.mark.parametrize("unlabeled", [1, 2, 8])
@pytest.mark.parametrize("classes", [2, 3, 9])
@pytest.mark.parametrize("name", [*SEMI, *sorted(DOMAINS)])
def test_odd_batches_give_finite_losses_and_gradients(name: str, classes: int, unlabeled: int, scale: float) -> None:
    """Labels of one class alone, a single unlabeled sample, certain predictions; over several steps."""
    models, labeled, others = batch(scale=scale, classes=classes, unlabeled=unlabeled)
    labeled = Labeled(labeled.x, torch.full((6,), classes - 1))
    for progress in (0.0, 0.5, 1.0):
        step = OBJECTIVES[name]().step(models, labeled, others, progress)
        step.loss.backward()  # type: ignore[no-untyped-call]
        assert torch.isfinite(step.loss) and step.logs.get("loss_unlabeled", step.loss * 0).item() >= -1e-6
        assert isinstance(models.student, nn.Linear) and models.student.weight.grad is not None
        assert torch.isfinite(models.student.weight.grad).all()
        assert step.evidence is not None and step.evidence.probs()[0].shape == (unlabeled, classes)
        assert all(not value.requires_grad for value in (*step.logs.values(), *models.memory.values()))


@pytest.mark.parametrize("name", sorted(set(SEMI) - {"pi_model", "mixmatch"}))
def test_no_gradient_goes_through_a_pseudo_label(name: str) -> None:
    models, labeled, unlabeled = batch(scale=10.0)
    taught, source = (unlabeled.strong, unlabeled.weak)
    if name == "pseudo_label":  # it learns on the view that it reads
        taught, source = source, taught
    taught.requires_grad_(), source.requires_grad_()
    OBJECTIVES[name]().step(models, labeled, unlabeled, 1.0).loss.backward()  # type: ignore[no-untyped-call]
    assert source.grad is None
    assert taught.grad is not None and taught.grad.abs().max() > 0


@pytest.mark.parametrize("name", SEMI)
def test_an_objective_keeps_nothing_between_fits(name: str) -> None:
    objective = OBJECTIVES[name]()
    losses = []
    for _ in range(2):
        models, batches = steps(CLASSES, scale=1.0)
        losses.append([objective.step(models, *pair, 0.5).loss.item() for pair in batches])
    assert losses[0] == losses[1]


class Noisy(nn.Sequential):
    """A linear student with dropout before it, in train mode."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(Dropout(0.5), nn.Dropout(0.5), linear)


@pytest.mark.parametrize("name", SEMI)
def test_targets_know_no_dropout_and_the_views_that_learn_do(name: str) -> None:
    """Of the same weak views in two steps: the same target, that of the network in eval mode."""
    steps = []
    for seed in (0, 1):
        models, labeled, unlabeled = batch(scale=2.0)
        assert isinstance(models.student, nn.Linear)
        models = Models(Noisy(models.student).train(), models.teacher)
        torch.manual_seed(seed)
        steps.append(OBJECTIVES[name]().step(models, labeled, unlabeled, 0.5))
        assert all(module.training for module in models.student.modules())
    weak = [step.evidence.probs()[0] for step in steps if step.evidence is not None]
    assert steps[0].loss.item() != steps[1].loss.item()
    if name == "pi_model":  # both of its passes are noisy, as published
        assert not torch.equal(*weak)
        return
    source = models.teacher if name == "mean_teacher" else models.student.eval()
    torch.testing.assert_close(weak[0], source(unlabeled.weak).softmax(dim=1), atol=1e-6, rtol=0)
    assert torch.equal(*weak)
    assert steps[0].logs.get("mask_rate") == steps[1].logs.get("mask_rate")
