"""CLUE against its published form: entropies as weights, the model's own features, nearest to the centres."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import scipy.special
from sklearn.cluster import KMeans

from hybrid_al.core.types import FloatArray, IntArray, PredictionBatch
from hybrid_al.errors import InputError
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import CLUE
from hybrid_al.query.strategies.clue import tempered_entropy
from hybrid_al.query.synthetic import make_state


def state_of(probs: FloatArray, features: FloatArray) -> QueryState:
    """What a model says of each row of the manifest; the embeddings say nothing."""

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        yield PredictionBatch(indices, probs[indices][:, None], features[indices])

    state = make_state(len(probs) - 5, constant=True)
    return replace(state, predictor=predict)


def make_features(seed: int) -> tuple[FloatArray, FloatArray]:
    """Probabilities and features of 205 rows: six blobs far from the origin, unsure on one side."""
    rng, blob = np.random.default_rng(seed), np.arange(205) % 6
    features = 200 + 8 * np.eye(6)[blob] + rng.normal(size=(205, 6))
    return scipy.special.softmax(rng.normal(size=(205, 3)) * (1 + 9 * (features[:, :1] > 200)), axis=1), features


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_the_picks_are_those_of_the_published_steps(seed: int, temperature: float) -> None:
    probs, features = make_features(seed)
    state = state_of(probs, features)
    query = CLUE(temperature).select(state, 6, np.random.default_rng(seed))
    p = scipy.special.softmax(np.log(probs[state.candidates]) / temperature, axis=1)
    entropy = -(p * np.log(p)).sum(axis=1)
    rows = features[state.candidates]
    means = KMeans(6, n_init=10, random_state=0).fit(rows, sample_weight=entropy).cluster_centers_
    nearest = [int(np.linalg.norm(rows - mean, axis=1).argmin()) for mean in means]
    assert set(query.indices.tolist()) == set(state.candidates[nearest].tolist())
    assert query.scores is not None
    np.testing.assert_allclose(query.scores.values, entropy)


def test_entropies_weigh_and_ranks_do_not() -> None:
    """One row in ten is unsure, the others are all but certain, in the order of their ranks: the unsure are asked."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(205, 3))
    doubt = np.where(np.arange(205) % 10 == 0, 0.4, 1e-9 * rng.random(205))
    state = state_of(np.stack([1 - doubt, doubt], axis=1), features)
    picks = CLUE().select(state, 12, np.random.default_rng(0)).indices
    assert (picks % 10 == 0).mean() > 0.8


def test_the_entropy_is_that_of_the_logits_over_the_temperature() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 4))
    for temperature in (0.1, 1.0, 3.0):
        p = scipy.special.softmax(logits / temperature, axis=1)
        expected = [-sum(x * np.log(x) for x in row) for row in p]
        np.testing.assert_allclose(tempered_entropy(scipy.special.softmax(logits, axis=1), temperature), expected)
    assert tempered_entropy(np.array([[1.0, 0.0], [0.5, 0.5]]), 0.5).tolist() == pytest.approx([0, np.log(2)])


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(InputError, match=r"CLUE\.temperature"):
        CLUE(temperature=0)
    with pytest.raises(InputError, match=r"CLUE\.starts"):
        CLUE(starts=0)
