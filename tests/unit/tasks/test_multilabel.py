"""Several labels a sample: losses, record, scores and metrics against slow references."""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hybrid_al.core.consistency import Recording
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.manifest import Manifest, Split
from hybrid_al.core.types import Annotation, IntArray, PredictionBatch
from hybrid_al.data.loaders import labeled_batches
from hybrid_al.errors import InputError
from hybrid_al.learners.head import install, of_pairs
from hybrid_al.learners.logistic import Head
from hybrid_al.metrics.calibration import calibrate, logs
from hybrid_al.metrics.classification import classification, multilabel
from hybrid_al.metrics.holdout import LabelHoldout
from hybrid_al.models.classifier import Classifier
from hybrid_al.oracles.simulated import SimulatedLabels
from hybrid_al.scores.recorder import ConsistencyRecorder
from hybrid_al.semi import OBJECTIVES as ALL
from hybrid_al.semi.base import Labeled, Models, Unlabeled
from hybrid_al.semi.ema import make_teacher
from hybrid_al.semi.fixmatch import FixMatch
from hybrid_al.semi.pseudo_label import PseudoLabel
from hybrid_al.tasks.multilabel import BY_NAME, OBJECTIVES, scorer

LABELS, DIM = 3, 5
SETTINGS: dict[str, dict[str, Any]] = {
    "pseudo_label": {"ramp_start": 0.0, "entropy": 0.5},
    "evidential": {"unlabeled": "mean_teacher"},
}
WITHOUT_MASK = {"pi_model", "mean_teacher", "evidential"}


def batch(labels: int = LABELS, scale: float = 3.0) -> tuple[Models, Labeled, Unlabeled]:
    """A sigmoid head as student, a teacher that differs from it, and one batch of each kind."""
    generator = torch.Generator().manual_seed(0)
    student = Classifier(nn.Identity(), DIM, labels, dropout=0.0, seed=0, multilabel=True)
    with torch.no_grad():
        student.head.weight.copy_(torch.randn(labels, DIM, generator=generator) * scale)
    teacher = make_teacher(student)
    with torch.no_grad():
        teacher.head.weight.add_(torch.randn(labels, DIM, generator=generator))
    y = torch.randint(2, (6, labels), generator=generator)
    labeled = Labeled(torch.randn(6, DIM, generator=generator), y)
    weak = torch.randn(8, DIM, generator=generator)
    strong = weak + 0.5 * torch.randn(8, DIM, generator=generator)
    rows = np.arange(8)
    return Models(student, teacher), labeled, Unlabeled(rows, weak, strong, rows)


def sigmoid(network: nn.Module, x: Tensor) -> list[list[float]]:
    """Probability of yes by sample and label, number by number."""
    assert isinstance(network, Classifier)
    numbers = (x @ network.head.weight.detach().T + network.head.bias.detach()).double().tolist()
    return [[1 / (1 + math.exp(-z)) for z in row] for row in numbers]


def bce(p: float, y: float) -> float:
    return -(y * math.log(p) + (1 - y) * math.log(1 - p))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def unlabeled_term(name: str, models: Models, unlabeled: Unlabeled) -> float:
    """The mean over samples and labels of each objective's binary term, by its formula."""
    weak, strong = sigmoid(models.student, unlabeled.weak), sigmoid(models.student, unlabeled.strong)
    target, terms = sigmoid(models.teacher, unlabeled.weak), []
    for i in range(8):
        for k in range(LABELS):
            w, s, t = weak[i][k], strong[i][k], target[i][k]
            sure = w >= 0.95 or w <= 0.05
            if name == "fixmatch":
                terms.append(bce(s, float(w > 0.5)) if sure else 0.0)
            elif name in ("mean_teacher", "evidential"):
                terms.append(2 * (s - t) ** 2)  # of yes and of no
            elif name == "pi_model":
                terms.append((s - w) ** 2)  # the mean over yes and no
            elif name == "pseudo_label":
                terms.append(bce(w, float(w > 0.5)) if bce(w, w) < 0.5 else 0.0)
            else:
                q = w**2.5 / (w**2.5 + (1 - w) ** 2.5)
                terms.append(bce(s, q) - bce(q, q) if w >= 0.8 or w <= 0.2 else 0.0)
    return mean(terms)


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "supervised"])
def test_every_loss_is_the_binary_one_of_each_label(name: str) -> None:
    models, labeled, unlabeled = batch(scale=1.0)
    step = ALL[name](**SETTINGS.get(name, {})).step(models, labeled, unlabeled, 0.0)
    on_labels = sigmoid(models.student, labeled.x)
    expected = mean([bce(on_labels[i][k], float(labeled.y[i, k])) for i in range(6) for k in range(LABELS)])
    assert step.logs["loss_labeled"].item() == pytest.approx(expected, rel=1e-5)
    assert step.logs["loss_unlabeled"].item() == pytest.approx(unlabeled_term(name, models, unlabeled), rel=1e-4)
    assert step.logs["loss_unlabeled"].item() > 0


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "supervised"])
def test_an_open_mask_moves_the_student_and_not_the_teacher(name: str) -> None:
    models, labeled, unlabeled = batch()
    step = ALL[name](**SETTINGS.get(name, {})).step(models, labeled, unlabeled, 1.0 if name == "pseudo_label" else 0.5)
    weights = list(models.student.parameters())
    plain = torch.autograd.grad(ALL["supervised"]().step(models, labeled, None, 0.5).loss, weights)
    step.loss.backward()  # type: ignore[no-untyped-call]
    assert step.logs["loss_unlabeled"].item() > 0
    if name not in WITHOUT_MASK:
        assert 0 < step.logs["mask_rate"].item() <= 1
    grads = [p.grad for p in weights if p.grad is not None]
    moved = [(of_all - of_labels).abs().max().item() for of_all, of_labels in zip(grads, plain, strict=True)]
    assert max(moved) > 1e-6
    assert all(p.grad is None for p in models.teacher.parameters())
    assert step.evidence is not None
    for probs in step.evidence.probs():
        assert probs.shape == (8, 2, LABELS)
        torch.testing.assert_close(probs.sum(dim=1), torch.ones(8, LABELS))


def test_fixmatch_takes_sure_yes_and_sure_no_and_nothing_between() -> None:
    models, labeled, unlabeled = batch(scale=1.0)
    flat = [p for row in sigmoid(models.student, unlabeled.weak) for p in row]
    step = FixMatch(threshold=0.7).step(models, labeled, unlabeled, 0.0)
    assert step.logs["mask_rate"].item() == pytest.approx(mean([float(p >= 0.7 or p <= 0.3) for p in flat]))
    assert any(p <= 0.3 for p in flat) and any(p >= 0.7 for p in flat) and any(0.3 < p < 0.7 for p in flat)
    closed_gate = FixMatch(threshold=1.01).step(models, labeled, unlabeled, 0.0)
    assert closed_gate.logs["loss_unlabeled"].item() == 0


class TwoClasses(nn.Module):
    """The same head as one label's, as a network of two classes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits[:, :, 0]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_label_is_learned_as_two_classes(name: str) -> None:
    models, labeled, unlabeled = batch(labels=1)
    objective = ALL[name](**SETTINGS.get(name, {}))
    several = objective.step(models, labeled, unlabeled, 0.5)
    twin = Models(TwoClasses(models.student), TwoClasses(models.teacher))
    one = objective.step(twin, Labeled(labeled.x, labeled.y[:, 0]), unlabeled, 0.5)
    assert several.loss.item() == pytest.approx(one.loss.item(), rel=1e-6)


def test_a_head_of_pairs_says_what_the_solved_one_says() -> None:
    rng = np.random.default_rng(0)
    head = Head(rng.normal(size=(LABELS, DIM)), rng.normal(size=LABELS), 1.0, 1.0)
    plain, pairs = (
        Classifier(nn.Identity(), DIM, LABELS, dropout=0.0, seed=0, multilabel=True, pairs=two) for two in (False, True)
    )
    install(head, plain)
    install(of_pairs(head), pairs)
    x = torch.from_numpy(rng.normal(size=(4, DIM))).float()
    torch.testing.assert_close(pairs(x).softmax(dim=1), plain(x).softmax(dim=1))
    assert pairs(x).shape == (4, 2, LABELS) and pairs.classes == LABELS


def test_evidence_of_labels_is_scored_label_by_label_and_reduced() -> None:
    rng = np.random.default_rng(0)
    features, weight, bias = rng.normal(size=(4, DIM)), rng.normal(size=(2 * LABELS, DIM)), rng.normal(size=2 * LABELS)
    logits = features @ weight.T + bias
    probs = np.stack([logits[:, :LABELS], logits[:, LABELS:]], axis=1)[:, None]
    batch = PredictionBatch(np.arange(4), probs, features, (weight, bias))
    expected = [[2 / (math.exp(row[k]) + math.exp(row[LABELS + k])) for k in range(LABELS)] for row in logits]
    for reduction, reduce in (("mean", np.mean), ("max", np.max)):
        score = scorer(lambda *_: iter([batch]), reduction)  # type: ignore[arg-type]
        np.testing.assert_allclose(score("vacuity", np.arange(4), 1, 1), reduce(expected, axis=1))
    plain = PredictionBatch(np.arange(4), probs, features, (weight[:LABELS], bias[:LABELS]))
    with pytest.raises(InputError, match="two outputs a label"):
        scorer(lambda *_: iter([plain]))("vacuity", np.arange(4), 1, 1)


@pytest.mark.parametrize("alignment", ["labeled", "uniform"])
def test_alignment_is_that_of_each_label_alone(alignment: str) -> None:
    models, labeled, unlabeled = batch(scale=1.0)
    objective = FixMatch(alignment=alignment, threshold=0.6)  # type: ignore[arg-type]
    together = objective.step(models, labeled, unlabeled, 0.0).logs["loss_unlabeled"].item()
    apart = []
    for k in range(LABELS):
        alone = Classifier(nn.Identity(), DIM, 1, dropout=0.0, seed=0, multilabel=True)
        student = models.student
        assert isinstance(student, Classifier)
        alone.load_state_dict({"head.weight": student.head.weight[[k]], "head.bias": student.head.bias[[k]]})
        one = Labeled(labeled.x, labeled.y[:, [k]])
        apart.append(objective.step(Models(alone, alone), one, unlabeled, 0.0).logs["loss_unlabeled"].item())
    assert together == pytest.approx(mean(apart), rel=1e-5) and together > 0


def test_the_record_of_a_sample_is_the_mean_of_the_records_of_its_labels() -> None:
    rng, n, steps = np.random.default_rng(0), 6, 5
    together = ConsistencyRecorder(n, Recording(decay=0.8), labels=LABELS)
    apart = [ConsistencyRecorder(n, Recording(decay=0.8)) for _ in range(LABELS)]
    for _ in range(steps):
        rows = 1 + rng.permutation(n - 1)[:3]
        weak, strong = rng.dirichlet(np.ones(2), size=(2, 3, LABELS)).transpose(0, 1, 3, 2)
        together.update(rows, weak, strong)
        for k, recorder in enumerate(apart):
            recorder.update(rows, weak[:, :, k], strong[:, :, k])
    record, records = together.record(), [r.record() for r in apart]
    np.testing.assert_array_equal(record.seen, records[0].seen)
    assert record.seen[0] == 0 and record.seen.sum() == 3 * steps and (record.pseudo_label == -1).all()
    for part in ("agreement", "confidence", "flips", "divergence", "above"):
        expected = np.mean([getattr(r, part) for r in records], axis=0)
        np.testing.assert_allclose(getattr(record, part), expected, rtol=1e-6)
    assert record.uncertainty().shape == (n,)


class Says:
    """A learner that says the same of every sample each time (N, S, 2, L)."""

    def __init__(self, probs: np.ndarray) -> None:
        self.probs = probs

    def predict(self, indices: IntArray, samples: int = 1, views: int = 1) -> Any:
        for part in np.array_split(indices, 2):
            yield PredictionBatch(part, self.probs[part, : samples * views])


def test_scores_are_means_over_the_labels() -> None:
    yes = np.random.default_rng(0).random((7, 4, LABELS))
    yes[0], yes[1] = 0.5, 1.0
    score = scorer(Says(np.stack([1 - yes, yes], axis=2)).predict)
    rows = np.arange(7)
    p = yes[:, 0]
    np.testing.assert_allclose(score("least_confidence", rows, 1, 1), np.minimum(p, 1 - p).mean(axis=1))
    np.testing.assert_allclose(score("margin", rows, 1, 1), (1 - abs(2 * p - 1)).mean(axis=1))
    slow = [mean([bce(q, q) / math.log(2) for q in row]) for row in p[2:].tolist()]
    np.testing.assert_allclose(score("entropy", rows, 1, 1)[2:], slow)
    assert score("entropy", rows, 1, 1)[0] == pytest.approx(1) and score("entropy", rows, 1, 1)[1] == 0
    for name, function in BY_NAME.items():
        two = np.stack([1 - yes, yes], axis=2)
        expected = np.mean([function(two[:, :, :, k]) for k in range(LABELS)], axis=0)
        np.testing.assert_allclose(score(name, rows, 4, 1), expected, atol=1e-12)
        most = scorer(Says(two).predict, "max")(name, rows, 4, 1)
        np.testing.assert_allclose(most, np.max([function(two[:, :, :, k]) for k in range(LABELS)], axis=0), atol=1e-12)


NAMES = ("a", "b", "c")


def test_metrics_against_loops() -> None:
    rng = np.random.default_rng(0)
    probs, targets = np.round(rng.random((40, 3)), 2), rng.integers(2, size=(40, 3))
    targets[:, 2] = 0  # a label that nobody has
    targets[:7, 0] = -1
    metrics = multilabel(probs, targets, NAMES)
    areas, precisions, briers = {}, {}, []
    for k, name in enumerate(NAMES):
        pairs = [(p, y) for p, y in zip(probs[:, k].tolist(), targets[:, k].tolist(), strict=True) if y >= 0]
        briers.append(mean([2 * (p - y) ** 2 for p, y in pairs]))
        positive, negative = [p for p, y in pairs if y], [p for p, y in pairs if not y]
        if positive:
            areas[name] = mean([(p > q) + 0.5 * (p == q) for p in positive for q in negative])
            cuts = [1.1, *sorted({p for p, _ in pairs}, reverse=True)]
            share = [sum(p >= c for p in positive) / len(positive) for c in cuts]
            right = [sum(p >= c for p in positive) / max(1, sum(p >= c for p, _ in pairs)) for c in cuts]
            precisions[name] = sum((b - a) * r for (a, b), r in zip(pairwise(share), right[1:], strict=True))
    assert {n for n in metrics if n.startswith("auroc/")} == {"auroc/a", "auroc/b"}
    for name, area in areas.items():
        assert metrics[f"auroc/{name}"] == pytest.approx(area)
        assert metrics[f"average_precision/{name}"] == pytest.approx(precisions[name])
    assert metrics["auroc"] == pytest.approx(mean(list(areas.values())))
    assert metrics["average_precision"] == pytest.approx(mean(list(precisions.values())))
    assert metrics["brier"] == pytest.approx(mean(briers))


def test_one_label_is_measured_as_two_classes() -> None:
    rng = np.random.default_rng(1)
    p, y = rng.random(30), rng.integers(2, size=30)
    metrics, expected = multilabel(p[:, None], y[:, None], ("a",)), classification(np.stack([1 - p, p], axis=1), y)
    assert {name: metrics[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("probs", "targets", "message"),
    [
        (np.full((2, 1), 0.5), np.full((2, 1), 2), "labels 0, 1 or -1"),
        (np.full((2, 1), 0.5), np.full((2, 1), -1), "a known label"),
        (np.full((2, 1), np.nan), np.zeros((2, 1), dtype=np.int64), "in \\[0, 1\\]"),
        (np.full((2, 1), 0.5), np.zeros(2, dtype=np.int64), "\\(N, L\\)"),
    ],
)
def test_what_is_no_label_cannot_be_measured(probs: np.ndarray, targets: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        multilabel(probs, targets, ("a",))


def test_answers_are_the_labels_that_are_there_and_unknown_ones_are_skipped() -> None:
    truth = np.asarray([[1, 0, 1], [0, 0, 0], [1, -1, 0]])
    got = SimulatedLabels(truth).annotate(np.asarray([1, 0, 2]), 0)
    assert [(a.index, a.kind, a.target) for a in got] == [(1, "classes", ()), (0, "classes", (0, 2)), (2, "skip", None)]
    store = LabelStore.from_jsonl(3, LabelStore(3).add(got).to_jsonl())
    np.testing.assert_array_equal(store.labeled, [1, 0])
    np.testing.assert_array_equal(store.label_targets(3), [[0, 0, 0], [1, 0, 1]])
    with pytest.raises(InputError, match="label of sample 0: expected labels below 2"):
        store.label_targets(2)
    with pytest.raises(InputError, match="labels below 2, got class 1"):
        LabelStore(3, (Annotation(0, "class", 1, "me", 0),)).label_targets(2)


def test_the_holdout_counts_known_labels_alone() -> None:
    ids = tuple("abcd")
    manifest = Manifest(ids, ids, ids, ("pool", "test", "test", "test"), ids)
    truth = np.asarray([[1, 1], [1, -1], [0, 1], [-1, -1]])
    yes = np.asarray([[0.1, 0.1], [0.8, 0.0], [0.3, 0.6], [0.5, 0.5]])
    holdout = LabelHoldout(manifest, ("a", "b"), truth)
    outcome = holdout.evaluate(Says(np.stack([1 - yes, yes], axis=1)[:, None]))  # type: ignore[arg-type]
    assert outcome.metrics["test/auroc/a"] == outcome.metrics["test/auroc"] == 1
    assert outcome.metrics["test/brier"] == pytest.approx(mean([(0.2**2 + 0.3**2), 2 * 0.4**2]))
    assert outcome.reliability["test"][0].sum() == 3 and not any(name.startswith("val/") for name in outcome.metrics)


def test_the_holdout_measures_calibrated_labels_too_but_not_where_they_were_fitted() -> None:
    rng, ids = np.random.default_rng(0), tuple(map(str, range(61)))
    splits: tuple[Split, ...] = ("val",) * 30 + ("test",) * 30 + ("pool",)
    holdout = LabelHoldout(Manifest(ids, ids, ids, splits, ids), ("a", "b/c"), rng.integers(-1, 2, size=(61, 2)))
    yes = rng.random((61, 2))
    says: Any = Says(np.stack([1 - yes, yes], axis=1)[:, None])
    probs, truth = holdout.answers(says, "val")
    calibration = calibrate(logs(probs), truth)
    plain, outcome = holdout.evaluate(says), holdout.evaluate(says, calibration, fitted_on="val")
    assert plain.metrics.items() <= outcome.metrics.items()
    assert outcome.reliability.keys() == {"val", "test", "test_calibrated"}
    probs, truth = holdout.answers(says, "test")
    calibrated = calibration.probs(logs(probs))
    slow = []
    for k, name in enumerate(("a", "b/c")):
        labeled = truth[:, k] >= 0
        slow.append(classification(calibrated[labeled, :, k], truth[labeled, k]))
        for metric in ("ece", "brier"):
            assert outcome.metrics[f"test/{metric}_calibrated/{name}"] == pytest.approx(slow[-1][metric])
            assert f"test/{metric}/{name}" in outcome.metrics and f"val/{metric}/{name}" in outcome.metrics
    for metric in ("nll", "ece", "classwise_ece", "brier"):
        assert outcome.metrics[f"test/{metric}_calibrated"] == pytest.approx(
            mean([label_metrics[metric] for label_metrics in slow])
        )
    assert {name.split("/")[0] for name in outcome.metrics if "_calibrated" in name} == {"test"}
    everywhere = holdout.evaluate(says, calibration, fitted_on="cross")
    assert "val/ece_calibrated/a" in everywhere.metrics and "test/auroc_calibrated" not in everywhere.metrics


def test_balanced_batches_give_each_label_and_none_the_same_share() -> None:
    targets = np.zeros((20, 2), dtype=np.int64)
    targets[0, 0] = targets[1:5, 1] = 1
    rows = np.concatenate(list(islice(labeled_batches(targets, 6, np.random.default_rng(0), balanced=True), 50)))
    counts = Counter("none" if not any(targets[i]) else "ab"[int(targets[i].argmax())] for i in rows)
    assert counts == {"a": 100, "b": 100, "none": 100}


def test_pseudo_labels_by_entropy_are_those_of_each_label() -> None:
    models, labeled, unlabeled = batch(scale=1.0)
    step = PseudoLabel(ramp_start=0.0, entropy=0.3).step(models, labeled, unlabeled, 0.0)
    flat = [p for row in sigmoid(models.student, unlabeled.weak) for p in row]
    assert step.logs["mask_rate"].item() == pytest.approx(mean([float(bce(p, p) < 0.3) for p in flat]))
