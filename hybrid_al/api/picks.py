"""`pick`: which rows to label next, from arrays alone; no recipe, no model, no run."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core.consistency import Consistency
from ..core.rng import derive
from ..core.types import FloatArray, IntArray, Need, Query
from ..errors import InputError
from ..query.base import EXTRAS, QueryStrategy, check_query
from .inputs import Inputs
from .strategies import StrategyLike, strategy_of

ARGUMENTS: Mapping[Need, str] = {
    "embeddings": "embeddings (N, D)",
    "predictions": "probs (N, C)",
    "features": "probs (N, C) and features (N, D)",
    "samples": "probs (N, S, C) of several passes or models",
    "views": "probs (N, S, C) of several views",
    "consistency": "consistency, the record of a training",
    **{need: f"extras: {' or '.join(names)} (N, ...)" for need, names in EXTRAS.items()},
}
"""The argument of `pick` that meets a need."""


@dataclass(frozen=True)
class Picks:
    """Rows to label, in order of preference.

    indices  (k,) positions of rows, distinct, none of them labeled
    reasons  (k,) why each, in words; the name of a strategy that gives none
    scores   (k,) value of each to the strategy, larger = ask first; None where it has no such value
    """

    indices: IntArray
    reasons: tuple[str, ...]
    scores: FloatArray | None = None


def pick(
    embeddings: npt.ArrayLike | None,
    k: int,
    strategy: StrategyLike = "stratified",
    *,
    labeled: npt.ArrayLike | Mapping[int, int] | None = None,
    labels: npt.ArrayLike | None = None,
    probs: npt.ArrayLike | None = None,
    features: npt.ArrayLike | None = None,
    head: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    groups: Sequence[Hashable] | None = None,
    consistency: Consistency | None = None,
    extras: Mapping[str, npt.ArrayLike] | None = None,
    seed: int = 0,
) -> Picks:
    """The k rows to label next; the same arguments give the same rows.

    embeddings   (N, D) finite numbers, a row a sample; None for strategies that read none
    k            how many, 1 to the number of rows without a label
    strategy     a name (docs/strategies.md), a mapping with its parameters as in a recipe, such as
                 `{"name": "probcover", "purity": 0.9}`, `package.module:Class`, or an object
    labeled      rows that have a label: positions (K,), a mask (N,) of bool, or position -> class, 0 to C - 1
    labels       (K,) class of each position of `labeled`, where the strategy reads classes
    probs        (N, C) class probabilities, or (N, S, C) of S passes, views or members of a committee
    features     (N, D) what the last layer of the model sees; head: its weight (C, D) and bias (C,)
    groups       (N,) patient, volume or slide of each row; without it each row is a group of its own
    consistency  what a training recorded of the N rows
    extras       arrays (N, ...) by the names of `query.base.EXTRAS`, such as cost or pretext_loss
    seed         of whatever is drawn

    Errors, each one line: values that are not finite, arrays of unlike lengths, more picks than rows without a label,
    an unknown strategy or parameter, a strategy that needs what was not given, with the argument that would give it.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError("seed", "a whole number of 0 or more", repr(seed))
    name, picker = strategy_of("strategy", strategy)
    inputs = Inputs.of(
        embeddings, labeled, labels, probs=probs, features=features, head=head, groups=groups,
        consistency=consistency, extras={} if extras is None else extras,
    )  # fmt: skip
    _check_needs(name, picker, inputs)
    state = inputs.state()
    if not len(state.candidates):
        raise InputError("labeled", "rows without a label left to pick from", f"all {len(state.labels.labeled)} rows")
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= len(state.candidates):
        raise InputError("k", f"1 to {len(state.candidates)}, the rows without a label", repr(k))
    try:
        query = check_query(picker.select(state, int(k), derive(int(seed), "query", state.round)), state, int(k))
    except InputError as error:
        raise _by_argument(error, name, inputs) from error
    return Picks(query.indices, query.reasons or (name,) * len(query.indices), _scores(query))


def _check_needs(name: str, strategy: QueryStrategy, inputs: Inputs) -> None:
    for need in sorted(strategy.needs - inputs.needs):
        came = "none"
        if inputs.probs is not None:
            came = {"samples": "(N, C)", "views": "(N, C)", "features": "no features"}.get(need, came)
        raise InputError(f"strategy {name}", ARGUMENTS[need], came)


def _by_argument(error: InputError, name: str, inputs: Inputs) -> InputError:
    """The error, or one that names the argument of `pick` that the strategy lacked without declaring it as a need."""
    if not inputs.has_classes and error.where.startswith("label of sample"):
        return InputError(f"strategy {name}", "labels (K,), the classes of the labeled rows", "none")
    if inputs.head is None and "last layer" in str(error):
        return InputError(f"strategy {name}", "head, weight (C, D) and bias (C,) of the last layer", "none")
    return error


def _scores(query: Query) -> FloatArray | None:
    if query.scores is None:
        return None
    by_index = dict(zip(query.scores.indices.tolist(), query.scores.values.tolist(), strict=True))
    return np.asarray([by_index[i] for i in query.indices.tolist()], dtype=np.float64)
