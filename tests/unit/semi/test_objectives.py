"""Objectives one by one: losses and masks against slow references and by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hybrid_al.models.classifier import Classifier
from hybrid_al.semi.base import Labeled, Models, Unlabeled
from hybrid_al.semi.debiased import Debiased
from hybrid_al.semi.distinctive_margin import DistinctiveMargin
from hybrid_al.semi.ema import make_teacher
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
from tests.helpers.objectives import CLASSES, DIM, batch, cross_entropy, logits, softmax, steps


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


@pytest.mark.parametrize("alignment", ["labeled", "uniform"])
def test_fixmatch_with_alignment_changes_the_mask_only_through_its_targets(alignment: str) -> None:
    models, labeled, unlabeled = batch(scale=1.0)
    plain = FixMatch(threshold=0.0).step(models, labeled, unlabeled, 0.0)
    aligned = FixMatch(threshold=0.0, alignment=alignment).step(models, labeled, unlabeled, 0.0)  # type: ignore[arg-type]
    assert plain.evidence is not None and aligned.evidence is not None
    assert torch.equal(plain.evidence.weak, aligned.evidence.weak)
    assert torch.equal(plain.logs["loss_labeled"], aligned.logs["loss_labeled"])


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


def test_energy_aligns_the_target_with_the_source_alone() -> None:
    models, labeled, unlabeled = batch(scale=1.0)
    labeled = replace(labeled, source=torch.tensor([True, True, True, False, False, False]))
    step = Energy(weight=2.0).step(models, labeled, unlabeled, 0.5)
    bound = -np.log(np.exp(logits(models.student, labeled.x[:3])).sum(axis=1)).mean()
    above = (-np.log(np.exp(logits(models.student, unlabeled.weak)).sum(axis=1)) - bound).clip(0).mean()
    assert above > 0 and step.logs["loss_unlabeled"].item() == pytest.approx(above, rel=1e-5)
    assert step.loss.item() == pytest.approx(step.logs["loss_labeled"].item() + 2 * above, rel=1e-5)
    without = replace(labeled, source=torch.zeros(6, dtype=torch.bool))  # a batch of the target alone moves no bound
    assert Energy().step(models, without, unlabeled, 0.5).logs["loss_unlabeled"].item() == pytest.approx(
        above, rel=1e-5
    )


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
