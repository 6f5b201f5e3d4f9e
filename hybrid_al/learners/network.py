"""The learner behind both `finetune` and `frozen`: they differ in what the network is and what it reads."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..core.embeddings import Embeddings
from ..core.labels import LabelStore, dealt
from ..core.learner import FitResult, Log
from ..core.rng import derive, derive_seed
from ..core.types import BoolArray, FloatArray, IntArray, PredictionBatch
from ..data.loaders import Inputs
from ..data.stores.images import ImageStore
from ..data.views.policies import Views
from ..errors import InputError
from ..models.checkpoint import seed_of
from ..models.classifier import Classifier
from ..models.encoder import Encoder
from ..semi.base import Objective
from ..semi.prior import make_prior
from ..train import Fit, Schedule, Sets, fit, top_up
from .committee import Networks, of_last_fit, train_members
from .predict import predict

MIN_VISITS = 2


@dataclass(frozen=True)
class Foundation:
    """What the data and stage 0 give a learner to build on.

    embeddings (N, D) of the plain images by `encoder`; pool (P,) positions that may be trained on; `cache` keeps
    what is made once and shared by runs. multilabel: the classes do not exclude each other.
    """

    encoder: Encoder
    embeddings: Embeddings
    store: ImageStore
    views: Views
    classes: int
    pool: IntArray
    device: torch.device
    cache: Path
    multilabel: bool = False

    def targets(self, labels: LabelStore) -> IntArray:
        """What is learned of the labeled samples: classes (K,), or labels (K, L)."""
        return labels.label_targets(self.classes) if self.multilabel else labels.class_targets()


class NetworkLearner:
    """A `Learner`: `make(seed)` gives the untrained network of a round, `inputs` what it reads.

    pool (P,) positions whose unlabeled part the objective may use; n rows of the manifest; embeddings of stage 0, for
    prior pseudo-labels; targets: what is learned of the labeled samples, classes (K,) or labels (K, L).
    top_up_limit  largest number of rows that get their missing views after a fit; above it they stay neutral.

    A committee (`Schedule.members`, `Schedule.cycles`) answers in the place of passes with dropout; features and head,
    the consistency record and the student are those of its first member, at the end of its training.
    """

    def __init__(
        self,
        make: Callable[[int], Classifier],
        inputs: Inputs,
        objective: Objective,
        schedule: Schedule,
        *,
        pool: IntArray,
        n: int,
        embeddings: Embeddings | None = None,
        targets: Callable[[LabelStore], IntArray] = LabelStore.class_targets,
        top_up_limit: int = 50_000,
    ) -> None:
        self.make, self.inputs, self.objective, self.schedule = make, inputs, objective, schedule
        self.pool, self.n, self.embeddings, self.top_up_limit = pool, n, embeddings, top_up_limit
        self.targets = targets
        self.networks: Networks[Classifier] | None = None

    def fit(self, labels: LabelStore, *, round: int, seed: int, log: Log, previous: Path | None = None) -> FitResult:
        """See `Learner.fit`; predictions come from the teacher's last weights."""
        if not len(labels.labeled):
            raise InputError(f"training of round {round}", "at least one label", "none (all were skipped)")
        seed = derive_seed(seed, "fit", round)
        sets = self._sets(labels, np.ones(len(labels.labeled), dtype=np.bool_))
        done = self._learn(sets, seed, log, previous)
        passes = 0
        if (done.recorder.seen[sets.unlabeled] < MIN_VISITS).sum() <= self.top_up_limit:
            passes = top_up(done, self.inputs, sets.unlabeled, visits=MIN_VISITS, seed=seed)
        consistency = done.recorder.record().following(previous)
        return FitResult({**done.metrics, "train/top_up_passes": float(passes)}, consistency)

    def _learn(self, sets: Sets, seed: int, log: Log, previous: Path | None = None) -> Fit:
        """Train all members, who answer from then on; the fit of the first."""

        def train(network: Classifier, _: int, seed: int, log: Log) -> tuple[Classifier, tuple[Classifier, ...], Fit]:
            done = fit(network, self.objective, self.inputs, sets, self.schedule, seed=seed, log=log)
            return done.teacher, done.snapshots, done

        self.networks, done = train_members(
            self.make, train, self.schedule, purpose="member", seed=seed, log=log, previous=previous
        )
        return done

    def _sets(self, labels: LabelStore, kept: BoolArray) -> Sets:
        """What is trained on where only the `kept` (K,) of the labeled samples are shown."""
        unlabeled, prior = np.setdiff1d(self.pool, labels.labeled), None
        labeled, targets = labels.labeled[kept], self.targets(labels)[kept]
        if self.schedule.prior > 0:
            if self.embeddings is None:
                raise InputError("train.prior", "embeddings of stage 0", "none")
            unit = self.embeddings.take(np.concatenate([labeled, unlabeled]), "cosine")
            prior = make_prior(unit, targets, unlabeled, self.make(0).head.out_features)
        return Sets(labeled, targets, unlabeled, self.n, prior)

    def predict(self, indices: IntArray, samples: int = 1, views: int = 1) -> Iterator[PredictionBatch]:
        """See `Learner.predict`."""
        networks = of_last_fit(self.networks, "predict")
        samples = 1 if networks.others else samples
        said = [
            predict(network, self.inputs, indices, samples=samples, views=views, seed=seed_of(network.head.weight))
            for network in networks.members
        ]
        return said[0] if len(said) == 1 else _together(zip(*said, strict=True))

    def held_out(self, labels: LabelStore, *, round: int, seed: int, folds: int) -> tuple[FloatArray, IntArray]:
        """See `Learner.held_out`; from the weights of stage 0, and what is held out is not among the unlabeled."""
        seed, targets = derive_seed(seed, "fit", round), self.targets(labels)
        fold = dealt(targets, folds, derive(seed, "folds"))
        answers: dict[int, FloatArray] = {}
        for k in range(fold.max() + 1):
            apart = copy.copy(self)  # the networks of the last fit stay where they are
            apart._learn(self._sets(labels, fold != k), derive_seed(seed, "fold", k), lambda *_: None)
            for batch in apart.predict(labels.labeled[fold == k]):
                answers |= dict(zip(batch.indices.tolist(), batch.probs.mean(axis=1), strict=True))
        return np.stack([answers[i] for i in labels.labeled.tolist()]), targets

    def save(self, path: Path) -> None:
        """See `Learner.save`."""
        of_last_fit(self.networks, path).save(path)

    def load(self, path: Path) -> None:
        """See `Learner.load`."""
        self.networks = Networks.load(path, lambda: self.make(0), self.schedule)


def learner_over(
    base: Foundation,
    body: Callable[[], nn.Module],
    inputs: Inputs,
    objective: Objective,
    schedule: Schedule,
    *,
    dropout: float,
) -> NetworkLearner:
    """A learner whose network is, in each round anew, a `body` that gives features (B, D), and a head on them."""
    dim = base.embeddings.vectors.shape[1]

    def make(seed: int) -> Classifier:
        made = Classifier(body(), dim, base.classes, dropout=dropout, seed=seed, multilabel=base.multilabel)
        return made.to(base.device)

    return NetworkLearner(
        make,
        inputs,
        objective,
        schedule,
        pool=base.pool,
        n=len(base.store),
        embeddings=base.embeddings,
        targets=base.targets,
    )


def _together(said: Iterable[tuple[PredictionBatch, ...]]) -> Iterator[PredictionBatch]:
    """Batches of all members as one: their probabilities side by side (B, members * views, C), the first's features."""
    for batches in said:
        yield replace(batches[0], probs=np.concatenate([batch.probs for batch in batches], axis=1))
