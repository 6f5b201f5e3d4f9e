"""A second head that learns, with the network, which samples have large losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation
from hybrid_al.data.loaders import EmbeddingInputs
from hybrid_al.errors import InputError
from hybrid_al.learners.loss_head import loss_ranking
from hybrid_al.learners.network import NetworkLearner
from hybrid_al.models.classifier import Classifier
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import LearningLoss
from hybrid_al.semi.supervised import Supervised
from hybrid_al.train import Schedule

N, LABELED, DIM = 300, 150, 6


def learner(weight: float, *, multilabel: bool = False) -> tuple[NetworkLearner, LabelStore, np.ndarray]:
    """A learner, labels of half of the rows, and the class of all: the side of a plane that runs through the rows."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N, DIM)).astype(np.float32)
    truth = (rows[:, 0] > 0).astype(np.int64)
    views = np.stack([rows, rows]).astype(np.float16)
    inputs = EmbeddingInputs(rows, views, views, torch.device("cpu"))

    def make(seed: int) -> Classifier:
        return Classifier(nn.Identity(), DIM, 2, dropout=0.0, seed=seed, multilabel=multilabel, loss_head=weight > 0)

    penalty = loss_ranking(weight) if weight else None
    schedule = Schedule(steps=150, min_steps=150, batch=64, lr_head=1e-2)
    targets = (lambda store: np.stack([store.class_targets()] * 2, axis=1)) if multilabel else LabelStore.class_targets
    made = NetworkLearner(
        make, inputs, Supervised(), schedule, pool=np.arange(N), n=N, penalty=penalty, targets=targets
    )
    labels = LabelStore(N).add(Annotation(i, "class", int(truth[i]), "t", 0) for i in range(LABELED))
    return made, labels, truth


@pytest.mark.parametrize("multilabel", [False, True])
def test_its_order_is_that_of_the_losses_of_samples_that_it_never_saw(multilabel: bool, tmp_path: Path) -> None:
    made, labels, truth = learner(1.0, multilabel=multilabel)
    made.fit(labels, round=0, seed=0, log=lambda *_: None)
    rest = np.arange(LABELED, N)
    probs = np.concatenate([batch.probs[:, 0] for batch in made.predict(rest)])
    right = probs[np.arange(len(rest)), truth[rest], 0] if multilabel else probs[np.arange(len(rest)), truth[rest]]
    losses = -np.log(right)
    state = QueryState(1, labels, rest, np.arange(N), predictor=made.predict, classes=2)
    query = LearningLoss(by="network").select(state, 20, np.random.default_rng(0))
    assert query.scores is not None
    assert scipy.stats.spearmanr(query.scores.values, losses).statistic > 0.6
    assert losses[query.indices - LABELED].mean() > 1.3 * losses.mean()
    made.save(tmp_path / "model.safetensors")
    other, _, _ = learner(1.0, multilabel=multilabel)
    other.load(tmp_path / "model.safetensors")
    losses = [np.concatenate([batch.losses for batch in of.predict(rest)]) for of in (made, other)]
    assert np.array_equal(*losses)


def test_a_network_without_it_is_named() -> None:
    made, labels, _ = learner(0.0)
    made.fit(labels, round=0, seed=0, log=lambda *_: None)
    state = QueryState(1, labels, np.arange(LABELED, N), np.arange(N), predictor=made.predict, classes=2)
    with pytest.raises(InputError, match="with a head of losses"):
        LearningLoss(by="network").select(state, 5, np.random.default_rng(0))
