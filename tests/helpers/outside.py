"""Components as an author outside of the package writes them, to be named `tests.helpers.outside:...` in recipes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hybrid_al.core.registry import Share, hyperparameters
from hybrid_al.core.types import BoolArray, FloatArray, IntArray, Need, Query
from hybrid_al.data.views.policies import View
from hybrid_al.models.encoder import Encoder
from hybrid_al.query.base import QueryState, check_budget
from hybrid_al.query.batches import Batch
from hybrid_al.query.terms import Term
from hybrid_al.semi.base import Labeled, Models, Step, Unlabeled, cross_entropy_step
from hybrid_al.semi.dense.base import UnlabeledPixels, supervised_step
from hybrid_al.train import Schedule
from pretrain.base import Loss

HERE = "tests.helpers.outside"


@dataclass(frozen=True)
@hyperparameters
class Strategy:
    """The first candidates, from a share of them on."""

    start: Share = 0.0
    needs: ClassVar[frozenset[Need]] = frozenset()

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        check_budget(state, budget)
        return Query(np.roll(state.candidates, -int(self.start * len(state.candidates)))[:budget])


@dataclass(frozen=True)
class BatchMaker:
    """Best-scored first; of equals the first. No `@hyperparameters`: a plain dataclass will do."""

    upward: bool = False
    needs: ClassVar[frozenset[Need]] = frozenset()

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        return Batch(np.argsort(values_M if self.upward else -values_M, kind="stable")[:budget], "by an author outside")


def _length(state: QueryState) -> FloatArray:
    lengths: FloatArray = np.linalg.norm(state.vectors(state.candidates), axis=1).astype(np.float64)
    return lengths


term = Term(frozenset({"embeddings"}), _length)


@dataclass(frozen=True)
class Reduction:
    """The largest value."""

    def __call__(self, values: Tensor, predicted: Tensor, valid: Tensor) -> Tensor:
        return (values * valid).amax(dim=(1, 2))


def encoder(*, channels: int, image_size: int, width: int = 4) -> nn.Module:
    """One convolution and the mean over the pixels."""
    return nn.Sequential(nn.Conv2d(channels, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def network(encoder_name: str, **settings: Any) -> nn.Module:
    """The U-Net of segmentation-models-pytorch, by another name."""
    import segmentation_models_pytorch as smp

    made: nn.Module = smp.Unet(encoder_name, **settings)
    return made


@dataclass(frozen=True)
class Objective:
    """Cross-entropy on labels alone."""

    uses_unlabeled: ClassVar[bool] = False

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        return cross_entropy_step(models, labeled)


@dataclass(frozen=True)
class DenseObjective:
    """Dice and cross-entropy on labels alone."""

    uses_unlabeled: ClassVar[bool] = False
    strong_views: ClassVar[int] = 1
    networks: ClassVar[int] = 1

    def step(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels | None, progress: float) -> Step:
        return supervised_step(models, labeled)


@dataclass(frozen=True)
class Method:
    """Embeddings of two views of an image should be near each other; nothing keeps them from collapsing."""

    epochs: int = 1
    batch: int = 8
    accumulate: int = 1
    lr: float = 1e-3
    weight_decay: float = 0.0

    def network(self, encoder: Encoder, example: Tensor) -> nn.ModuleDict:
        return nn.ModuleDict({"encoder": encoder})

    def loss(
        self, network: nn.ModuleDict, images: Tensor, views: View, generator: torch.Generator, progress: float
    ) -> Loss:
        first, second = (network["encoder"](views(images, generator)) for _ in range(2))
        return Loss((first - second).square().mean())

    def after_step(self, network: nn.ModuleDict, progress: float) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Halves:
    """The upper and the lower half of an image."""

    def parts(self, pixels: npt.NDArray[np.uint8], shown: BoolArray) -> IntArray:
        rows = (np.arange(len(shown)) >= len(shown) // 2).astype(np.int64)
        return np.repeat(rows[:, None], shown.shape[1], axis=1)


@dataclass(frozen=True)
class Corner:
    """The upper left corner of the picture, where nothing of it is known."""

    side: int = 4
    most: int = 1

    @property
    def largest(self) -> int:
        return self.side

    def boxes(self, probs_BSCHW: Tensor, frames_B4: Tensor, known_BHW: Tensor) -> Tensor:
        corner = frames_B4[:, :2]
        box = torch.cat([corner, (corner + self.side).minimum(frames_B4[:, 2:])], dim=1)
        rows, columns = box[:, ::2].tolist(), box[:, 1::2].tolist()
        free = [not k[slice(*r), slice(*c)].any() for k, r, c in zip(known_BHW, rows, columns, strict=True)]
        return (box * torch.tensor(free, device=box.device).unsqueeze(1)).unsqueeze(1)


@dataclass(frozen=True)
class Hollow:
    """A dataclass that has nothing of what a component has."""


@dataclass(frozen=True)
class LearnerSettings:
    """Settings of a learner."""

    depth: int = 2

    schedule: ClassVar[Schedule] = Schedule()
    frozen: ClassVar[bool] = True

    def build(self, base: object, objective: object, schedule: Schedule) -> object:
        """Nothing that trains."""
        raise NotImplementedError
