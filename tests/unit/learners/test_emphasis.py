"""Which labels a fit leaves out and repeats (ACFT, Nath et al.), by the model of the last round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation, IntArray
from hybrid_al.data.loaders import EmbeddingInputs
from hybrid_al.learners.emphasis import copies, emphasised
from hybrid_al.learners.network import NetworkLearner
from hybrid_al.models.classifier import Classifier
from hybrid_al.semi.supervised import Supervised
from hybrid_al.train import Schedule

SURE, TORN = [0.98, 0.01, 0.01], [0.4, 0.35, 0.25]


def test_old_labels_that_are_right_are_left_out_and_no_others() -> None:
    probs, old = np.array([SURE, SURE, TORN, SURE]), np.array([True, True, True, False])
    targets = np.array([0, 1, 0, 0])  # right, wrong, right, new
    rng = np.random.default_rng(0)
    assert emphasised(probs, targets, old, Schedule(easy=0.0), rng).tolist() == [1, 3]
    assert emphasised(probs, targets, old, Schedule(easy=1.0), rng).tolist() == [0, 1, 2, 3]
    all_old = np.ones(4, dtype=bool)
    assert emphasised(probs, probs.argmax(axis=1), all_old, Schedule(easy=0.0), rng).tolist() == [0, 1, 2, 3]
    many = emphasised(np.tile(SURE, (1000, 1)), np.zeros(1000, int), np.ones(1000, bool), Schedule(easy=0.3), rng)
    assert 250 < len(many) < 350 and len(set(many.tolist())) == len(many)


def test_labels_are_repeated_in_proportion_to_their_entropy() -> None:
    assert copies(np.array([0.0, 0.5, 1.0]), 4).tolist() == [1, 3, 5]
    assert copies(np.zeros(3), 4).tolist() == [1, 1, 1]
    probs = np.array([[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    rows = emphasised(probs, np.zeros(2, int), np.zeros(2, bool), Schedule(repeat=2.0), np.random.default_rng(0))
    assert rows.tolist() == [0, 1, 1, 1]


def test_several_labels_are_right_together_and_uncertain_on_average() -> None:
    yes, no, torn = [0.01, 0.99], [0.99, 0.01], [0.5, 0.5]
    probs = np.array([[yes, no], [yes, yes], [torn, yes]]).transpose(0, 2, 1)  # (K, 2, L)
    targets, rng = np.array([[1, 0], [1, 0], [1, 1]]), np.random.default_rng(0)
    old = np.array([True, True, False])
    assert emphasised(probs, targets, old, Schedule(easy=0.0), rng).tolist() == [1, 2]
    assert emphasised(probs, targets, old, Schedule(repeat=3.0), rng).tolist()[-4:] == [2, 2, 2, 2]


def test_a_fit_reads_the_model_of_the_last_round(tmp_path: Path) -> None:
    """With `easy: 0` the second round learns from its new label alone, as the first model gets the old ones right."""
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    x[:, 0] = np.where(np.arange(8) % 2, 3, -3)
    inputs = EmbeddingInputs(x, x[None], x[None], torch.device("cpu"))
    seen: list[IntArray] = []

    class Watching(NetworkLearner):
        def _learn(self, sets, *rest, **more):  # type: ignore[no-untyped-def]
            seen.append(np.sort(sets.labeled))
            return super()._learn(sets, *rest, **more)

    def make(seed: int) -> Classifier:
        return Classifier(nn.Identity(), 3, 2, dropout=0.0, seed=seed)

    schedule = Schedule(steps=60, min_steps=60, batch=8, lr_head=0.1, easy=0.0)
    learner = Watching(make, inputs, Supervised(), schedule, pool=np.arange(8), n=8)
    truth = [0, 1, 0, 1, 1]  # sample 4 looks like class 0, and is in no first round

    def label(i: int, round: int) -> Annotation:
        return Annotation(i, "class", truth[i], "t", round)

    first = LabelStore(8).add(label(i, 0) for i in range(4))
    learner.fit(first, round=0, seed=0, log=lambda *_: None)
    learner.save(tmp_path / "model.safetensors")
    second = first.add([label(4, 1)])
    learner.fit(second, round=1, seed=0, log=lambda *_: None, previous=tmp_path)
    assert [rows.tolist() for rows in seen] == [[0, 1, 2, 3], [4]]
