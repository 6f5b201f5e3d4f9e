"""The learner behind `finetune` and `frozen`, which differ in their network and its inputs."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..core.embeddings import Embeddings
from ..core.labels import LabelStore, stratified_folds
from ..core.learner import FitResult, Log
from ..core.rng import derive, derive_seed
from ..core.types import BoolArray, FloatArray, IntArray, PredictionBatch
from ..data.bags import Bags
from ..data.loaders import Inputs
from ..data.stores.images import ImageStore
from ..data.views.policies import Views
from ..errors import InputError
from ..kernels.triage import NOISY, triage
from ..models.checkpoint import seed_of
from ..models.classifier import Classifier
from ..models.encoder import Encoder
from ..semi.base import Objective
from ..semi.prior import make_prior
from ..train import Fit, Penalty, Schedule, Sets, fit, top_up
from .committee import Networks, of_last_fit, train_members
from .emphasis import emphasised, emphasises
from .exclusions import exclusions
from .head import SolvedHead, average, bootstrap, install, penalty_of, solved
from .loss_head import loss_ranking
from .predict import predict

MIN_VISITS = 2


@dataclass(frozen=True)
class Foundation:
    """Data and results of stage 0 that a learner builds on.

    embeddings (N, D) of the plain images by `encoder`; pool (P,) positions that may be trained on; `cache`: folder of
    files that runs share. multilabel: the classes do not exclude each other.
    source (N,): whether a sample is of the source, whose labels are given; None where there is none.

    Where samples are bags, `embeddings` and `pool` are of bags (`data.bags`), and `instances` (N, D) are the embeddings
    of their rows.
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
    source: BoolArray | None = None
    bags: Bags | None = None
    instances: FloatArray | None = None

    def targets(self, labels: LabelStore) -> IntArray:
        """Training targets of the labeled samples: classes (K,), or labels (K, L)."""
        return labels.label_targets(self.classes) if self.multilabel else labels.class_targets()


class NetworkLearner:
    """A `Learner`: `make(seed)` gives the untrained network of a round, `inputs` the views that it trains on.

    pool (P,) positions, of which the objective may use the unlabeled ones; n rows of the manifest; embeddings of stage
    0, for prior pseudo-labels; targets: of the labeled samples, classes (K,) or labels (K, L).
    head: solves the head before the training, where features are fixed. penalty: a further term of the loss else.
    source (N,): see `Foundation`; a sample of it without a label takes no part.
    top_up_limit  largest number of rows that get their missing views after a fit; above it they stay neutral.

    Predictions of a committee (`Schedule.members`, `Schedule.cycles`) replace passes with dropout. Features and head,
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
        head: SolvedHead | None = None,
        penalty: Penalty[Classifier] | None = None,
        top_up_limit: int = 50_000,
        source: BoolArray | None = None,
    ) -> None:
        self.make, self.inputs, self.objective, self.schedule = make, inputs, objective, schedule
        self.pool, self.n, self.embeddings, self.top_up_limit = pool, n, embeddings, top_up_limit
        self.targets, self.head, self.penalty, self.source = targets, head, penalty, source
        self.networks: Networks[Classifier] | None = None

    def fit(self, labels: LabelStore, *, round: int, seed: int, log: Log, previous: Path | None = None) -> FitResult:
        """See `Learner.fit`; predictions come from the teacher's last weights."""
        if not len(labels.labeled):
            raise InputError(f"training of round {round}", "at least one label", "none (all were skipped)")
        seed = derive_seed(seed, "fit", round)
        sets = self._sets(labels, self._clean(labels), round)
        sets = self._emphasised(sets, labels, previous, seed)
        if self.schedule.mistakes > 0 and previous is not None:
            sets = replace(sets, mistaken=self._mistaken(labels, round, previous))
        if len(np.unique(sets.targets, axis=0)) == 1:
            print(
                f"round {round}: all {len(sets.targets)} labels say the same, so nothing can be told apart yet; the "
                "next query goes by where images lie",
                file=sys.stderr,
            )
        result = self._learn(sets, seed, log, previous)
        passes = 0
        if (result.recorder.seen[sets.unlabeled] < MIN_VISITS).sum() <= self.top_up_limit:
            passes = top_up(result, self.inputs, sets.unlabeled, visits=MIN_VISITS, seed=seed)
        consistency = result.recorder.record().carry_from(previous)
        return FitResult({**result.metrics, "train/top_up_passes": float(passes)}, consistency)

    def _emphasised(self, sets: Sets, labels: LabelStore, previous: Path | None, seed: int) -> Sets:
        """The sets with labels left out and repeated as `Schedule.easy` and `repeat` say, by the last round's model."""
        if previous is None or not emphasises(self.schedule):
            return sets
        learner = copy.copy(self)
        learner.load(previous / "model.safetensors")
        rows, places = np.unique(sets.labeled, return_inverse=True)
        probs = np.concatenate([batch.probs.mean(axis=1) for batch in learner.predict(rows)])[places]
        old = np.isin(sets.labeled, labels.as_of(sets.round - 1).labeled)
        rows = emphasised(probs, sets.targets, old, self.schedule, derive(seed, "emphasis"))
        return replace(sets, labeled=sets.labeled[rows], targets=sets.targets[rows])

    def _learn(self, sets: Sets, seed: int, log: Log, previous: Path | None = None) -> Fit:
        """Train all members, which predict from then on; returns the fit of the first."""

        def train(
            network: Classifier, member: int, seed: int, log: Log
        ) -> tuple[Classifier, tuple[Classifier, ...], Fit]:
            own = sets
            if self.schedule.bootstrap:
                rows = bootstrap(sets.targets, derive(seed, "bootstrap"))
                own = replace(sets, labeled=sets.labeled[rows], targets=sets.targets[rows])
            result = self._train(network, own, member, seed, log, goes_on=goes_on)
            return result.teacher, result.snapshots, result

        goes_on = previous is not None and self.schedule.start == "last"
        self.networks, first = train_members(
            self.make, train, self.schedule, purpose="member", seed=seed, log=log, previous=previous
        )
        return first

    def _train(self, network: Classifier, sets: Sets, member: int, seed: int, log: Log, *, goes_on: bool) -> Fit:
        """Train one member: from its solved head, where there is one and the weights do not go on from the last round.

        The penalty of the solved head stays in the loss, and the teacher that predicts is the mean of both heads; it
        keeps its own where an adapter moved the features, on which the solved one was not fitted. Without an unlabeled
        term, and without a term of its own on labels (`own_loss`), nothing is left to train.
        """
        negative = self._negative(sets, seed)
        if self.head is None:
            penalty = together(*filter(None, (self.penalty, *negative)))
            return fit(network, self.objective, self.inputs, sets, self.schedule, seed=seed, log=log, penalty=penalty)
        head = self.head.solve(network, sets, member=member, seed=seed)
        values = {"train/strength": head.strength}
        log(values, 0)
        trains = self.objective.uses_unlabeled and len(sets.unlabeled) > 0
        trains = trains or getattr(self.objective, "own_loss", False) or bool(negative)
        if not (goes_on and trains):
            install(head, network)
        if not trains:
            return solved(network, sets, self.schedule, values)
        result = fit(
            network,
            self.objective,
            self.inputs,
            sets,
            self.schedule,
            seed=seed,
            log=log,
            penalty=together(penalty_of(head), *negative),
        )
        if not any(p.requires_grad for p in network.encoder.parameters()):
            average(result.teacher, head)
        return replace(result, metrics={**result.metrics, **values})

    def _negative(self, sets: Sets, seed: int) -> list[Penalty[Classifier]]:
        """The terms of what samples are known not to be, where there are any."""
        terms = (self.schedule.exclude, sets.excluded), (self.schedule.mistakes, sets.mistaken)
        return [
            exclusions(samples, self.inputs, batch=self.schedule.batch, weight=weight, seed=seed)
            for weight, samples in terms
            if weight > 0 and samples
        ]

    def _mistaken(self, labels: LabelStore, round: int, previous: Path) -> dict[int, tuple[int, ...]]:
        """Sample -> what the model of the round before its answer said of it, where the answer is another class."""
        mistaken = dict[int, tuple[int, ...]]()
        for r in range(1, round + 1):
            classes = {i: a.target for i, a in labels.current.items() if a.round == r and a.kind == "class"}
            if not classes:
                continue
            self.load(previous.with_name(f"{r - 1:03d}") / "model.safetensors")
            for batch in self.predict(np.asarray(sorted(classes), dtype=np.int64)):
                guesses = batch.probs.mean(axis=1).argmax(axis=1).tolist()
                pairs = zip(batch.indices.tolist(), guesses, strict=True)
                mistaken |= {i: (guess,) for i, guess in pairs if guess != classes[i]}
        return mistaken

    def _clean(self, labels: LabelStore) -> BoolArray:
        """Which of the labeled samples (K,) are trained on: all, or without those that are noisy for their class."""
        if not self.schedule.drop_noisy:
            return np.ones(len(labels.labeled), dtype=np.bool_)
        if self.embeddings is None:
            raise InputError("train.drop_noisy", "embeddings of stage 0", "none")
        levels = triage(self.embeddings.take(labels.labeled, "cosine"), self.targets(labels))
        clean: BoolArray = levels != NOISY
        return clean

    def _sets(self, labels: LabelStore, mask: BoolArray, round: int) -> Sets:
        """The samples of a fit to those of the labeled samples where `mask` (K,) is True."""
        unlabeled, prior = np.setdiff1d(self.pool, labels.labeled), None
        if self.source is not None:
            unlabeled = unlabeled[~self.source[unlabeled]]
        places, targets = labels.spread(self.targets(labels))
        labeled, targets = labels.labeled[places][mask[places]], targets[mask[places]]
        if self.schedule.prior > 0:
            if self.embeddings is None:
                raise InputError("train.prior", "embeddings of stage 0", "none")
            unit = self.embeddings.take(np.concatenate([labeled, unlabeled]), "cosine")
            prior = make_prior(unit, targets, unlabeled, self.make(0).classes)
        return Sets(labeled, targets, unlabeled, self.n, prior, round, self.source, labels.excluded)

    def predict(self, indices: IntArray, samples: int = 1, views: int = 1) -> Iterator[PredictionBatch]:
        """See `Learner.predict`."""
        networks = of_last_fit(self.networks, "predict")
        samples = 1 if networks.others else samples
        predictions = [
            predict(network, self.inputs, indices, samples=samples, views=views, seed=seed_of(network.head.weight))
            for network in networks.members
        ]
        return predictions[0] if len(predictions) == 1 else _join(zip(*predictions, strict=True))

    def held_out(self, labels: LabelStore, *, round: int, seed: int, folds: int) -> tuple[FloatArray, IntArray]:
        """See `Learner.held_out`; from the weights of stage 0, and without held-out samples as unlabeled ones."""
        seed, targets = derive_seed(seed, "fit", round), self.targets(labels)
        fold = stratified_folds(targets, folds, derive(seed, "folds"))
        answers: dict[int, FloatArray] = {}
        for k in range(fold.max() + 1):
            learner = copy.copy(self)  # self keeps the networks of the last fit
            learner._learn(self._sets(labels, fold != k, round), derive_seed(seed, "fold", k), lambda *_: None)
            for batch in learner.predict(labels.labeled[fold == k]):
                answers |= dict(zip(batch.indices.tolist(), batch.probs.mean(axis=1), strict=True))
        return np.stack([answers[i] for i in labels.labeled.tolist()]), targets

    def save(self, path: Path) -> None:
        """See `Learner.save`."""
        of_last_fit(self.networks, path).save(path)

    def load(self, path: Path) -> None:
        """See `Learner.load`."""
        self.networks = Networks.load(path, lambda: self.make(0), self.schedule)


def together(*penalties: Penalty[Classifier]) -> Penalty[Classifier] | None:
    """The sum of terms of the loss; None of none."""
    if not penalties:
        return None
    return lambda network, labeled: sum((p(network, labeled) for p in penalties[1:]), penalties[0](network, labeled))


def learner_over(
    base: Foundation,
    body: Callable[[], nn.Module],
    inputs: Inputs,
    objective: Objective,
    schedule: Schedule,
    *,
    dropout: float,
    head: SolvedHead | None = None,
    loss_head: float = 0.0,
    top_up_limit: int = 50_000,
) -> NetworkLearner:
    """A learner whose network in each round is a new `body`, which gives features (B, D), and a head on them.

    `head` solves it, where the body is not trained; `loss_head` is the weight of a second one, which predicts losses,
    0: none. For `top_up_limit` see `NetworkLearner`.
    """
    dim = base.embeddings.vectors.shape[1]

    def make(seed: int) -> Classifier:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = body()
        network = Classifier(
            encoder,
            dim,
            base.classes,
            dropout=dropout,
            seed=seed,
            multilabel=base.multilabel,
            pairs=getattr(objective, "pairs", False),
            loss_head=loss_head > 0,
        )
        return network.to(base.device)

    return NetworkLearner(
        make,
        inputs,
        objective,
        schedule,
        pool=base.pool,
        n=len(base.store),
        embeddings=base.embeddings,
        targets=base.targets,
        head=head,
        penalty=loss_ranking(loss_head) if loss_head else None,
        top_up_limit=top_up_limit,
        source=base.source,
    )


def _join(predictions: Iterable[tuple[PredictionBatch, ...]]) -> Iterator[PredictionBatch]:
    """Batches of all members as one: their probabilities side by side (B, members * views, C), the first's features."""
    for batches in predictions:
        yield replace(batches[0], probs=np.concatenate([batch.probs for batch in batches], axis=1))
