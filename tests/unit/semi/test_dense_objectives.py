"""Objectives of segmentation: values against slow references, gradients where they belong, partial masks, CutMix."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hybrid_al.core.registry import component
from hybrid_al.core.types import IGNORE
from hybrid_al.errors import InputError
from hybrid_al.models.segmenter import Committee
from hybrid_al.semi.base import Labeled, Models
from hybrid_al.semi.dense import DENSE_OBJECTIVES
from hybrid_al.semi.dense.base import (
    CutMix,
    DenseObjective,
    LabeledPixels,
    PixelEvidence,
    UnlabeledPixels,
    dice_ce,
    labeled_loss,
)
from hybrid_al.semi.dense.cps import CrossPseudoSupervision
from hybrid_al.semi.dense.fixmatch import DenseFixMatch
from hybrid_al.semi.dense.mean_teacher import DenseMeanTeacher
from hybrid_al.semi.dense.ua_mt import UncertaintyAwareMeanTeacher
from hybrid_al.semi.dense.unimatch import UniMatch
from hybrid_al.semi.ema import make_teacher

C, SIDE = 3, 6
SEMI = [name for name, kind in DENSE_OBJECTIVES.items() if kind().uses_unlabeled]


class Pixelwise(nn.Conv2d):
    """A network that looks at single pixels; what stands for its features are the channels of the image."""

    def __init__(self, scale: float, generator: torch.Generator) -> None:
        super().__init__(2, C, 1)
        self.stride: Any = 1
        with torch.no_grad():
            self.weight.copy_(torch.randn(self.weight.shape, generator=generator) * scale)
            assert self.bias is not None
            self.bias.zero_()

    def decoded(self, images: Tensor) -> Tensor:
        return images

    def classify(self, decoded: Tensor, size: torch.Size) -> Tensor:
        return self(decoded)  # type: ignore[no-any-return]

    def outputs(self, images: Tensor) -> list[Tensor]:
        return [self(images)]

    def perturbed(self, images: Tensor, share: float) -> Tensor:
        return self(nn.functional.dropout2d(images, share))  # type: ignore[no-any-return]


def batch(
    scale: float = 8.0, unlabeled: int = 4, networks: int = 1, views: int = 1
) -> tuple[Models, Labeled, UnlabeledPixels]:
    """A student that looks at single pixels, a teacher that differs, partial masks, and images with padding."""
    generator = torch.Generator().manual_seed(0)
    student: nn.Module = Pixelwise(scale, generator)
    teacher = make_teacher(student)
    with torch.no_grad():
        next(teacher.parameters()).add_(torch.randn(C, 2, 1, 1, generator=generator))
    if networks > 1:
        student = Committee(cast(Any, [student, *(Pixelwise(scale, generator) for _ in range(networks - 1))]))
        teacher = make_teacher(student)
    y = torch.randint(C, (3, SIDE, SIDE), generator=generator)
    y[0, :3], y[1] = IGNORE, IGNORE
    labeled = Labeled(torch.randn(3, 2, SIDE, SIDE, generator=generator), y)
    weak = torch.randn(unlabeled, 2, SIDE, SIDE, generator=generator)
    strong, *others = (weak + 0.5 * torch.randn(weak.shape, generator=generator) for _ in range(views))
    valid = torch.ones(unlabeled, SIDE, SIDE, dtype=torch.bool)
    valid[0, :, :2] = False
    unlabeled_batch = UnlabeledPixels(np.arange(unlabeled) + 5, weak, strong, valid, tuple(others))
    return Models(student, teacher), labeled, unlabeled_batch


def batch_for(name: str, unlabeled: int = 4) -> tuple[DenseObjective, Models, Labeled, UnlabeledPixels]:
    objective: DenseObjective = DENSE_OBJECTIVES[name]()
    return objective, *batch(unlabeled=unlabeled, networks=objective.networks, views=objective.strong_views)


def members(student: nn.Module) -> list[nn.Module]:
    return list(student.members) if isinstance(student, Committee) else [student]


def supervised_loss(student: nn.Module, labeled: Labeled) -> Tensor:
    """Sum over the networks that are trained."""
    return torch.stack([dice_ce(network(labeled.x), labeled.y) for network in members(student)]).sum()


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def probs(network: nn.Module, x: Tensor) -> np.ndarray:
    with torch.no_grad():
        return softmax(network(x).numpy().astype(np.float64))


def slow_dice_ce(p: np.ndarray, y: np.ndarray) -> float:
    pixels = [(b, i, j) for b in range(len(y)) for i in range(SIDE) for j in range(SIDE) if y[b, i, j] != IGNORE]
    if not pixels:
        return 0.0
    entropy = np.mean([-math.log(p[b, y[b, i, j], i, j]) for b, i, j in pixels])
    losses = []
    for c in range(1, p.shape[1]):
        both = sum(p[b, c, i, j] for b, i, j in pixels if y[b, i, j] == c)
        either = sum(p[b, c, i, j] for b, i, j in pixels) + sum(y[b, i, j] == c for b, i, j in pixels)
        losses.append(1 - (2 * both + 1) / (either + 1))
    return float(entropy + np.mean(losses)) / 2


@pytest.mark.parametrize("absent", [False, True])
def test_dice_ce_equals_the_slow_reference(absent: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, C, SIDE, SIDE, generator=generator)
    y = torch.randint(2 if absent else C, (3, SIDE, SIDE), generator=generator)
    y[0, 2:] = IGNORE
    expected = slow_dice_ce(softmax(logits.double().numpy()), y.numpy())
    assert dice_ce(logits, y).item() == pytest.approx(expected, rel=1e-5)


def test_unlabeled_pixels_of_partial_masks_send_exactly_no_gradient() -> None:
    logits = torch.randn(2, C, SIDE, SIDE, generator=torch.Generator().manual_seed(2), requires_grad=True)
    y = torch.randint(C, (2, SIDE, SIDE), generator=torch.Generator().manual_seed(3))
    y[0, :, 3:], y[1, 1:5, 1:5] = IGNORE, IGNORE
    dice_ce(logits, y).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    per_pixel = logits.grad.abs().sum(dim=1)
    assert (per_pixel[y == IGNORE] == 0).all() and (per_pixel[y != IGNORE] > 0).all()


def test_points_and_scribbles_are_learned_by_cross_entropy_alone() -> None:
    models, labeled, _ = batch(scale=2.0)
    p, y = probs(models.student, labeled.x), labeled.y.numpy()
    expected = np.mean([-math.log(p[b, y[b, i, j], i, j]) for b, i, j in np.argwhere(y != IGNORE)])
    loss = labeled_loss(models.student(labeled.x), LabeledPixels(labeled.x, labeled.y, extent=False))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    whole = labeled_loss(models.student(labeled.x), LabeledPixels(labeled.x, labeled.y))
    assert whole.item() == dice_ce(models.student(labeled.x), labeled.y).item() != loss.item()


def test_a_batch_without_a_labeled_pixel_has_no_loss() -> None:
    logits = torch.randn(2, C, SIDE, SIDE, requires_grad=True)
    loss = dice_ce(logits, torch.full((2, SIDE, SIDE), IGNORE))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize("name", SEMI)
def test_unsupervised_term_moves_the_student_and_leaves_the_teacher_alone(name: str) -> None:
    objective, models, labeled, unlabeled = batch_for(name)
    step = objective.step(models, labeled, unlabeled, 1.0)
    assert step.logs["loss_unlabeled"].item() > 0
    (step.loss - supervised_loss(models.student, labeled)).backward()  # type: ignore[no-untyped-call]
    for network in members(models.student):
        assert isinstance(network, nn.Conv2d) and network.weight.grad is not None
        assert float(network.weight.grad.abs().max()) > 1e-6
    assert all(p.grad is None for p in models.teacher.parameters())


@pytest.mark.parametrize("name", DENSE_OBJECTIVES)
def test_padding_and_unlabeled_pixels_change_nothing(name: str) -> None:
    """Other values of these pixels give the same loss and the same gradient."""
    results = []
    for other in (0.0, 3.0):
        objective, models, labeled, unlabeled = batch_for(name)
        x = torch.where((labeled.y == IGNORE).unsqueeze(1), labeled.x + other, labeled.x)
        hidden = ~unlabeled.valid.unsqueeze(1)
        weak, strong, *others = (
            torch.where(hidden, v + other, v) for v in (unlabeled.weak, unlabeled.strong, *unlabeled.others)
        )
        torch.manual_seed(0)
        views = UnlabeledPixels(unlabeled.indices, weak, strong, unlabeled.valid, tuple(others))
        step = objective.step(models, Labeled(x, labeled.y), views, 0.7)
        step.loss.backward()  # type: ignore[no-untyped-call]
        weight = next(models.student.parameters())
        assert weight.grad is not None
        results.append((step.loss.item(), weight.grad.clone()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    torch.testing.assert_close(results[0][1], results[1][1])


@pytest.mark.parametrize("name", DENSE_OBJECTIVES)
def test_without_unlabeled_images_all_are_supervised(name: str) -> None:
    objective, models, labeled, _ = batch_for(name)
    step = objective.step(models, labeled, None, 0.5)
    assert step.evidence is None and step.loss.item() == supervised_loss(models.student, labeled).item()


@pytest.mark.parametrize("name", SEMI)
def test_evidence_is_of_the_same_pixels(name: str) -> None:
    """The student sees single pixels, so its predictions on strong views are the same with and without mixing."""
    objective, models, labeled, unlabeled = batch_for(name, unlabeled=5)
    evidence = objective.step(models, labeled, unlabeled, 0.5).evidence
    assert isinstance(evidence, PixelEvidence) and torch.equal(evidence.valid, unlabeled.valid)
    np.testing.assert_array_equal(evidence.indices, unlabeled.indices)
    source = models.teacher if name in ("mean_teacher", "ua_mt", "pld") else models.student
    np.testing.assert_allclose(evidence.weak.numpy(), probs(source, unlabeled.weak), atol=1e-6)
    np.testing.assert_allclose(evidence.strong.numpy(), probs(models.student, unlabeled.strong), atol=1e-6)
    assert not evidence.weak.requires_grad and not evidence.strong.requires_grad


@pytest.mark.parametrize("threshold", [0.0, 0.7, 0.95])
@pytest.mark.parametrize("cutmix", [False, True])
def test_fixmatch_equals_the_slow_reference(threshold: float, cutmix: bool) -> None:
    """For a student of single pixels mixing changes nothing, so the reference leaves it out."""
    models, labeled, unlabeled = batch(scale=2.0)
    step = DenseFixMatch(threshold=threshold, weight=0.7, cutmix=cutmix).step(models, labeled, unlabeled, 0.0)
    weak, strong = probs(models.student, unlabeled.weak), probs(models.student, unlabeled.strong)
    total, count, open_ = 0.0, 0, 0
    for u, i, j in np.argwhere(unlabeled.valid.numpy()):
        count += 1
        if weak[u, :, i, j].max() >= threshold:
            open_ += 1
            total -= math.log(strong[u, weak[u, :, i, j].argmax(), i, j])
    supervised = slow_dice_ce(probs(models.student, labeled.x), labeled.y.numpy())
    assert step.logs["mask_rate"].item() == pytest.approx(open_ / count)
    assert step.logs["loss_unlabeled"].item() == pytest.approx(total / count, rel=1e-5)
    assert step.loss.item() == pytest.approx(supervised + 0.7 * total / count, rel=1e-5)
    assert threshold == 0 or 0 < open_ < count


def test_fixmatch_by_region_gives_all_its_pixels_one_label() -> None:
    models, labeled, unlabeled = batch(scale=2.0)
    valid = unlabeled.valid.numpy()
    parts = np.where(valid, np.arange(valid.shape[-1]) // 2, IGNORE).astype(np.uint8)
    views = dataclasses.replace(unlabeled, parts=torch.from_numpy(parts))
    step = DenseFixMatch(threshold=0.5, by="region", cutmix=False).step(models, labeled, views, 0.0)
    weak, strong = probs(models.student, unlabeled.weak), probs(models.student, unlabeled.strong)
    total, open_ = 0.0, 0
    for u in range(len(parts)):
        for part in np.unique(parts[u][valid[u]]):
            mean = weak[u][:, parts[u] == part].mean(axis=1)
            if mean.max() >= 0.5:
                total -= np.log(strong[u][mean.argmax()][parts[u] == part]).sum()
                open_ += (parts[u] == part).sum()
    assert step.logs["loss_unlabeled"].item() == pytest.approx(total / valid.sum(), rel=1e-5)
    assert 0 < open_ < valid.sum()
    with pytest.raises(InputError, match=r"train\.by"):
        DenseFixMatch(by="region").step(models, labeled, unlabeled, 0.0)


@pytest.mark.parametrize("cutmix", [False, True])
@pytest.mark.parametrize("progress", [0.1, 1.0])
def test_cps_equals_the_slow_reference(cutmix: bool, progress: float) -> None:
    models, labeled, unlabeled = batch(scale=2.0, networks=2)
    one, two = members(models.student)
    total, disagreed = 0.0, 0
    pixels = np.argwhere(unlabeled.valid.numpy())
    for learner, other in ((one, two), (two, one)):
        strong, pseudo = probs(learner, unlabeled.strong), probs(other, unlabeled.weak).argmax(axis=1)
        weak = probs(learner, unlabeled.weak).argmax(axis=1)
        for u, i, j in pixels:
            disagreed += weak[u, i, j] != pseudo[u, i, j]
            total -= math.log(strong[u, pseudo[u, i, j], i, j]) / len(pixels)
    supervised = sum(slow_dice_ce(probs(network, labeled.x), labeled.y.numpy()) for network in (one, two))
    ramp = math.exp(-5 * (1 - min(progress / 0.4, 1)) ** 2)
    step = CrossPseudoSupervision(weight=0.7, cutmix=cutmix).step(models, labeled, unlabeled, progress)
    assert step.logs["loss_unlabeled"].item() == pytest.approx(total, rel=1e-5) and disagreed
    assert step.loss.item() == pytest.approx(supervised + 0.7 * ramp * total, rel=1e-5)


@pytest.mark.parametrize("cutmix", [False, True])
def test_unimatch_equals_the_slow_reference(cutmix: bool) -> None:
    """The reference repeats the draw of the dropped features."""
    models, labeled, unlabeled = batch(scale=2.0, views=2)
    objective = UniMatch(threshold=0.7, features=0.3, views=0.6, cutmix=cutmix)
    torch.manual_seed(4)
    step = objective.step(models, labeled, unlabeled, 0.0)
    torch.manual_seed(4)
    dropped = nn.functional.dropout2d(unlabeled.weak, 0.5)
    assert not torch.equal(dropped, unlabeled.weak)
    weak = probs(models.student, unlabeled.weak)
    pixels = np.argwhere(unlabeled.valid.numpy())
    terms = []
    for view in (unlabeled.strong, *unlabeled.others, dropped):
        strong = probs(models.student, view)
        losses = [
            -math.log(strong[u, weak[u, :, i, j].argmax(), i, j]) for u, i, j in pixels if weak[u, :, i, j].max() >= 0.7
        ]
        terms.append(sum(losses) / len(pixels))
    assert 0 < len(losses) < len(pixels) and len(terms) == 3
    expected = 0.6 * (terms[0] + terms[1]) / 2 + 0.3 * terms[2]
    assert step.logs["loss_unlabeled"].item() == pytest.approx(expected, rel=1e-5)
    supervised = slow_dice_ce(probs(models.student, labeled.x), labeled.y.numpy())
    assert step.loss.item() == pytest.approx(supervised + expected, rel=1e-5)


@pytest.mark.parametrize("cutmix", [False, True])
def test_mean_teacher_equals_the_slow_reference(cutmix: bool) -> None:
    models, labeled, unlabeled = batch(scale=2.0)
    distance = ((probs(models.student, unlabeled.strong) - probs(models.teacher, unlabeled.weak)) ** 2).sum(axis=1)
    unsupervised = distance[unlabeled.valid.numpy()].mean()
    supervised = slow_dice_ce(probs(models.student, labeled.x), labeled.y.numpy())
    for progress, ramp in ((0.0, math.exp(-5)), (0.2, math.exp(-5 * 0.25)), (0.4, 1.0), (1.0, 1.0)):
        step = DenseMeanTeacher(weight=3.0, rampup=0.4, cutmix=cutmix).step(models, labeled, unlabeled, progress)
        assert step.loss.item() == pytest.approx(supervised + 3.0 * ramp * unsupervised, rel=1e-5)


@pytest.mark.parametrize("cutmix", [False, True])
@pytest.mark.parametrize("progress", [0.0, 0.2, 1.0])
def test_ua_mt_equals_the_slow_reference(progress: float, cutmix: bool) -> None:
    """Without noise all passes are the same, so the mean over them is the teacher's prediction."""
    models, labeled, unlabeled = batch(scale=2.0)
    target, strong = probs(models.teacher, unlabeled.weak), probs(models.student, unlabeled.strong)
    ramp = math.exp(-5 * (1 - min(progress / 0.4, 1)) ** 2)
    total, certain, count = 0.0, 0, 0
    for u, i, j in np.argwhere(unlabeled.valid.numpy()):
        p = target[u, :, i, j]
        count += 1
        if -(p * np.log(p)).sum() < (0.75 + 0.25 * ramp) * math.log(C):
            certain += 1
            total += ((strong[u, :, i, j] - p) ** 2).sum()
    step = UncertaintyAwareMeanTeacher(noise=0.0, weight=2.0, cutmix=cutmix).step(models, labeled, unlabeled, progress)
    assert step.logs["mask_rate"].item() == pytest.approx(certain / count)
    assert step.logs["loss_unlabeled"].item() == pytest.approx(total / certain, rel=1e-5)
    assert step.loss.item() == pytest.approx(step.logs["loss_labeled"].item() + 2 * ramp * total / certain, rel=1e-5)
    assert (certain < count) == (progress < 1)


def test_ua_mt_draws_noise_and_dropout_and_leaves_the_teacher_in_eval_mode() -> None:
    models, labeled, unlabeled = batch()
    teacher = nn.Sequential(nn.Dropout2d(0.5), nn.BatchNorm2d(2), models.teacher).eval()
    models = Models(models.student, teacher)
    objective, modes = UncertaintyAwareMeanTeacher(), []
    teacher[0].register_forward_pre_hook(lambda module, _: modes.append((module.training, teacher[1].training)))
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    objective.step(models, labeled, unlabeled, 0.5)
    assert modes == [(False, False), *[(True, False)] * 8]  # the target, then the passes
    assert not any(m.training for m in teacher.modules())
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())


@pytest.mark.parametrize("u", [1, 2, 5])
@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (1, 1)])
def test_cutmix_puts_every_pixel_back(u: int, shape: tuple[int, int]) -> None:
    images = torch.arange(u * 2 * shape[0] * shape[1]).float().view(u, 2, *shape)
    rng = np.random.default_rng(0)
    for _ in range(10):
        cut = CutMix.draw(images, rng)
        mixed = cut.mix(images)
        assert torch.equal(cut.undo(mixed), images)
        assert sorted(mixed.flatten().tolist()) == sorted(images.flatten().tolist())
        if u > 1:
            assert (mixed[:, 0] != images[:, 0]).all(dim=0).equal(cut.box)  # nobody keeps its own box
    big = [CutMix.draw(torch.zeros(2, 1, 64, 64), rng).box.float().mean().item() for _ in range(50)]
    assert all(abs(share - 0.5) < 0.02 for share in big)


def test_cutmix_hides_a_place_from_a_network_that_looks_around() -> None:
    """With a wide filter mixing changes the loss, which shows that it takes place."""
    _, labeled, unlabeled = batch()
    wide = nn.Conv2d(2, C, 5, padding=2)
    both = Models(wide, make_teacher(wide))
    losses = [
        DenseFixMatch(threshold=0, cutmix=c).step(both, labeled, unlabeled, 0).logs["loss_unlabeled"].item()
        for c in (False, True)
    ]
    assert losses[0] != losses[1]


class Noisy(nn.Sequential):
    """A network of single pixels with dropout of whole channels before it."""

    stride = 1

    def __init__(self, body: nn.Module) -> None:
        super().__init__(nn.Dropout2d(0.5), body)

    def decoded(self, images: Tensor) -> Tensor:
        return images

    def classify(self, decoded: Tensor, size: torch.Size) -> Tensor:
        return self(decoded)  # type: ignore[no-any-return]

    def perturbed(self, images: Tensor, share: float) -> Tensor:
        return self(nn.functional.dropout2d(images, share))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", SEMI)
def test_targets_know_no_dropout_and_the_views_that_learn_do(name: str) -> None:
    """Of the same weak views in two steps: the same target, that of the network in eval mode."""
    steps = []
    for seed in (0, 1):
        objective, models, labeled, unlabeled = batch_for(name)
        noisy: list[nn.Module] = [Noisy(network) for network in members(models.student)]
        student = Committee(cast(Any, noisy)) if objective.networks > 1 else noisy[0]
        models = Models(student.train(), models.teacher)
        torch.manual_seed(seed)
        steps.append(objective.step(models, labeled, unlabeled, 0.5))
        assert all(module.training for module in student.modules())
    weak = [step.evidence.weak for step in steps if step.evidence is not None]
    assert steps[0].loss.item() != steps[1].loss.item()
    source = models.teacher if name in ("mean_teacher", "ua_mt", "pld") else student.eval()
    np.testing.assert_allclose(weak[0].numpy(), probs(source, unlabeled.weak), atol=1e-6)
    assert torch.equal(*weak)
    if name != "ua_mt":  # whose uncertainty is that of noisy passes
        assert steps[0].logs.get("mask_rate") == steps[1].logs.get("mask_rate")


@pytest.mark.parametrize("name", ["mean_teacher", "ua_mt"])
def test_target_and_mask_of_a_mean_teacher_are_mixed_as_the_views_are(name: str) -> None:
    """The student looks around, so the loss is that of mixed images against the teacher's answers, mixed by one box."""
    _, labeled, unlabeled = batch()
    torch.manual_seed(0)
    wide = nn.Conv2d(2, C, 5, padding=2)
    with torch.no_grad():
        wide.weight.mul_(6)
    models = Models(wide, make_teacher(wide), rng=np.random.default_rng(3))
    settings: dict[str, Any] = {"noise": 0.0} if name == "ua_mt" else {}
    step = component(DENSE_OBJECTIVES, "train", name, settings).step(models, labeled, unlabeled, 0.0)

    cut = CutMix.draw(unlabeled.strong, np.random.default_rng(3))
    answers = probs(models.teacher, unlabeled.weak)
    target, student = cut.mix(torch.from_numpy(answers)).numpy(), probs(wide, cut.mix(unlabeled.strong))
    entropy = -(answers * np.log(answers)).sum(axis=1) / math.log(C)
    counted = unlabeled.valid.numpy() & ((entropy < 0.75 + 0.25 * math.exp(-5)) if name == "ua_mt" else True)
    mixed = cut.mix(torch.from_numpy(counted)).numpy()
    assert 0 < mixed.sum() < mixed.size and not np.array_equal(mixed, counted)
    distances = ((student - target) ** 2).sum(axis=1)
    assert step.logs["loss_unlabeled"].item() == pytest.approx(distances[mixed].mean(), rel=1e-5)
    assert step.logs["loss_unlabeled"].item() != pytest.approx(distances[counted].mean(), rel=1e-3)


def test_deep_supervision_adds_the_loss_of_each_side_head() -> None:
    """A network whose side head sees the mirrored image."""
    images, y = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 4, 4).long()
    y[:, :2] = 1
    torch.manual_seed(0)
    network = nn.Conv2d(3, 2, 1)
    network.outputs = lambda x: [network(x), network(x.flip(3))]  # type: ignore[assignment]
    models = Models(network, network, rng=np.random.default_rng(0))
    step = DENSE_OBJECTIVES["deep_supervision"](side=0.5).step(models, LabeledPixels(images, y), None, 0.5)  # type: ignore[call-arg]
    torch.testing.assert_close(step.loss, dice_ce(network(images), y) + 0.5 * dice_ce(network(images.flip(3)), y))


def test_the_third_argument_of_labeled_pixels_is_their_extent() -> None:
    pixels = LabeledPixels(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long), False)
    assert pixels.extent is False and pixels.source is None
