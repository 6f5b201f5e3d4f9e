"""A synthetic state that meets every need of a strategy: for tests, and to try a strategy before any data is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import scipy.special

from ..core.consistency import Consistency
from ..core.embeddings import Embeddings
from ..core.labels import LabelStore
from ..core.types import Annotation, FloatArray, IntArray, Need, PredictionBatch
from ..errors import InputError
from ..scores.recorder import ConsistencyRecorder
from .base import EXTRAS, Predictor, QueryState

BLOCK = 8  # samples per prediction batch of the synthetic state
PREDICTING: frozenset[Need] = frozenset({"predictions", "features", "samples", "views"})


def make_state(
    n: int = 40,
    *,
    labeled: int = 6,
    classes: int = 3,
    dim: int = 8,
    seed: int = 0,
    round: int = 1,
    held_out: int = 5,
    one_class: bool = False,
    constant: bool = False,
    certain: bool = False,
    rare: int | None = None,
) -> QueryState:
    """A state that meets every need: a pool of n samples, of which `labeled` have a label. Arrays are read-only.

    The manifest has `held_out` more rows in between. They are neither candidates nor labeled, and their embeddings and
    extras are nan: reading them is an error.

    one_class  all labels are class 0
    constant   all embeddings are equal
    certain    all probabilities are 0 or 1
    rare       number of samples of the last class in the pool; the other classes share the others
    """
    if not 0 <= labeled < n:
        raise InputError("make_state", f"0 to {n - 1} labeled", str(labeled))
    rng = np.random.default_rng(seed)
    total = n + held_out
    pool = np.sort(rng.permutation(total)[:n])
    truth = rng.integers(classes, size=total)
    if rare is not None:
        truth %= classes - 1
        truth[rng.permutation(pool)[:rare]] = classes - 1
    labeled_indices = rng.permutation(pool)[:labeled]
    vectors = np.full((total, dim), np.nan, dtype=np.float32)
    vectors[pool] = 1 if constant else 3 * rng.normal(size=(classes, dim))[truth[pool]] + rng.normal(size=(n, dim))
    state = QueryState(
        round=round,
        labels=_labels(total, labeled_indices, np.zeros_like(truth) if one_class else truth),
        candidates=np.setdiff1d(pool, labeled_indices),
        groups=rng.integers(max(n // 4, 1), size=total),
        classes=classes,
        embeddings=Embeddings(vectors, encoder="synthetic", manifest="synthetic"),
        predictor=_predictor(2 * np.eye(classes)[truth], dim, seed, certain),
        consistency=_consistency(total, pool, classes, rng),
        extras=_extras(total, pool, classes, rng),
    )
    for array in (state.candidates, state.groups, vectors, *state.extras.values()):
        np.asarray(array).setflags(write=False)
    return state


def _extras(total: int, pool: IntArray, classes: int, rng: np.random.Generator) -> dict[str, FloatArray]:
    extras: dict[str, FloatArray] = {
        "previous_probs": rng.dirichlet(np.ones(classes), size=total),
        **dict(zip(EXTRAS["stage0"], rng.random((3, total)), strict=True)),
        "cost": rng.uniform(0.5, 2, total),
        "tissue": rng.random(total),
        "clicks": rng.integers(3, 30, total).astype(np.float64),
        "source": (np.arange(total) % 3 > 0).astype(np.float64),
        **dict(zip(EXTRAS["proxy"], rng.random((3, total, 2)), strict=False)),
        "surprisal": rng.random((total, 16)),
        "patterns": rng.normal(size=(total, 2, 8)),
    }
    for values in extras.values():
        values[np.setdiff1d(np.arange(total), pool)] = np.nan
    if len(pool) > 3:
        extras["pretext_loss"][pool[1]] = extras["confidence"][pool[2]] = np.nan  # never seen by pretraining
    return extras


def _labels(total: int, indices: IntArray, truth: IntArray) -> LabelStore:
    return LabelStore(total, tuple(Annotation(int(i), "class", int(truth[i]), "synthetic", 0) for i in indices))


def _predictor(logits_NC: FloatArray, dim: int, seed: int, certain: bool) -> Predictor:
    """A model whose predictions depend on the sample and the pass alone."""
    sharpness = 1e4 if certain else 1.0
    classes = logits_NC.shape[1]
    weight = np.random.default_rng(seed).normal(size=(classes, dim))

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        for start in range(0, len(indices), BLOCK):
            rows = indices[start : start + BLOCK]
            noise = [np.random.default_rng((seed, int(i))).normal(size=(samples * views, classes)) for i in rows]
            probs = scipy.special.softmax(sharpness * (logits_NC[rows][:, None] + np.stack(noise)), axis=2)
            yield PredictionBatch(rows, probs, logits_NC[rows] @ weight, (weight, np.zeros(classes)))

    return predict


def _consistency(total: int, pool: IntArray, classes: int, rng: np.random.Generator) -> Consistency:
    recorder = ConsistencyRecorder(total)
    for rows in (pool, rng.permutation(pool)[: len(pool) // 2 + 1], rng.permutation(pool)[: len(pool) // 2 + 1]):
        weak, strong = rng.dirichlet(np.ones(classes), size=(2, len(rows)))
        recorder.update(rows, weak, strong)
    return recorder.record()


def restrict(state: QueryState, needs: frozenset[Need]) -> QueryState:
    """The state as the loop gives it to a strategy with these needs: nothing else is in it."""
    unread = {name for need, names in EXTRAS.items() if need not in needs for name in names}
    return replace(
        state,
        embeddings=state.embeddings if "embeddings" in needs else None,
        consistency=state.consistency if "consistency" in needs else None,
        predictor=_restricted(state.predictor, needs) if state.predictor and needs & PREDICTING else None,
        extras={name: values for name, values in state.extras.items() if name not in unread},
    )


def _restricted(predictor: Predictor, needs: frozenset[Need]) -> Predictor:
    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        if samples > 1 and "samples" not in needs:
            raise InputError("needs", "'samples' for several passes", str(sorted(needs)))
        if views > 1 and "views" not in needs:
            raise InputError("needs", "'views' for several views", str(sorted(needs)))
        for batch in predictor(indices, samples, views):
            yield batch if "features" in needs else replace(batch, features=None, head=None)

    return predict
