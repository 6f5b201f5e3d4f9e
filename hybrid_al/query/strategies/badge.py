"""BADGE: candidates whose gradients in the last layer are large and differ from each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...core.types import GRADIENTS, FloatArray, Need, PredictionBatch, Query
from ...errors import InputError
from ...kernels.kmeans import k_means_plus_plus_outer
from ..base import About, QueryState, check_budget
from ..batches.base import best_first


@dataclass(frozen=True)
class Badge:
    """Ash et al., Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds (ICLR 2020), algorithm 1.

    The gradient is that of the loss in the weights of the last layer, if the predicted class were true:
    (p - onehot(argmax p)) x features. The bias and the labeled samples play no part, as in the published code. The
    largest gradient comes first, then k-means++ draws by the squared distance to the picks. Where fewer gradients
    differ than the budget asks for, random candidates fill up. The gradient of a candidate with pixels is the sum over
    its pixels, which the learner computes (`pixel_gradients.py`).
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Ash et al.: *Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds*, ICLR 2020, "
        "algorithm 1",
        passes="1",
        time="b M (C + D)",
        memory="M (C + D)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order of the draws, each once."""
        check_budget(state, budget)
        errors, features, norm = _factors(state)
        first = int(best_first(norm, rng)[0])
        picks = k_means_plus_plus_outer(errors, features, first, budget, rng)
        others = rng.permutation(np.setdiff1d(np.arange(len(norm)), picks))[: budget - len(picks)]
        reasons = [f"gradient of norm {norm[p]:.3g}, drawn for its distance to those picked" for p in picks]
        reasons[0] = f"largest gradient, norm {norm[first]:.3g}"
        fill_reasons = ["a random one: no gradient is left that differs from those picked"] * len(others)
        return Query(state.candidates[np.concatenate([picks, others])], reasons=(*reasons, *fill_reasons))


def _factors(state: QueryState) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The factors of each candidate's gradient, p - onehot(argmax p) (M, C) and features (M, D), and its norm (M,).

    One pass over the batches, without keeping them. Gradients that the learner computes have a first factor of 1.
    """
    if state.scorer is not None:
        vectors = state.scorer(GRADIENTS, state.candidates, 1, 1)
        if not np.isfinite(vectors).all():
            raise InputError(f"gradients of round {state.round}", "finite numbers", "others")
        return np.ones((len(vectors), 1), dtype=vectors.dtype), vectors, np.linalg.norm(vectors, axis=1)
    features = list[FloatArray]()
    length = np.full(len(state.candidates), np.nan)

    def without_features(*_: object) -> Iterator[PredictionBatch]:
        end = 0
        for batch in state.predictions():
            start, end = end, end + len(batch.indices)
            if batch.features is not None:
                if not features:
                    features.append(np.empty((len(length), batch.features.shape[1]), batch.features.dtype))
                features[0][start:end] = batch.features
                length[start:end] = np.linalg.norm(batch.features, axis=1)
            yield replace(batch, features=None)

    errors: FloatArray = replace(state, predictor=without_features).probs().mean(axis=1, dtype=np.float64)
    errors[np.arange(len(errors)), errors.argmax(axis=1)] -= 1
    if not np.isfinite(length).all():
        raise InputError(f"predictions of round {state.round}", "finite features of every candidate", "others")
    return errors, features[0], np.linalg.norm(errors, axis=1) * length
