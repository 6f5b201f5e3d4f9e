"""A check before any data is read: can a strategy pick where samples have scores, but no class of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from ..core.labels import LabelStore
from ..core.types import FEATURES, Annotation, FloatArray, IntArray, PredictionBatch
from ..errors import InputError
from ..query.base import QueryStrategy
from ..query.synthetic import make_state, restrict


def try_strategy(
    key: str,
    name: str,
    strategy: QueryStrategy,
    *,
    task: str,
    scores: Collection[str],
    vectors: Collection[str] = (),
    views: bool,
    features: bool = False,
    answer: Annotation,
) -> None:
    """Let a strategy pick on a small synthetic state, which refuses to give classes of samples or their probabilities.

    scores   names of the functions of `scores` that the task has for a sample
    vectors  names of those that give a sample a vector, whose length is a square
    views    whether the task has scores of several views
    features whether it has scores of features and last layer
    answer   an example of an annotation: its kind and target
    """

    def refuse(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        raise InputError(f"{key} ({name})", "a strategy that scores samples or reads no predictions", "another one")

    def scorer(score: str, indices: IntArray, samples: int, view_count: int) -> FloatArray:
        if (view_count > 1 and not views) or score not in {*scores, *vectors}:
            expected = f"{'' if views else 'one view and '}a score among {', '.join(scores)}"
            came = f"{view_count} views" if view_count > 1 and not views else score
            raise InputError(f"{key} ({name})", expected, came)
        values = np.linspace(0, 1, len(indices))
        return np.linspace(values, 1 - values, 4, axis=1) if score in vectors else values

    beyond = strategy.needs & {"history", *(() if views else ("views",))}
    if FEATURES not in vectors and not features:
        beyond |= strategy.needs & {"features"}
    if beyond:
        raise InputError(f"{key} ({name})", f"a strategy that {task} can feed", f"it needs {sorted(beyond)[0]}")
    state = make_state(labeled=0 if key == "cold_start" else 6)
    annotations = tuple(replace(a, kind=answer.kind, target=answer.target) for a in state.labels.annotations)
    state = replace(restrict(state, strategy.needs), labels=LabelStore(state.labels.n, annotations))
    state = replace(state, predictor=refuse, scorer=scorer)
    try:
        strategy.select(state, 3, np.random.default_rng(0))
    except InputError as error:
        message = str(error)
        raise (
            error
            if message.startswith(f"{key} ({name})")
            else InputError(f"{key} ({name})", f"a strategy for {task}", message)
        ) from None
