"""Masks of objectives during a real fit: each lets some of the unlabeled samples or pixels through, and not all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation
from hybrid_al.data.loaders import EmbeddingInputs
from hybrid_al.learners.network import NetworkLearner
from hybrid_al.models.classifier import Classifier, Standardize
from hybrid_al.semi import OBJECTIVES
from hybrid_al.semi.base import Labeled, Models, Objective, Step, Unlabeled
from hybrid_al.semi.dense import DENSE_OBJECTIVES
from hybrid_al.semi.dense.base import DenseObjective, UnlabeledPixels
from hybrid_al.semi.ema import averaging, make_teacher
from hybrid_al.semi.flexmatch import FlexMatch
from hybrid_al.train import Schedule

CLASSES, DIM, N, STEPS = 3, 6, 300, 60
TRUTH = np.arange(N) % CLASSES
DOMAINS = {"energy", "mme", "dann", "waal", "shot", "anchors"}
WITHOUT_MASK = {"pi_model", "mean_teacher", "mixmatch", "distinctive_margin", "tod", *DOMAINS}
MASKED = [name for name in OBJECTIVES if name not in {"supervised", "evidential", "adversarial_twin", *WITHOUT_MASK}]
UNMASKED_DENSE = {"supervised", "deep_supervision", "mean_teacher", "cps", "pld", "ripu", "svgd", "anchors"}
MASKED_DENSE = [name for name in DENSE_OBJECTIVES if name not in UNMASKED_DENSE]


@dataclass(frozen=True)
class Observed:
    """An objective whose mask rates are written down, step by step."""

    objective: Objective
    rates: list[float] = field(default_factory=list)
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        step = self.objective.step(models, labeled, unlabeled, progress)
        self.rates.append(step.logs["mask_rate"].item())
        return step


def fit(objective: Objective, classes: int = CLASSES) -> tuple[list[float], dict[str, float]]:
    """Mask rates of the steps, and what the round's metrics take in.

    Clusters overlap a little, the head knows them from the start, and of each class there are four labels.
    """
    truth, rng = TRUTH % classes, np.random.default_rng(0)
    plain = (3 * np.eye(classes, DIM)[truth] + rng.normal(size=(N, DIM))).astype(np.float32)
    weak, strong = ((plain + s * rng.normal(size=(3, N, DIM))).astype(np.float16) for s in (0.1, 0.5))
    observed, schedule = Observed(objective), Schedule(steps=STEPS, min_steps=STEPS, batch=8, ratio=4, lr_head=0.1)

    def make(seed: int) -> Classifier:
        network = Classifier(Standardize(torch.zeros(DIM), torch.ones(DIM)), DIM, classes, dropout=0.2, seed=seed)
        with torch.no_grad():
            network.head.weight.copy_(2 * torch.eye(classes, DIM))
        return network

    inputs = EmbeddingInputs(plain, weak, strong, torch.device("cpu"))
    learner = NetworkLearner(make, inputs, observed, schedule, pool=np.arange(N), n=N)
    labels = LabelStore(N).add(Annotation(i, "class", int(truth[i]), "t", 0) for i in range(4 * classes))
    return observed.rates, learner.fit(labels, round=0, seed=0, log=lambda *_: None).of_round()


def test_every_objective_with_unlabeled_samples_has_a_rate_or_is_known_to_have_no_mask() -> None:
    assert set(MASKED) | WITHOUT_MASK == {name for name, kind in OBJECTIVES.items() if kind().uses_unlabeled}
    assert set(MASKED_DENSE) | {"mean_teacher", "cps", "pld", "ripu", "anchors"} == {
        name for name, kind in DENSE_OBJECTIVES.items() if kind().uses_unlabeled
    }


@pytest.mark.parametrize("name", MASKED)
def test_a_mask_is_neither_closed_nor_open_throughout_a_fit(name: str) -> None:
    rates, values = fit(OBJECTIVES[name]())
    assert len(rates) == STEPS and all(0 <= rate <= 1 for rate in rates)
    middle = rates[STEPS // 3 :]
    assert max(middle) > 0 and min(middle) < 1
    assert 0.02 < np.mean(rates) < 0.999
    assert values == {"train/mask_rate": pytest.approx(np.mean(rates))}


def test_the_warmup_of_flexmatch_lets_all_of_two_classes_through_and_it_can_be_left_out() -> None:
    """With two classes, a threshold is above chance once a class has won 29 % of all samples, which none does here."""
    assert set(fit(FlexMatch(threshold=0.999), classes=2)[0]) == {1.0}
    rates, _ = fit(FlexMatch(threshold=0.999, warmup=False), classes=2)
    assert 0 < np.mean(rates[STEPS // 3 :]) < 0.9


def pixels(rng: np.random.Generator, n: int) -> tuple[Tensor, Tensor]:
    """Images (n, 3, 8, 8) whose channels are the classes of their pixels with noise, and the classes (n, 8, 8)."""
    y = torch.from_numpy(rng.integers(3, size=(n, 8, 8)))
    noise = torch.from_numpy(rng.normal(size=(n, 3, 8, 8))).float()
    return 3 * nn.functional.one_hot(y, 3).movedim(-1, 1).float() + noise, y


class Pixelwise(nn.Conv2d):
    """A network that looks at single pixels and knows the classes; its features are the channels."""

    def __init__(self) -> None:
        super().__init__(3, 3, 1, bias=False)
        with torch.no_grad():
            self.weight.copy_(torch.eye(3)[:, :, None, None])

    def perturbed(self, images: Tensor, share: float) -> Tensor:
        return self(nn.functional.dropout2d(images, share))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", MASKED_DENSE)
def test_a_mask_of_pixels_is_neither_closed_nor_open_throughout_a_fit(name: str) -> None:
    torch.manual_seed(0)
    objective: DenseObjective = DENSE_OBJECTIVES[name]()
    student, rng, rates = Pixelwise(), np.random.default_rng(0), []
    models = Models(student, make_teacher(student), rng=rng)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    average = averaging(models.teacher, student, decay=0.9)
    valid = torch.ones(4, 8, 8, dtype=torch.bool)
    for t in range(20):
        (x, y), (weak, _) = pixels(rng, 2), pixels(rng, 4)
        strong, *others = (weak + 0.5 * torch.randn_like(weak) for _ in range(objective.strong_views))
        unlabeled = UnlabeledPixels(np.arange(4), weak, strong, valid, tuple(others))
        step = objective.step(models, Labeled(x, y), unlabeled, t / 60)
        optimizer.zero_grad()
        step.loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        average(t)
        rates.append(step.logs["mask_rate"].item())
    assert max(rates) > 0 and min(rates) < 1 and 0.02 < np.mean(rates) < 0.999
