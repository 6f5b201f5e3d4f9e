"""Learner `frozen`: a head on cached embeddings of several views; the encoder is fixed, so a round takes seconds."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, ClassVar

import filelock
import numpy as np
import torch
from pydantic import Field
from torch import nn

from ..core.files import memory_mapped, read_seal, seal
from ..core.registry import Amount, Decay, Few, Whole, hyperparameters
from ..core.temporary import temporary_name
from ..core.types import FloatArray, IntArray
from ..data.loaders import EmbeddingInputs, ImageInputs, blocks
from ..data.views.policies import View, Views
from ..models.checkpoint import seeded
from ..models.classifier import Adapter, Standardize
from ..models.encoder import Encoder
from ..semi.base import Objective
from ..train import Schedule
from .head import SolvedHead
from .network import Foundation, NetworkLearner, learner_over
from .predict import embed

EXPONENT = 0.5  # features keep half of their scale, which says something of their worth: 0.2 to 0.9 points of AUROC
# above standardised ones at 10 to 160 labels on five sets and encoders; unscaled ones gain and lose more


@dataclass(frozen=True)
@hyperparameters
class Frozen:
    """Settings of the learner: how many views of each image are embedded once, the dropout on them, and the penalty.

    In each round the head is logistic regression solved on the labeled samples (`logistic.solve`). An objective with
    an unlabeled term goes on from there, with the same penalty in its loss; `supervised` stays there.
    strength  of the summed loss beside half the squares of the weights; null: chosen for each fit by its evidence
    adapter   units of a residual layer on the embeddings, for objectives that train the features (`mme`, `dann`): they
              train it with the head, which then stays as they leave it; 0: such objectives are refused

    weak_views 0: the plain embedding is the weak view, so the head is trained on the embeddings that it predicts from.
    On malaria (val, 10 TypiClust labels) that gave 0.854 and 0.862 with two encoders, three weak views 0.829 and 0.850.
    Queries that compare weak views (`tta_...`) get as many as they need: embedded at the first query, then cached.
    """

    weak_views: Annotated[int, Field(ge=0, le=1000)] = 0
    strong_views: Few = 6
    dropout: Decay = 0.2
    strength: Amount | None = None
    adapter: Whole = 64

    # the head is solved first: few, small steps are left, and its own penalty in the place of decay
    schedule: ClassVar[Schedule] = Schedule(steps=100, min_steps=100, lr_head=3e-4, weight_decay=0.0, ratio=7)
    frozen: ClassVar[bool] = True

    def build(self, base: Foundation, objective: Objective, schedule: Schedule) -> NetworkLearner:
        """A learner over embeddings; those of the views are computed once, the strong ones when first drawn."""
        plain, standard = standardized(base, EXPONENT)
        weak = cached_views(base, base.views.weak, self.weak_views)
        strong = cache(partial(cached_views, base, base.views.strong, self.strong_views))
        inputs = EmbeddingInputs(plain, weak, strong, base.device, weak_views_of(base))
        head = SolvedHead(inputs, self.strength, schedule.balanced, schedule.target_share)
        body = lambda: self.body(standard(), objective)  # noqa: E731
        return learner_over(base, body, inputs, objective, schedule, dropout=self.dropout, head=head)

    def body(self, standard: Standardize, objective: Objective) -> nn.Module:
        """What is before the head: `standard`, and the adapter where the objective trains the features."""
        if not (self.adapter and getattr(objective, "trains_features", False)):
            return standard
        return nn.Sequential(standard, Adapter(len(standard.get_buffer("mean")), self.adapter))


def standardized(base: Foundation, exponent: float = 1.0) -> tuple[FloatArray, Callable[[], Standardize]]:
    """The plain embeddings (N, D) float32, and what makes the module that standardises them by the pool.

    Each feature is divided by its deviation in the pool to the power of `exponent`, and all by one number, so that
    the mean square of those that vary is 1.
    """
    plain = np.asarray(base.embeddings.vectors, dtype=np.float32)
    mean, std = (torch.from_numpy(f(plain[base.pool], axis=0)) for f in (np.mean, np.std))
    varies = std > 1e-6
    scale = torch.where(varies, std, 1.0) ** exponent
    if varies.any():
        scale *= (std / scale)[varies].square().mean().sqrt()
    return plain, lambda: Standardize(mean, scale)


def weak_views_of(base: Foundation) -> Callable[[int], FloatArray]:
    """Embeddings of any number of weak views, see `cached_views`; the same ones at every call."""
    return cache(partial(cached_views, base, base.views.weak))


def cached_views(base: Foundation, policy: View, count: int) -> FloatArray:
    """Embeddings (count, N, D) float16 of `count` views of each pool image; rows outside the pool hold zeros.

    Memory-mapped from a file named by a hash of encoder, images, policy, pool and count. The views are drawn from a
    fixed seed, so all runs with the same encoder share them.
    """
    pool = hashlib.sha256(base.pool.tobytes()).hexdigest()
    origin = f"{base.embeddings.encoder}/{base.store.digest}/{policy}/{count}/{pool}/v1"
    if count == 0:
        return np.zeros((0, *base.embeddings.vectors.shape), dtype=np.float16)
    path = base.cache / f"views-{hashlib.sha256(origin.encode()).hexdigest()[:24]}.npy"
    base.cache.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_suffix(".lock")):  # of two runs that start at once, one writes the file
        if read_seal(path) is None:
            if path.with_suffix(".json").is_file():
                print(f"{path}: damaged; the views are embedded again", file=sys.stderr)
            temporary = temporary_name(path)
            views = Views(policy, policy, policy)
            _embed_views(base.encoder, ImageInputs(base.store, views, base.device), base.pool, count, temporary)
            temporary.replace(path)
            seal(path)
    vectors: FloatArray = np.load(path, mmap_mode="r", allow_pickle=False)
    return vectors


def _embed_views(encoder: Encoder, inputs: ImageInputs, pool: IntArray, count: int, path: Path) -> None:
    generator, out = seeded(0), None
    for view in range(count):
        for block in blocks(pool, 512):
            vectors = embed(encoder, inputs.weak(block, generator))
            if out is None:
                shape = (count, len(inputs.store), vectors.shape[1])
                out = memory_mapped(path, np.float16, shape)
            out[view, block] = vectors
    if out is not None:
        out.flush()
