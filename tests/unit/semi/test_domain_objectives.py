"""Trainings of domain shift: values against slow references, and gradients where they belong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_al.core.types import IGNORE
from hybrid_al.data.loaders import EmbeddingInputs
from hybrid_al.kernels.kmeans import k_means
from hybrid_al.models.classifier import Adapter, Classifier
from hybrid_al.scores.samples import dirichlet_data, dirichlet_information
from hybrid_al.semi.adversary import Adversary
from hybrid_al.semi.anchors import Anchors
from hybrid_al.semi.base import Labeled, Models, Unlabeled, ramp_up
from hybrid_al.semi.dann import DANN, told_apart
from hybrid_al.semi.dense.anchors import DenseAnchors
from hybrid_al.semi.dense.base import UnlabeledPixels, labeled_loss
from hybrid_al.semi.dense.ripu import RIPU, unlike_neighbours
from hybrid_al.semi.divide import Divide
from hybrid_al.semi.evidential import Evidential, uncertainties
from hybrid_al.semi.features import anchors_of, to_anchors
from hybrid_al.semi.shot import SHOT
from hybrid_al.semi.virtual import virtual_adversarial
from hybrid_al.semi.waal import WAAL
from hybrid_al.train import Schedule, Sets, fit

CLASSES, DIM, WIDTH = 3, 5, 4
SOURCE = torch.tensor([True, True, True, True, False, False])


def batch(source: Tensor | None = SOURCE) -> tuple[Models, Labeled, Unlabeled]:
    """A network of an encoder and a head, six labels and eight samples of the target."""
    torch.manual_seed(0)
    student = Classifier(nn.Linear(DIM, WIDTH), WIDTH, CLASSES, dropout=0.0, seed=0)
    with torch.no_grad():
        student.head.weight.mul_(4)
    labeled = Labeled(torch.randn(6, DIM), torch.arange(6) % CLASSES, source=source)
    weak = torch.randn(8, DIM) + 1
    return Models(student, student), labeled, Unlabeled(np.arange(8), weak, weak + 0.3, np.arange(8))


def slopes(loss: Tensor, models: Models) -> tuple[Tensor, Tensor]:
    """Gradients of the encoder's and of the head's weights; 0 where there is none."""
    weights = [models.student.get_parameter(name) for name in ("encoder.weight", "head.weight")]
    found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    first, second = (torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True))
    return first, second


def features_of(models: Models, x: Tensor) -> Tensor:
    features: Tensor = models.student.get_submodule("encoder")(x)
    return features


def on_labels(models: Models, labeled: Labeled) -> Tensor:
    return F.cross_entropy(models.student(labeled.x), labeled.y)


def test_an_adversary_descends_as_adam_does() -> None:
    models, x = batch()[0], torch.randn(7, WIDTH)
    adversary = Adversary(models, WIDTH, width=6, rate=0.01, device=x.device)
    slow = nn.Sequential(nn.Linear(WIDTH, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 1))
    for weight, own in zip(slow.parameters(), adversary.weights, strict=True):
        weight.data.copy_(own.detach())
    optimizer = torch.optim.Adam(slow.parameters(), lr=0.01)
    for _ in range(5):
        adversary = Adversary(models, WIDTH, width=6, rate=0.01, device=x.device)  # it goes on from the memory
        adversary.descend(adversary(x, learns=True).square().mean())
        optimizer.zero_grad()
        slow(x).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(adversary(x), slow(x)[:, 0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("known", ["source", "labeled"])
def test_dann_moves_the_features_against_a_discriminator_that_learns(known: str) -> None:
    models, labeled, unlabeled = batch()
    step = DANN(weight=2.0, known=known).step(models, labeled, unlabeled, 1.0)  # type: ignore[arg-type]
    features = features_of(models, torch.cat([labeled.x, unlabeled.weak]))
    first = torch.cat([SOURCE if known == "source" else SOURCE | True, torch.zeros(8, dtype=torch.bool)])
    adversary = Adversary(models, WIDTH, width=128, rate=1e-3, device=features.device)  # after its step
    apart = told_apart(adversary(features), first)
    assert step.logs["loss_domain"].item() == pytest.approx(apart.item(), rel=1e-5)
    encoder, head = slopes(step.loss - on_labels(models, labeled), models)
    torch.testing.assert_close(
        encoder, -2 * (2 / (1 + np.exp(-10)) - 1) * slopes(apart, models)[0], rtol=1e-4, atol=1e-6
    )
    assert not head.abs().max() > 1e-6
    for _ in range(60):
        step = DANN(known=known).step(models, labeled, unlabeled, 0.0)  # type: ignore[arg-type]
    assert step.logs["loss_domain"] < apart.item()


def test_dann_without_a_side_or_a_source() -> None:
    models, labeled, unlabeled = batch(SOURCE & False)
    assert "loss_domain" not in DANN().step(models, labeled, unlabeled, 1.0).logs
    models, labeled, unlabeled = batch(None)
    one = DANN().step(models, labeled, unlabeled, 1.0).loss
    models, labeled, unlabeled = batch(SOURCE)
    assert one.item() == pytest.approx(DANN(known="labeled").step(models, labeled, unlabeled, 1.0).loss.item())


def test_the_source_is_resampled_by_the_sure_predictions_of_the_target() -> None:
    models, labeled, unlabeled = batch()
    step = DANN(weight=0, resample=True).step(models, labeled, unlabeled, 0.5)
    counts = np.ones(CLASSES)
    for p in models.student(unlabeled.weak).softmax(dim=1).detach().numpy():
        top = np.sort(p)[::-1]
        counts[p.argmax()] += top[0] * (top[0] - top[1] > 0.8)
    assert counts.max() > 1.8  # some are sure
    losses = F.cross_entropy(models.student(labeled.x), labeled.y, reduction="none").detach().numpy()
    y, source = labeled.y.numpy(), SOURCE.numpy()
    weight = np.asarray([counts[c] / (y[source] == c).sum() for c in y[source]])
    own = 4 * (weight / weight.sum() * losses[source]).sum()
    assert step.loss.item() == pytest.approx((own + losses[~source].sum()) / 6, rel=1e-5)


def test_vada_adds_the_entropy_and_a_change_that_is_worse_than_a_random_one() -> None:
    models, labeled, unlabeled = batch()
    plain = DANN(weight=0).step(models, labeled, unlabeled, 0.5)
    more = DANN(weight=0, entropy=0.5, virtual=2.0).step(models, labeled, unlabeled, 0.5)
    p = models.student(unlabeled.weak).softmax(dim=1)
    expected = plain.loss + 0.5 * -(p * p.log()).sum(dim=1).mean() + 2 * more.logs["loss_virtual"]
    torch.testing.assert_close(more.loss, expected)
    x = torch.cat([labeled.x, unlabeled.weak])
    length = 0.1 * (x - x.mean(dim=0)).norm(dim=1).mean()
    worst = virtual_adversarial(models.student, x, 0.1).item()
    before = models.student(x).softmax(dim=1)
    for _ in range(5):
        after = models.student(x + length * F.normalize(torch.randn_like(x), dim=1)).log_softmax(dim=1)
        assert 0 < (before * (before.log() - after)).sum(dim=1).mean().item() < worst
    assert slopes(more.logs["loss_virtual"] + virtual_adversarial(models.student, x, 0.1), models)[0].abs().max() > 0


def test_waal_brings_together_what_its_critic_tells_apart() -> None:
    models, labeled, unlabeled = batch()
    for _ in range(40):
        step = WAAL(weight=3.0, rate=0.01).step(models, labeled, unlabeled, 0.5)
    assert step.logs["loss_domain"] > 0.1
    encoder, head = slopes(step.loss - on_labels(models, labeled), models)
    critic = Adversary(models, WIDTH, width=128, rate=0.01, device=labeled.x.device)
    known, others = (critic(features_of(models, x)).mean() for x in (labeled.x, unlabeled.weak))
    torch.testing.assert_close(encoder, 3 * slopes(others - known, models)[0], rtol=1e-3, atol=1e-5)
    assert not head.abs().max() > 1e-6


def test_shot_equals_the_slow_reference_and_leaves_the_head_to_the_labels() -> None:
    models, labeled, unlabeled = batch()
    step = SHOT().step(models, labeled, unlabeled, 0.5)
    features = features_of(models, unlabeled.weak)
    p = models.student(unlabeled.weak).softmax(dim=1)
    information = -(p * p.log()).sum(dim=1).mean() + (p.mean(dim=0) * p.mean(dim=0).log()).sum()
    centroids = [(p[:, c, None] * features).sum(dim=0) for c in range(CLASSES)]
    pseudo = [int(np.argmax([F.cosine_similarity(f, c, dim=0).item() for c in centroids])) for f in features]
    loss_labeled = F.cross_entropy(models.student(labeled.x), labeled.y, label_smoothing=0.1)
    expected = loss_labeled + information + 0.3 * F.cross_entropy(p.log(), torch.tensor(pseudo))
    torch.testing.assert_close(step.loss, expected)
    assert not slopes(step.loss - loss_labeled, models)[1].abs().max() > 1e-6
    alone = SHOT().step(*batch(SOURCE | True), 0.5)
    assert alone.loss.item() == pytest.approx(loss_labeled.item()) and alone.evidence is not None
    later = SHOT().step(models, replace(labeled, source=SOURCE | True), unlabeled, 0.5)  # one such batch of a fit
    torch.testing.assert_close(later.logs["loss_information"], information.detach())


def test_anchors_of_the_target_follow_it_slowly() -> None:
    models, labeled, unlabeled = batch()
    torch.manual_seed(1)
    models.memory["anchors"] = anchors = torch.randn(3, WIDTH)
    step = Anchors(decay=0.9).step(models, labeled, unlabeled, 0.5)
    rows = features_of(models, torch.cat([labeled.x[4:], unlabeled.weak]))
    squared = torch.stack([(rows - a).square().mean(dim=1) for a in anchors], dim=1)
    assert step.logs["loss_anchors"].item() == pytest.approx((3 / (1 / squared).sum(dim=1)).mean().item(), rel=1e-4)
    logits = models.student(unlabeled.weak)
    expected = on_labels(models, labeled) + F.cross_entropy(logits, logits.argmax(dim=1)) + step.logs["loss_anchors"]
    torch.testing.assert_close(step.loss, expected)
    for k, anchor in enumerate(anchors):
        near = rows[squared.argmin(dim=1) == k].detach()
        moved = 0.9 * anchor + 0.1 * near.mean(dim=0) if len(near) else anchor
        torch.testing.assert_close(models.memory["anchors"][k], moved)
    fresh, labeled, unlabeled = batch()
    Anchors(anchors=50).step(fresh, labeled, unlabeled, 0.5)
    assert len(fresh.memory["anchors"]) == 10  # of the target's rows in the batch


def test_anchors_move_a_little_in_half_precision() -> None:
    torch.manual_seed(0)
    models = Models(nn.Identity(), nn.Identity())
    features = torch.randn(20, WIDTH).bfloat16()
    models.memory["anchors"] = anchors_of(features, 3, models)
    before = models.memory["anchors"].clone()
    assert to_anchors(models, features + 0.125, anchors=3, decay=0.999).dtype == torch.float32
    moved = models.memory["anchors"] - before
    assert moved.dtype == torch.float32 and (moved.abs() > 0).any() and moved.abs().max() < 0.005


def test_divide_has_a_loss_for_each_quarter() -> None:
    models, labeled, unlabeled = batch()
    labeled = replace(labeled, y=torch.tensor([0, 1, 0, 1, 0, 1]))  # nothing is consistent with a class without labels
    step = Divide(sure=0.7, entropy=0.5).step(models, labeled, unlabeled, 0.5)
    own, weak = (features_of(models, x).detach() for x in (labeled.x, unlabeled.weak))
    means = torch.stack([own[labeled.y == c].mean(dim=0) for c in (0, 1)])
    nearest = F.cosine_similarity(weak[:, None], means, dim=2).argmax(dim=1)
    p = models.student(unlabeled.weak).softmax(dim=1)
    top, pseudo = p.max(dim=1)
    sure, consistent = top >= 0.7, pseudo == nearest
    assert (sure & consistent).any() and (~sure & consistent).any() and not consistent.all()
    losses = F.cross_entropy(models.student(unlabeled.strong), pseudo, reduction="none")
    entropies = -(p * p.log()).sum(dim=1)
    expected = on_labels(models, labeled) + (losses * (sure & consistent)).mean()
    torch.testing.assert_close(step.loss, expected + 0.5 * (entropies * (consistent & ~sure)).mean())


def test_duc_lowers_the_two_uncertainties_that_its_query_reads() -> None:
    models, labeled, unlabeled = batch()
    logits = models.student(unlabeled.weak)
    alpha = logits.detach().double().exp().numpy()
    for found, slow in zip(uncertainties(logits), (dirichlet_information(alpha), dirichlet_data(alpha)), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), slow * np.log(CLASSES), atol=1e-5)  # scores are shares of it
    plain = Evidential().step(models, labeled, unlabeled, 0.2)
    both = Evidential(unlabeled="uncertainty", consistency=2.0).step(models, labeled, unlabeled, 0.2)
    distribution, data = (u.mean() for u in uncertainties(logits))
    torch.testing.assert_close(both.loss, plain.loss + 2 * ramp_up(0.2, 0.4) * (distribution + 0.05 * data))
    assert plain.evidence is None and both.evidence is not None


def test_ripu_smooths_the_source_and_unlearns_on_the_target() -> None:
    torch.manual_seed(0)
    student = nn.Conv2d(2, CLASSES, 1)
    with torch.no_grad():
        student.weight.mul_(6)
    x, y = torch.randn(2, 2, 4, 4), torch.randint(CLASSES, (2, 4, 4))
    y[0, 0] = IGNORE
    labeled = Labeled(x, y, source=torch.tensor([True, False]))
    weak, valid = torch.randn(3, 2, 4, 4), torch.ones(3, 4, 4, dtype=torch.bool)
    valid[:, 3] = False
    step = RIPU().step(Models(student, student), labeled, UnlabeledPixels(np.arange(3), weak, weak, valid), 0.5)
    p = student(x[:1]).softmax(dim=1).detach().numpy()[0]
    counted, unlike = y[0] != IGNORE, np.zeros((4, 4))
    for i, j in zip(*np.nonzero(counted.numpy()), strict=True):
        near = np.s_[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
        around = p[:, *near][:, counted.numpy()[near]].mean(axis=1)
        unlike[i, j] = np.abs(p[:, i, j] - around).sum()
    found = unlike_neighbours(torch.from_numpy(p)[None], counted[None])[0]
    np.testing.assert_allclose(found.numpy(), unlike, atol=1e-6)
    q = student(weak).softmax(dim=1).detach().numpy()[:, :, :3]
    negative = -np.log(1 - q[q < 0.05]).mean()
    expected = labeled_loss(student(x), labeled).item() + 0.1 * unlike[1:].mean() + negative
    assert step.loss.item() == pytest.approx(expected, rel=1e-4)


def test_an_adapter_starts_as_the_features_themselves() -> None:
    x = torch.randn(3, WIDTH)
    adapter = Adapter(WIDTH, 6)
    assert torch.equal(adapter(x), x)
    assert torch.autograd.grad(adapter(x).sum(), adapter.up.weight)[0].abs().max() > 0


@pytest.mark.parametrize("start_round", [0, 1])
def test_a_source_free_round_reads_nothing_of_the_source(start_round: int) -> None:
    """Rows of the source are nan: what reads one has a loss that is no number."""
    source = np.arange(40) < 20
    plain = np.random.default_rng(0).normal(size=(40, DIM)).astype(np.float32)
    plain[source] = np.nan if start_round else plain[source]
    inputs = EmbeddingInputs(plain, np.zeros((0, 40, DIM)), plain[None], torch.device("cpu"))
    labeled = np.arange(0, 24 if start_round else 20)
    sets = Sets(labeled, labeled % CLASSES, np.arange(24, 40), 40, round=start_round, source=source)
    schedule = Schedule(steps=5, min_steps=5, batch=6, ratio=2, target_share=1.0, start="last")
    network = Classifier(Adapter(DIM, 3), DIM, CLASSES, dropout=0.0, seed=0)
    result = fit(network, SHOT(), inputs, sets, schedule, seed=0, log=lambda *_: None)
    assert np.isfinite(result.metrics["train/loss"])


class Pixels(nn.Conv2d):
    """A network that looks at single pixels; its features are the channels of the image."""

    def __init__(self) -> None:
        super().__init__(2, CLASSES, 1)
        self.stride: Any = 1

    def decoded(self, images: Tensor) -> Tensor:
        return 2 * images

    def classify(self, decoded: Tensor, size: torch.Size) -> Tensor:
        return self(decoded / 2)  # type: ignore[no-any-return]


def test_anchors_of_masks_are_made_after_the_labels_were_learned() -> None:
    """The second stage against loops over images and classes, from the anchors that the first one's vectors make."""
    torch.manual_seed(0)
    student, shape = Pixels(), (4, 2, 6, 6)
    with torch.no_grad():
        student.weight.mul_(6)
    labeled = Labeled(torch.randn(2, 2, 6, 6), torch.randint(CLASSES, (2, 6, 6)))
    weak, valid = torch.randn(shape) + torch.tensor([1.0, 0])[:, None, None], torch.ones(4, 6, 6, dtype=torch.bool)
    valid[:, 5] = False
    views, models = UnlabeledPixels(np.arange(4), weak, weak + 0.1, valid), Models(student, student)
    objective = DenseAnchors(anchors=2, pseudo=0.5, weight=2.0, decay=0.9, alone=0.3)

    predicted, vectors, few = student(weak).argmax(dim=1), torch.zeros(4, CLASSES, 2), 0
    for u in range(4):
        for c in range(CLASSES):
            own = (predicted[u] == c) & valid[u]
            few += 0 < own.sum() < 10
            if own.sum() >= 10:
                vectors[u, c] = 2 * weak[u][:, own].mean(dim=1)
    rows = vectors.flatten(1)
    assert few and (rows == 0).any()

    for _ in range(15):
        first = objective.step(models, labeled, views, 0.2)
    assert first.loss.item() == labeled_loss(student(labeled.x), labeled).item() and first.evidence is not None
    assert len(models.memory["vectors"]) == 40  # the last ones
    torch.testing.assert_close(models.memory["vectors"][-4:], rows)

    step = objective.step(models, labeled, views, 0.3)
    assert "vectors" not in models.memory
    expected_anchors, _ = k_means(rows.repeat(10, 1).numpy(), 2, np.random.default_rng(0))
    anchors = torch.from_numpy(expected_anchors)
    squared = torch.stack([(rows - a).square().mean(dim=1) for a in anchors], dim=1).clamp_min(1e-12)
    distance = (2 / (1 / squared).sum(dim=1)).mean().item()
    assert step.logs["loss_anchors"].item() == pytest.approx(distance, rel=1e-3, abs=1e-6)
    losses = F.cross_entropy(student(weak), predicted, reduction="none")[valid]
    expected = first.loss + 0.5 * losses.mean() + 2 * step.logs["loss_anchors"]
    torch.testing.assert_close(step.loss, expected)
    for k, anchor in enumerate(anchors):
        near = rows[squared.argmin(dim=1) == k]
        moved = 0.9 * anchor + 0.1 * near.mean(dim=0) if len(near) else anchor
        torch.testing.assert_close(models.memory["anchors"][k], moved)
