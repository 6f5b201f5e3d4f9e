"""Objectives: values against slow references, open and closed masks, gradients where they belong, odd batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hybrid_al.bench.grid import load_grid
from hybrid_al.models.classifier import Classifier, Dropout
from hybrid_al.semi import OBJECTIVES
from hybrid_al.semi.base import (
    Labeled,
    Models,
    Objective,
    Unlabeled,
    align,
    ramp_linear,
    ramp_up,
    running_mean,
    without_dropout,
)
from hybrid_al.semi.debiased import Debiased
from hybrid_al.semi.distinctive_margin import DistinctiveMargin
from hybrid_al.semi.ema import averaging, make_teacher
from hybrid_al.semi.energy import Energy
from hybrid_al.semi.evidential import Evidential, misleading_evidence
from hybrid_al.semi.fixmatch import FixMatch
from hybrid_al.semi.flexmatch import FlexMatch
from hybrid_al.semi.freematch import FreeMatch
from hybrid_al.semi.mean_teacher import MeanTeacher
from hybrid_al.semi.mixmatch import MixMatch
from hybrid_al.semi.mme import MME
from hybrid_al.semi.pi_model import PiModel
from hybrid_al.semi.pseudo_label import PseudoLabel
from hybrid_al.semi.softmatch import SoftMatch
from hybrid_al.semi.uda import UDA

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
WITHOUT_MASK = {"pi_model", "mean_teacher", "mixmatch"}
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


def reference_fixmatch(models: Models, labeled: Labeled, unlabeled: Unlabeled, threshold: float) -> tuple[float, float]:
    on_labels = softmax(logits(models.student, labeled.x))
    supervised = np.mean([-math.log(p[y]) for p, y in zip(on_labels, labeled.y.tolist(), strict=True)])
    weak = softmax(logits(models.student, unlabeled.weak))
    strong = softmax(logits(models.student, unlabeled.strong))
    total = 0.0
    for w, s in zip(weak, strong, strict=True):
        if w.max() >= threshold:
            total -= math.log(max(s[w.argmax()], 1e-45))
    return float(supervised), total / len(weak)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.95])
def test_fixmatch_equals_the_slow_reference(threshold: float) -> None:
    models, labeled, unlabeled = batch(scale=2.0)
    step = FixMatch(threshold=threshold, weight=0.7).step(models, labeled, unlabeled, 0.0)
    supervised, unsupervised = reference_fixmatch(models, labeled, unlabeled, threshold)
    assert step.logs["loss_labeled"].item() == pytest.approx(supervised, rel=1e-5)
    assert step.logs["loss_unlabeled"].item() == pytest.approx(unsupervised, rel=1e-5)
    assert step.loss.item() == pytest.approx(supervised + 0.7 * unsupervised, rel=1e-5)


def test_mean_teacher_equals_the_slow_reference() -> None:
    models, labeled, unlabeled = batch(scale=2.0)
    target = softmax(logits(models.teacher, unlabeled.weak))
    strong = softmax(logits(models.student, unlabeled.strong))
    unsupervised = ((strong - target) ** 2).sum(axis=1).mean()
    for progress, ramp in ((0.0, math.exp(-5)), (0.2, math.exp(-5 * 0.25)), (0.4, 1.0), (1.0, 1.0)):
        step = MeanTeacher(weight=3.0, rampup=0.4).step(models, labeled, unlabeled, progress)
        expected = step.logs["loss_labeled"].item() + 3.0 * ramp * unsupervised
        assert step.loss.item() == pytest.approx(expected, rel=1e-5)


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


def cross_entropy(scores: np.ndarray, y: Tensor) -> float:
    return float(np.mean([-math.log(p[c]) for p, c in zip(softmax(scores), y.tolist(), strict=True)]))


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 0.0), (0.1, 0.0), (0.35, 1.5), (0.6, 3.0), (1.0, 3.0)])
def test_pseudo_label_equals_the_slow_reference(progress: float, weight: float) -> None:
    models, labeled, unlabeled = batch(scale=2.0)
    limit, total, open_ = 0.9 + (0.2 - 0.9) * progress, 0.0, 0
    for p in softmax(logits(models.student, unlabeled.weak)):
        if -sum(q * math.log(q) for q in p) < limit:
            total, open_ = total - math.log(p.max()), open_ + 1
    step = PseudoLabel(entropy=0.9, entropy_end=0.2).step(models, labeled, unlabeled, progress)
    assert 0 < open_ < 8 and step.logs["mask_rate"].item() == open_ / 8
    assert step.logs["loss_unlabeled"].item() == pytest.approx(total / 8, rel=1e-5)
    supervised = cross_entropy(logits(models.student, labeled.x), labeled.y)
    assert step.loss.item() == pytest.approx(supervised + weight * total / 8, rel=1e-5)
    all_of_them = PseudoLabel(entropy=2, entropy_end=2).step(models, labeled, unlabeled, progress)
    assert all_of_them.logs["mask_rate"].item() == 1  # above ln 3


def test_pi_model_equals_the_slow_reference_and_teaches_by_both_views() -> None:
    models, labeled, unlabeled = batch(scale=2.0)
    weak, strong = (softmax(logits(models.student, v)) for v in (unlabeled.weak, unlabeled.strong))
    total = sum((a - b) ** 2 for p, q in zip(weak, strong, strict=True) for a, b in zip(p, q, strict=True))
    supervised = cross_entropy(logits(models.student, labeled.x), labeled.y)
    for progress, ramp in ((0.0, math.exp(-5)), (0.2, math.exp(-1.25)), (0.4, 1.0), (1.0, 1.0)):
        step = PiModel(weight=7.0, rampup=0.4).step(models, labeled, unlabeled, progress)
        assert step.loss.item() == pytest.approx(supervised + 7 * ramp * total / (8 * CLASSES), rel=1e-5)
    for view in (unlabeled.weak.requires_grad_(), unlabeled.strong.requires_grad_()):
        PiModel().step(models, labeled, unlabeled, 1.0).loss.backward()  # type: ignore[no-untyped-call]
        assert view.grad is not None and view.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("tsa", "growth"), [("none", None), ("linear", 0.4), ("log", 1 - math.exp(-2)), ("exp", math.exp(-3))]
)
def test_uda_equals_the_slow_reference(tsa: Literal["none", "linear", "log", "exp"], growth: float | None) -> None:
    models, labeled, unlabeled = batch(scale=1.0)
    logits_labeled = logits(models.student, labeled.x)
    supervised = cross_entropy(logits_labeled, labeled.y)
    if growth is not None:
        probs = [p[c] for p, c in zip(softmax(logits_labeled), labeled.y.tolist(), strict=True)]
        counted = [p for p in probs if p <= 1 / CLASSES + growth * (1 - 1 / CLASSES)]
        assert 0 < len(counted) < len(probs)
        supervised = -sum(math.log(p) for p in counted) / len(counted)
    total, open_ = 0.0, 0
    weak, strong = (logits(models.student, v) for v in (unlabeled.weak, unlabeled.strong))
    for w, s in zip(weak, strong, strict=True):
        if softmax(w[None])[0].max() >= 0.6:
            open_ += 1
            target = [a**2.5 for a in softmax(w[None])[0]]  # the power that is a temperature of 0.4
            total += sum(
                a / sum(target) * math.log(a / sum(target) / b)
                for a, b in zip(target, softmax(s[None])[0], strict=True)
            )
    step = UDA(threshold=0.6, weight=0.7, tsa=tsa).step(models, labeled, unlabeled, 0.4)
    assert 0 < open_ < 8 and step.logs["mask_rate"].item() == open_ / 8
    assert step.logs["loss_unlabeled"].item() == pytest.approx(total / 8, rel=1e-5)
    assert step.loss.item() == pytest.approx(supervised + 0.7 * total / 8, rel=1e-5)


def test_signal_annealing_by_hand_and_with_no_label_left() -> None:
    models, _, unlabeled = batch(classes=2)
    assert isinstance(models.student, nn.Linear)
    with torch.no_grad():
        models.student.weight.copy_(torch.eye(2, DIM))
    x = torch.zeros(2, DIM)
    x[:, 0] = torch.tensor([math.log(4), math.log(1.5)])  # class 0 at 0.8 and at 0.6
    labeled, uda = Labeled(x, torch.zeros(2, dtype=torch.long)), UDA(tsa="linear")
    half = uda.step(models, labeled, unlabeled, 0.5)  # the limit is 0.75
    assert half.logs["loss_labeled"].item() == pytest.approx(-math.log(0.6))
    assert uda.step(models, labeled, unlabeled, 0.0).logs["loss_labeled"].item() == 0
    assert uda.step(models, labeled, unlabeled, 1.0).logs["loss_labeled"].item() == pytest.approx(-math.log(0.48) / 2)


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_flexmatch_equals_the_slow_reference_over_several_steps(classes: int) -> None:
    models, batches = steps(classes, scale=1.0)
    won: dict[int, int] = {}
    rates = []
    for labeled, unlabeled in batches:
        counts = [sum(1 for c in won.values() if c == k) for k in range(classes)]
        most = max(*counts, 20 - len(won))
        thresholds = [0.7 * (c / most) / (2 - c / most) for c in counts]
        total, open_ = 0.0, 0
        weak, strong = (softmax(logits(models.student, v)) for v in (unlabeled.weak, unlabeled.strong))
        for row, w, s in zip(unlabeled.indices.tolist(), weak, strong, strict=True):
            k = int(w.argmax())
            if w[k] >= thresholds[k]:
                total, open_ = total - math.log(s[k]), open_ + 1
            if w[k] >= 0.7:
                won[row] = k
        step = FlexMatch(threshold=0.7).step(models, labeled, unlabeled, 0.0)
        assert step.logs["mask_rate"].item() == open_ / 8
        assert step.logs["loss_unlabeled"].item() == pytest.approx(total / 8, rel=1e-5)
        assert step.loss.item() == pytest.approx(step.logs["loss_labeled"].item() + total / 8, rel=1e-5)
        rates.append(open_ / 8)
    assert rates[0] == 1 and min(rates) < 1  # a start without thresholds, then some


def test_thresholds_of_flexmatch_by_hand() -> None:
    """Of ten samples four are class 0, two class 1, none class 2, four without: shares 1, 1/2, 0."""
    models, _, unlabeled = batch()
    many = Unlabeled(unlabeled.indices, unlabeled.weak, unlabeled.strong, np.arange(10))
    models.memory["won"] = torch.tensor([0, 0, 0, 0, 1, 1, -1, -1, -1, -1])
    thresholds = FlexMatch(threshold=0.9)._thresholds(models, many, torch.zeros(8, CLASSES))
    assert thresholds.tolist() == pytest.approx([0.9, 0.3, 0.0])
    models.memory["won"] = torch.tensor([0, 1, 2, -1, -1, -1, -1, -1, -1, -1])  # the warm-up: 1/7 of the unused each
    thresholds = FlexMatch(threshold=0.9)._thresholds(models, many, torch.zeros(8, CLASSES))
    assert thresholds.tolist() == pytest.approx([0.9 / 13] * 3)


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_freematch_equals_the_slow_reference_over_several_steps(classes: int) -> None:
    models, batches = steps(classes, scale=1.0)
    overall, mean, histogram, rates = 1 / classes, np.full(classes, 1 / classes), np.full(classes, 1 / classes), []
    for labeled, unlabeled in batches:
        weak, strong = (softmax(logits(models.student, v)) for v in (unlabeled.weak, unlabeled.strong))
        overall = 0.6 * overall + 0.4 * sum(w.max() for w in weak) / 8
        for k in range(classes):
            mean[k] = 0.6 * mean[k] + 0.4 * sum(w[k] for w in weak) / 8
            histogram[k] = 0.6 * histogram[k] + 0.4 * sum(w.argmax() == k for w in weak) / 8
        mask = [w.max() >= overall * mean[w.argmax()] / mean.max() for w in weak]
        total = -sum(math.log(s[w.argmax()]) for w, s, ok in zip(weak, strong, mask, strict=True) if ok) / 8
        counted = [s for s, ok in zip(strong, mask, strict=True) if ok]
        ratio = {}
        for k in {int(s.argmax()) for s in counted}:
            ratio[k] = np.mean([s[k] for s in counted]) / np.mean([s.argmax() == k for s in counted])
        expected = mean / histogram / (mean / histogram).sum()
        fairness = sum(expected[k] * math.log(r / sum(ratio.values())) for k, r in ratio.items())
        step = FreeMatch(decay=0.6, fairness=0.3, weight=0.7).step(models, labeled, unlabeled, 0.0)
        assert step.logs["mask_rate"].item() == sum(mask) / 8
        assert step.logs["loss_unlabeled"].item() == pytest.approx(total, rel=1e-5)
        assert step.logs["loss_fairness"].item() == pytest.approx(fairness, rel=1e-4, abs=1e-6)
        supervised = cross_entropy(logits(models.student, labeled.x), labeled.y)
        assert step.loss.item() == pytest.approx(supervised + 0.7 * total + 0.3 * fairness, rel=1e-4)
        rates.append(sum(mask))
    assert 0 < min(rates) < 8


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_softmatch_equals_the_slow_reference_over_several_steps(classes: int) -> None:
    models, batches = steps(classes, scale=1.0)
    mean, variance, shares = 1 / classes, 1.0, np.zeros(0)
    for labeled, unlabeled in batches:
        weak, strong = (softmax(logits(models.student, v)) for v in (unlabeled.weak, unlabeled.strong))
        shares = 0.6 * (shares if len(shares) else weak.mean(axis=0)) + 0.4 * weak.mean(axis=0)
        confidences = []
        for w in weak:
            scaled = [a / b for a, b in zip(w, shares, strict=True)]
            confidences.append(max(scaled) / sum(scaled))
        mean = 0.6 * mean + 0.4 * sum(confidences) / 8
        variance = 0.6 * variance + 0.4 * sum((c - sum(confidences) / 8) ** 2 for c in confidences) / 7
        total = 0.0
        for c, w, s in zip(confidences, weak, strong, strict=True):
            total -= math.log(s[w.argmax()]) * (math.exp(-((c - mean) ** 2) * 4 / (2 * variance)) if c < mean else 1)
        step = SoftMatch(decay=0.6).step(models, labeled, unlabeled, 0.0)
        assert step.logs["loss_unlabeled"].item() == pytest.approx(total / 8, rel=1e-5)
        assert step.loss.item() == pytest.approx(step.logs["loss_labeled"].item() + total / 8, rel=1e-5)


def test_weights_of_softmatch_by_hand() -> None:
    """Confidences of 0.9, 0.9, 0.6, 0.6 in even classes: mean 0.75, variance 0.03, weight exp(-0.15^2 * 4 / 0.06)."""
    models, _, _ = batch()
    probs = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.4, 0.6]])
    low = math.exp(-1.5)
    assert SoftMatch(decay=0.0)._weights(probs, models).tolist() == pytest.approx([1, 1, low, low])


@pytest.mark.parametrize("shape", [(DIM,), (1, DIM, 2)])
def test_mixmatch_equals_the_slow_reference_on_embeddings_and_images(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    student = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), CLASSES))
    models = Models(student, make_teacher(student), rng=np.random.default_rng(7))
    labeled = Labeled(torch.randn(6, *shape), torch.arange(6) % CLASSES)
    unlabeled = Unlabeled(np.arange(4), torch.randn(4, *shape), torch.randn(4, *shape), np.arange(4))
    step = MixMatch(weight=5.0, rampup=0.4).step(models, labeled, unlabeled, 0.3)

    def answer(x: np.ndarray) -> np.ndarray:
        return softmax(logits(student[1], torch.from_numpy(x.reshape(1, -1).astype(np.float32)))).ravel()

    weak, strong = unlabeled.weak.numpy(), unlabeled.strong.numpy()
    guesses = [((answer(w) + answer(s)) / 2) ** 2 for w, s in zip(weak, strong, strict=True)]
    guesses = [g / g.sum() for g in guesses]
    x = [*labeled.x.numpy(), *weak, *strong]
    y = [*np.eye(CLASSES)[labeled.y.numpy()], *guesses, *guesses]
    rng = np.random.default_rng(7)
    shares, order = rng.beta(0.75, 0.75, 14), rng.permutation(14)
    on_labels, others = [], []
    for i, j in enumerate(order):
        share = max(shares[i], 1 - shares[i])
        p, target = answer(share * x[i] + (1 - share) * x[j]), share * y[i] + (1 - share) * y[j]
        if i < 6:
            on_labels.append(-sum(t * math.log(q) for t, q in zip(target, p, strict=True)))
        else:
            others.append(sum((t - q) ** 2 for t, q in zip(target, p, strict=True)) / CLASSES)
    assert step.logs["loss_labeled"].item() == pytest.approx(np.mean(on_labels), rel=1e-5)
    assert step.logs["loss_unlabeled"].item() == pytest.approx(np.mean(others), rel=1e-5)
    assert step.loss.item() == pytest.approx(np.mean(on_labels) + 5 * 0.75 * np.mean(others), rel=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_debiased_equals_the_slow_reference_over_several_steps(classes: int) -> None:
    models, batches = steps(classes, scale=1.0)
    mean, prior, open_ = np.full(classes, 1 / classes), np.zeros(0), 0
    for labeled, unlabeled in batches:
        share = np.asarray([1 + sum(c == k for c in labeled.y.tolist()) for k in range(classes)]) / (6 + classes)
        prior = 0.99 * (prior if len(prior) else share) + 0.01 * share
        supervised = cross_entropy(logits(models.student, labeled.x) + 0.8 * np.log(prior), labeled.y)
        weak, strong = (logits(models.student, v) for v in (unlabeled.weak, unlabeled.strong))
        mean = 0.6 * mean + 0.4 * softmax(weak).mean(axis=0)
        total = 0.0
        for w, s in zip(weak, strong, strict=True):
            p = softmax((w - 0.5 * np.log(mean))[None])[0]
            if p.max() >= 0.6:
                open_, total = open_ + 1, total - math.log(softmax((s + 0.5 * np.log(mean))[None])[0][p.argmax()])
        objective = Debiased(threshold=0.6, weight=0.7, adjustment=0.8, margin=0.5, decay=0.6)
        step = objective.step(models, labeled, unlabeled, 0.0)
        assert step.logs["loss_labeled"].item() == pytest.approx(supervised, rel=1e-5)
        assert step.logs["loss_unlabeled"].item() == pytest.approx(total / 8, rel=1e-5)
        assert step.loss.item() == pytest.approx(supervised + 0.7 * total / 8, rel=1e-5)
    assert 0 < open_ < 48


def test_debiased_without_adjustment_and_margin_is_fixmatch() -> None:
    models, labeled, unlabeled = batch(scale=1.0)
    plain = FixMatch(threshold=0.5).step(models, labeled, unlabeled, 0.0)
    same = Debiased(threshold=0.5, adjustment=0.0, margin=0.0).step(models, labeled, unlabeled, 0.0)
    assert torch.equal(plain.loss, same.loss) and plain.logs["mask_rate"] > 0


def test_a_margin_lowers_the_threshold_of_rarely_predicted_classes() -> None:
    models, labeled, unlabeled = batch(scale=0.0)  # every answer is even
    models.memory["mean"] = torch.tensor([0.8, 0.15, 0.05])
    step = Debiased(margin=1.0, decay=1.0, threshold=0.7).step(models, labeled, unlabeled, 0.0)
    # debiased answers are 1 / mean, normalised: 0.045, 0.241, 0.714; the strong view's loss is -ln 0.05
    assert step.logs["mask_rate"].item() == 1
    assert step.logs["loss_unlabeled"].item() == pytest.approx(-math.log(0.05), rel=1e-5)


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


def test_limits_of_pseudo_labels_fall_from_round_to_round() -> None:
    models, labeled, unlabeled = batch(scale=2.0)
    rates = list[float]()
    for r, fallen in enumerate((0.0, 0.1, 0.3, 0.6, 1.0)):
        falls = PseudoLabel(entropy=0.7, entropy_end=0.7, fall=0.1)
        limit = PseudoLabel(entropy=max(0.7 - fallen, 0), entropy_end=max(0.7 - fallen, 0))
        rate = falls.step(replace(models, round=r), labeled, unlabeled, 0.5).logs["mask_rate"].item()
        assert rate == limit.step(models, labeled, unlabeled, 0.5).logs["mask_rate"].item()
        rates.append(rate)
    assert rates[0] > rates[-1] == 0


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


@pytest.mark.parametrize("alignment", ["labeled", "uniform"])
def test_fixmatch_with_alignment_changes_the_mask_only_through_its_targets(alignment: str) -> None:
    models, labeled, unlabeled = batch(scale=1.0)
    plain = FixMatch(threshold=0.0).step(models, labeled, unlabeled, 0.0)
    aligned = FixMatch(threshold=0.0, alignment=alignment).step(models, labeled, unlabeled, 0.0)  # type: ignore[arg-type]
    assert plain.evidence is not None and aligned.evidence is not None
    assert torch.equal(plain.evidence.weak, aligned.evidence.weak)
    assert torch.equal(plain.logs["loss_labeled"], aligned.logs["loss_labeled"])


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


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_evidential_equals_the_slow_reference(scale: float) -> None:
    models, labeled, unlabeled = batch(scale=scale)
    rows = logits(models.student, labeled.x)
    supervised = penalty = 0.0
    for row, y in zip(rows, labeled.y.tolist(), strict=True):
        alpha = np.exp(row)
        supervised += (math.log(alpha.sum()) - math.log(alpha[y])) / len(rows)  # negative log marginal likelihood
        alpha[y] = 1
        alpha = np.maximum(alpha, 1)
        wrong, flat = (torch.distributions.Dirichlet(torch.from_numpy(a)) for a in (alpha, np.ones_like(alpha)))
        penalty += torch.distributions.kl_divergence(wrong, flat).item() / len(rows)
    for progress, ramp in ((0.0, 0.0), (0.1, 0.25), (0.4, 1.0), (1.0, 1.0)):
        step = Evidential(weight=2.0, rampup=0.4).step(models, labeled, unlabeled, progress)
        assert step.loss.item() == pytest.approx(supervised + 2 * ramp * penalty, rel=1e-4)
        assert step.logs["loss_misleading"].item() == pytest.approx(penalty, rel=1e-4)


def test_evidential_penalty_pulls_wrong_evidence_to_none() -> None:
    y = torch.tensor([0, 0, 0])
    at = torch.tensor([[2.0, 3.0, -4.0], [50.0, 0.0, 0.0], [0.0, 1000.0, -1000.0]], requires_grad=True)
    value = misleading_evidence(at, y)
    value.sum().backward()  # type: ignore[no-untyped-call]
    assert at.grad is not None and torch.isfinite(value).all() and torch.isfinite(at.grad).all()
    assert at.grad[0, 0] == 0 == at.grad[0, 2] and at.grad[0, 1] > 0  # down to alpha = 1, and no further
    assert value[1].item() == pytest.approx(0, abs=1e-9)


def test_ramps_against_their_curves() -> None:
    """A ramp of length 0 is 1 throughout; any other rises to 1 at its end and stays there."""
    for t in (0.0, 0.1, 0.2, 0.35, 0.4, 0.9):
        assert ramp_up(t, 0.4) == pytest.approx(math.exp(-5 * (1 - t / 0.4) ** 2) if t < 0.4 else 1)
        assert ramp_linear(t, 0.4, 0.2) == pytest.approx(np.interp(t, [0.2, 0.4], [0, 1]))
    assert ramp_up(0, 0) == ramp_linear(0, 0) == ramp_linear(0.2, 0.2, 0.2) == 1
    assert ramp_linear(0.1, 0.2, 0.2) == 0


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


def test_without_dropout_switches_off_what_drops_and_nothing_else() -> None:
    network = nn.Sequential(
        Dropout(0.5), nn.Dropout2d(0.5), nn.AlphaDropout(0.5), nn.BatchNorm1d(2), nn.Dropout().eval()
    )
    with pytest.raises(KeyError), without_dropout(network):
        assert [module.training for module in network] == [False, False, False, True, False]
        raise KeyError
    assert [module.training for module in network] == [True, True, True, True, False]


def test_energy_aligns_the_target_with_the_source_alone() -> None:
    models, labeled, unlabeled = batch(scale=1.0)
    labeled = replace(labeled, source=torch.tensor([True, True, True, False, False, False]))
    step = Energy(weight=2.0).step(models, labeled, unlabeled, 0.5)
    bound = -np.log(np.exp(logits(models.student, labeled.x[:3])).sum(axis=1)).mean()
    above = (-np.log(np.exp(logits(models.student, unlabeled.weak)).sum(axis=1)) - bound).clip(0).mean()
    assert above > 0 and step.logs["loss_unlabeled"].item() == pytest.approx(above, rel=1e-5)
    assert step.loss.item() == pytest.approx(step.logs["loss_labeled"].item() + 2 * above, rel=1e-5)


def test_the_distinctive_margin_equals_the_slow_reference() -> None:
    models, labeled, _ = batch(scale=1.0)
    z = logits(models.student, labeled.x).astype(np.float64)
    u, y = z / np.linalg.norm(z, axis=1, keepdims=True), labeled.y.numpy()
    terms = [
        sum(max(0, 1 - z[i, y[i]] + z[i, c]) * max(0, 1 - u[i, y[i]] + u[i, c]) for c in range(CLASSES) if c != y[i])
        / CLASSES
        - u[i, y[i]]
        for i in range(len(y))
    ]
    step = DistinctiveMargin(weight=0.5).step(models, labeled, None, 0.5)
    expected = cross_entropy(z, labeled.y) + 0.5 * float(np.mean(terms))
    assert step.loss.item() == pytest.approx(expected, rel=1e-5)


def test_minimax_entropy_pulls_head_and_features_apart() -> None:
    _, labeled, unlabeled = batch()
    torch.manual_seed(0)
    student = Classifier(nn.Linear(DIM, 4), 4, CLASSES, dropout=0.0, seed=0)
    entropy = -(student(unlabeled.weak).softmax(1) * student(unlabeled.weak).log_softmax(1)).sum(1).mean()
    head, encoder = (torch.autograd.grad(entropy, p, retain_graph=True)[0] for p in _weights(student))
    step = MME(weight=1.0).step(Models(student, student), labeled, unlabeled, 0.5)
    loss = step.loss - nn.functional.cross_entropy(student(labeled.x), labeled.y)
    down_head, down_encoder = (torch.autograd.grad(loss, p, retain_graph=True)[0] for p in _weights(student))
    assert torch.allclose(down_head, -head, atol=1e-6) and torch.allclose(down_encoder, encoder, atol=1e-6)


def _weights(student: Classifier) -> tuple[Tensor, Tensor]:
    assert isinstance(student.encoder, nn.Linear)
    return student.head.weight, student.encoder.weight
